"""The service of a chaos run: it says no as its seed wants, and remembers what it took."""

from collections import Counter

import aiohttp
import pytest

from hookmill.chaos.service import ATTEMPTS, CUT, Service, answer

EVENTS = [f"hm_{number:032x}" for number in range(2_000)]


def told(seed: int, event: str) -> tuple[int, ...]:
    """What is said to so many attempts as a handler makes."""
    return tuple(answer(seed, event, asked) for asked in range(ATTEMPTS))


def test_every_way_of_refusing_occurs_and_most_events_are_taken_at_once() -> None:
    """A handler that never has to try again would show nothing."""
    ways = Counter(told(7, event) for event in EVENTS)

    assert set(ways) == {
        (204, 204, 204), (425, 204, 204), (425, 425, 204), (500, 204, 204), (500, 500, 204),
        (CUT, 204, 204), (422, 422, 422),
    }  # fmt: skip
    assert ways[204, 204, 204] > len(EVENTS) * 0.75
    assert 0 < ways[422, 422, 422] < len(EVENTS) * 0.05


def test_the_same_seed_says_the_same() -> None:
    """So that a run can be had again; another seed says otherwise."""
    first, again, other = ([told(seed, event) for event in EVENTS] for seed in (7, 7, 8))

    assert first == again != other


async def test_what_it_takes_it_remembers_each_time() -> None:
    """One that is cut off is taken, though its sender cannot know; one that is refused is not."""
    service = Service(seed=7)
    cut = next(event for event in EVENTS if told(7, event)[0] == CUT)
    later = next(event for event in EVENTS if told(7, event) == (425, 204, 204))
    never = next(event for event in EVENTS if told(7, event)[0] == 422)

    async with service.serving() as port, aiohttp.ClientSession() as session:

        async def post(event: str) -> int:
            url = f"http://127.0.0.1:{port}/events"
            async with session.post(url, data=b"{}", headers={"webhook-id": event}) as response:
                return response.status

        with pytest.raises(aiohttp.ClientError):
            await post(cut)
        assert [await post(event) for event in (later, never, cut, later, never)] == [
            425, 422, 204, 204, 422,
        ]  # fmt: skip

    assert service.taken == [cut, cut, later]
    assert service.answers == {CUT: 1, 204: 2, 425: 1, 422: 2}
