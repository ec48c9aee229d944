"""Bodies and descriptors: what is held weighs what it counts, and few descriptors are enough."""

import resource
import tracemalloc
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion11

from hookmill.core.errors import Reason, Refused
from hookmill.ingress.body import read_body
from hookmill.ingress.connections import Connections, room_for

SIZE = 200_000


def request(chunks: list[bytes]) -> Any:
    """As much of a request as reading its body needs."""

    async def iter_any() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield bytes(bytearray(chunk))  # its own copy, as from a socket

    return SimpleNamespace(
        content_length=None,
        headers={},
        version=HttpVersion11,
        transport=None,
        content=SimpleNamespace(iter_any=iter_any),
    )


async def test_a_body_in_tiny_chunks_weighs_no_more_than_in_one() -> None:
    """Else a sender of two bytes at a time would take twenty times the memory that is counted."""
    asked = request([b"xy"] * (SIZE // 2))
    tracemalloc.start()
    body = await read_body(asked, bytes_max=SIZE, timeout_secs=10, hold=lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert body == b"xy" * (SIZE // 2)
    assert peak < 4 * SIZE


async def test_one_byte_too_much_is_not_held() -> None:
    """The limit is on what has come, whatever was announced."""
    held = 0

    def hold(count: int) -> None:
        nonlocal held
        held += count

    with pytest.raises(Refused) as refused:
        await read_body(request([b"xyz"] * 4), bytes_max=11, timeout_secs=10, hold=hold)

    assert refused.value.reason is Reason.BODY_TOO_LARGE
    assert held == 9


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [
        (1024, 20_000, 10_256, 10_000),
        (1024, 4096, 4096, 3840),
        (200, 300, 300, 150),
        (20_000, 20_000, 20_000, 10_000),
        (1024, resource.RLIM_INFINITY, 10_256, 10_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 10_000),
    ],
)
def test_there_is_room_for_connections_however_few_descriptors(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int, room: int
) -> None:
    """The soft limit is raised as far as it goes and needs to; some are left for Kafka."""
    limits = [soft]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits[-1], hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair[0]))

    assert room_for(10_000) == room
    assert limits[-1] == raised


class Line:
    """A connection that remembers whether it was ended."""

    def __init__(self) -> None:
        self.ended = False

    def end(self) -> None:
        """Close it."""
        self.ended = True


def test_who_is_answered_goes_to_the_end_of_the_row() -> None:
    """The longest idle one gives way, not the oldest, and never one that is busy."""
    places = Connections(3)
    first, second, third, fourth, fifth = (Line() for _ in range(5))
    for each in (first, second, third):
        assert places.opened(each)
    places.busy(first)
    places.idle(first)
    places.busy(second)

    assert places.opened(fourth)
    places.closed(third)
    assert places.opened(fifth)
    places.closed(first)
    assert [each.ended for each in (first, second, third, fourth, fifth)] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert places.open == 3


def test_where_all_are_busy_the_newcomer_has_no_place() -> None:
    """Nothing that is being answered is cut off."""
    places = Connections(1)
    busy = Line()
    places.opened(busy)
    places.busy(busy)

    assert not places.opened(Line())
    assert not busy.ended
    assert places.open == 1
