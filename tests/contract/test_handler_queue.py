"""A handler's queue: the in-memory one and a real Apache Kafka pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers import runner as runner_module
from support.handler_worlds import TOPICS, KafkaWorld, MemoryWorld, Scripted, World

pytestmark = pytest.mark.broker

NO = Retry("no")


@pytest.fixture(autouse=True)
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that never comes back is not waited for."""
    monkeypatch.setattr(runner_module, "DRAIN_SECS", 0.1)


@pytest.fixture(params=["memory", "kafka"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, namespace: str
) -> AsyncIterator[World]:
    """The handler's partition in each world."""
    if request.param == "memory":
        memory = MemoryWorld()
        yield memory
        await memory.stop()
        return
    kafka = KafkaWorld(request.getfixturevalue("broker_servers"), namespace, tmp_path)
    await kafka.start()
    yield kafka
    await kafka.stop()


async def feed(world: World, *events: tuple[int, str]) -> None:
    """Events into the queue, in order."""
    for number, subject in events:
        await world.feed(number, subject)


async def test_events_are_handled_in_order_and_the_next_owner_goes_on(world: World) -> None:
    """Nothing is handled again once it is committed."""
    handler = Scripted()
    await feed(world, (1, "a"), (2, "a"), (3, "b"))
    owner = await world.own(handler)
    await world.until(world.is_through, within_secs=5)
    await owner.stop()
    await feed(world, (4, "a"))
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)

    assert sorted(handler.seen) == [("hm_1", 1), ("hm_2", 1), ("hm_3", 1), ("hm_4", 1)]
    assert [each for each, _ in handler.seen if each != "hm_3"] == ["hm_1", "hm_2", "hm_4"]


async def test_later_events_of_a_subject_wait_and_others_go_on(world: World) -> None:
    """The failed one is in a retry topic, the one behind it in the state, the third is done."""
    handler = Scripted(hm_1=[NO])
    await feed(world, (1, "a"), (2, "a"), (3, "b"))
    await world.own(handler)
    await world.until(lambda: "hm_3" in handler.ended, within_secs=5)
    await world.until(world.is_through, within_secs=5)

    assert await world.ids(TOPICS.retry(1)) == ["hm_1"]
    assert handler.ended == ["hm_3", "hm_1", "hm_2"]
    assert handler.seen[-2:] == [("hm_1", 2), ("hm_2", 1)]


async def test_what_waits_and_what_is_parked_survive_a_lost_disk(world: World) -> None:
    """The changelog has it all; the next owner hands it over in order."""
    stopped = asyncio.Event()
    handler = Scripted(hm_1=[NO])
    await feed(world, (1, "a"), (2, "a"), (3, "a"))
    owner = await world.own(handler)

    async def all_put_away() -> bool:
        return len((await world.kept()).parked) == 2

    await world.until(all_put_away, within_secs=1)
    await owner.stop()
    stopped.set()
    kept = await world.kept()
    await world.own(handler, disk="new")
    await world.until(world.is_through, within_secs=5)

    assert list(kept.waiting) == [b"a"]
    assert handler.seen == [("hm_1", 1), ("hm_1", 2), ("hm_2", 1), ("hm_3", 1)]


async def test_after_the_last_delay_it_is_set_aside_and_the_subject_goes_on(world: World) -> None:
    """Under the reason that it failed for, with the number of its attempts."""
    handler = Scripted(hm_1=[NO, NO, Retry("still_no", detail="shelf 7")])
    await feed(world, (1, "a"), (2, "a"))
    await world.own(handler)
    await world.until(world.is_through, within_secs=10)
    [letter] = await world.read(TOPICS.dead_letters)

    assert handler.seen == [("hm_1", 1), ("hm_1", 2), ("hm_1", 3), ("hm_2", 1)]
    assert letter.header("hm-error-reason") == "still_no"
    assert letter.header("hm-error-detail") == "failed 3 times; shelf 7"
    assert letter.header("hm-attempt") == "3"
    assert letter.header("hm-not-before") is None
    assert letter.header("hm-error-offset") == "0"
    assert (letter.header("hm-error-topic") or "").endswith(TOPICS.queue)
    assert letter.header("hm-delivery") == "d-1"


async def test_a_retry_comes_when_its_time_has_come(world: World) -> None:
    """Not before, and about then."""
    at_us: list[int] = []

    async def failed() -> Retry:
        at_us.append(world.now_us())
        return NO

    async def done() -> None:
        at_us.append(world.now_us())

    await feed(world, (1, "a"))
    await world.own(Scripted(hm_1=[failed, failed, done]))
    await world.until(world.is_through, within_secs=10)
    waits_secs = [(later - earlier) / 1e6 for earlier, later in pairwise(at_us)]

    assert 1.0 <= waits_secs[0] < 2.0
    assert 2.0 <= waits_secs[1] < 3.0


async def test_a_wait_that_is_longer_than_any_delay_is_kept(world: World) -> None:
    """It goes through a retry topic more than once, and no attempt is counted for that."""
    at_us: list[int] = []

    async def failed() -> Retry:
        at_us.append(world.now_us())
        return Retry("busy", after_secs=4.5)

    async def done() -> None:
        at_us.append(world.now_us())

    handler = Scripted(hm_1=[failed, done])
    await feed(world, (1, "a"), (2, "a"))
    await world.own(handler)
    await world.until(world.is_through, within_secs=10)
    waited_secs = (at_us[1] - at_us[0]) / 1_000_000

    assert handler.seen == [("hm_1", 1), ("hm_1", 2), ("hm_2", 1)]
    assert 4.5 <= waited_secs < 7.0
    assert len(await world.ids(TOPICS.retry(2))) > 1


async def test_an_older_owner_can_commit_no_more(world: World) -> None:
    """It is fenced; what it handled meanwhile is handled again by who owns the partition now."""
    go_on = asyncio.Event()
    slow = Scripted(hm_1=[go_on.wait])
    await feed(world, (1, "a"))
    zombie = await world.own(slow, disk="zombie")
    await world.until(lambda: slow.seen == [("hm_1", 1)], within_secs=5)
    world.owners.remove(zombie)
    handler = Scripted()
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)
    go_on.set()
    await asyncio.wait([zombie.task], timeout=30)
    world.owners.append(zombie)
    error = zombie.task.exception()
    zombie.task = asyncio.ensure_future(asyncio.sleep(0))

    assert type(error).__name__ in ("Fenced", "ProducerFenced")
    assert handler.ended == ["hm_1"]


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
async def test_a_crash_around_a_commit_loses_and_doubles_nothing(world: World, moment: str) -> None:
    """A failure is on its way to a retry topic, or to the dead letters, exactly once."""
    handler = Scripted(hm_1=[NO], hm_2=[DeadLetter("bad")])

    def crash() -> None:
        raise ConnectionError("killed")

    owner = await world.own(handler)
    setattr(owner.queue, moment, crash)
    await feed(world, (1, "a"), (2, "b"), (3, "a"))
    with pytest.raises(ConnectionError):
        await owner.task
    await owner.stop()
    world.owners.remove(owner)
    if hasattr(owner.queue, "close_store"):
        owner.queue.close_store()
    handler = Scripted(hm_1=[NO], hm_2=[DeadLetter("bad")])
    await world.own(handler)
    await world.until(world.is_through, within_secs=10)

    assert await world.ids(TOPICS.dead_letters) == ["hm_2"]
    assert len(await world.ids(TOPICS.retry(1))) <= 2
    assert handler.ended[-1] == "hm_3"
    assert "hm_1" in handler.ended


async def test_a_run_that_failed_is_begun_anew_by_the_same_owner(world: World) -> None:
    """What it had read of a retry topic, and not committed, it reads again."""
    handler = Scripted(hm_1=[NO])
    owner = await world.own(handler)
    fetch, read = owner.queue.fetch_retries, list[Any]()

    async def noting(*arguments: Any, **options: Any) -> list[Any]:
        found: list[Any] = await fetch(*arguments, **options)
        read.extend(found)
        return found

    def crash() -> None:
        raise ConnectionError("no answer")

    owner.queue.fetch_retries = noting
    await feed(world, (1, "a"), (2, "a"))
    await world.until(lambda: read, within_secs=5)
    owner.queue.before_commit = crash
    await feed(world, (3, "b"))
    with pytest.raises(ConnectionError):
        await owner.task
    owner.queue.before_commit = lambda: None
    owner.task = asyncio.ensure_future(owner.runner.run())
    await world.until(world.is_through, within_secs=5)

    assert [each for each in handler.ended if each != "hm_3"] == ["hm_1", "hm_2"]
    assert ("hm_1", 2) in handler.seen


async def test_what_is_just_being_parked_may_have_its_turn(world: World) -> None:
    """Its subject becomes free while the transaction that parks it is still under way."""
    its_turn = asyncio.Event()

    async def done() -> None:
        its_turn.set()

    handler = Scripted(hm_1=[NO], hm_2=[done])
    await feed(world, (1, "a"))
    owner = await world.own(handler)
    commit = owner.queue.commit

    async def slow(outputs: Any, changes: Any, offsets: Any) -> None:
        if any(key.startswith(b"parked|") and value for key, value in changes):
            await its_turn.wait()
        await commit(outputs, changes, offsets)

    async def waits() -> bool:
        return list((await world.kept()).waiting) == [b"a"]

    owner.queue.commit = slow
    await world.until(waits, within_secs=0.9)
    await feed(world, (2, "a"), (3, "b"))
    await world.until(world.is_through, within_secs=5)

    assert [each for each in handler.ended if each != "hm_3"] == ["hm_1", "hm_2"]


async def test_what_was_done_out_of_turn_is_not_done_again(world: World) -> None:
    """A slow event holds the position; others were committed, and the next owner knows."""
    never = asyncio.Event()
    handler = Scripted(hm_1=[never.wait])
    await feed(world, (1, "a"), (2, "b"), (3, "c"))
    owner = await world.own(handler)

    async def noted() -> bool:
        return len((await world.kept()).settled.get(TOPICS.queue, ())) == 2

    await world.until(noted, within_secs=2)
    await owner.stop()
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)

    assert sorted(handler.seen) == [("hm_1", 1), ("hm_1", 1), ("hm_2", 1), ("hm_3", 1)]


async def test_without_order_later_events_do_not_wait(world: World) -> None:
    """Nothing is parked."""
    handler = Scripted(hm_1=[NO])
    await feed(world, (1, "a"), (2, "a"))
    await world.own(handler, ordered=False)
    await world.until(lambda: "hm_2" in handler.ended, within_secs=0.9)
    await world.until(world.is_through, within_secs=5)

    assert handler.ended == ["hm_2", "hm_1"]


async def test_when_enough_is_parked_the_queue_waits(world: World) -> None:
    """Nothing is dropped, and no order lost, for want of room."""
    handler = Scripted(hm_1=[NO])
    await feed(world, *((number, "a") for number in range(1, 8)))
    owner = await world.own(handler, parked_max=2)
    peak = 0

    async def through() -> bool:
        nonlocal peak
        peak = max(peak, len((await world.kept()).parked))
        return await world.is_through()

    await world.until(through, within_secs=10)

    assert handler.ended == [f"hm_{number}" for number in range(1, 8)]
    assert owner.told.notes.count(("retried", "no", 1, 1)) == 1
    assert 2 <= peak <= 6


async def test_what_waits_in_a_topic_of_an_earlier_configuration_comes_back(world: World) -> None:
    """Delays may be changed while events wait."""
    handler = Scripted(hm_1=[NO, NO])
    await feed(world, (1, "a"))
    owner = await world.own(handler)

    async def waits() -> bool:
        return TOPICS.retry(2) in {each.topic for several in (await world.kept()).waiting.values()
                                   for each in several.values()}  # fmt: skip

    await world.until(waits, within_secs=5)
    await owner.stop()
    await world.own(handler, delays_secs=(1,))
    await world.until(world.is_through, within_secs=5)

    assert handler.ended == ["hm_1"]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b'{"id": 1}'])
async def test_what_is_no_event_is_set_aside_unseen(world: World, value: bytes) -> None:
    """No handler could do anything with it."""
    handler = Scripted()
    await world.feed(1, "a", value)
    await world.feed(2, "a")
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)
    [letter] = await world.read(TOPICS.dead_letters)

    assert handler.seen == [("hm_2", 1)]
    assert letter.header("hm-error-reason") == "undecodable_event"
    assert letter.value == value


async def test_a_handler_that_can_do_nothing_now_holds_its_events(world: World) -> None:
    """No attempt is counted, nothing goes to a retry topic, and it goes on by itself."""
    away: Any = Retry("database_away", in_place=True)
    handler = Scripted(hm_1=[away] * 5)
    await feed(world, (1, "a"), (2, "a"))
    owner = await world.own(handler)
    await world.until(world.is_through, within_secs=5)

    assert handler.seen == [("hm_1", 1)] * 6 + [("hm_2", 1)]
    assert owner.told.notes.count(("held", "database_away")) == 5
    assert await world.ids(TOPICS.retry(1)) == []
