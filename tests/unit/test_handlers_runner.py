"""The runner around a handler: what it is told, what it may see, how it ends; in memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hookmill.core.errors import Stuck
from hookmill.core.outcome import Retry
from hookmill.handlers import handling as handling_module
from hookmill.handlers import runner as runner_module
from hookmill.handlers.handling import PAUSE_SECS_MAX, pause_growing
from hookmill.handlers.journal import CRASHES_MAX, Journal
from hookmill.handlers.log import LogHandler
from support.handler_worlds import TOPICS, MemoryWorld, Scripted

NO = Retry("no")


@pytest.fixture
async def world() -> AsyncIterator[MemoryWorld]:
    """A handler's partition in memory."""
    world = MemoryWorld()
    yield world
    await world.stop()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Retry("ledger_unavailable"), "ledger_unavailable"),
        (RuntimeError("the detail may hold a card number"), "RuntimeError"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
async def test_whatever_fails_waits_for_a_retry(
    world: MemoryWorld, failure: Any, reason: str
) -> None:
    """The next attempt comes after the next delay; a person finds the detail in the record."""
    handler = Scripted(hm_1=[failure, failure])
    await world.feed(1, "a")
    owner = await world.own(handler)
    await world.until(world.is_through, within_secs=5)

    assert handler.seen == [("hm_1", 1), ("hm_1", 2), ("hm_1", 3)]
    assert owner.told.notes == [
        ("retried", reason, 1, 1), ("retried", reason, 2, 2), ("handled", "hm_1"),
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [True, 0, "done", {}])
async def test_another_answer_is_a_defect_and_set_aside(world: MemoryWorld, answer: Any) -> None:
    """Trying it again would not mend it."""

    async def nonsense() -> Any:
        return answer

    await world.feed(1, "a")
    owner = await world.own(Scripted(hm_1=[nonsense]))
    await world.until(world.is_through, within_secs=1)

    assert owner.told.notes == [("aside", "handler_answer")]


async def test_a_handler_that_hangs_is_cut_off(world: MemoryWorld) -> None:
    """And the event waits like any other that failed."""
    await world.feed(1, "a")
    owner = await world.own(Scripted(hm_1=[asyncio.Event().wait]), timeout_secs=0.01)
    await world.until(world.is_through, within_secs=60)

    assert owner.told.notes == [("retried", "timeout", 1, 1), ("handled", "hm_1")]


async def test_without_delays_a_failure_is_a_dead_letter(world: MemoryWorld) -> None:
    """Where the configuration wants no retries."""
    await world.feed(1, "a")
    owner = await world.own(Scripted(hm_1=[NO]), delays_secs=())
    await world.until(world.is_through, within_secs=1)

    assert owner.told.notes == [("aside", "no")]


async def test_as_many_at_once_as_there_are_places(world: MemoryWorld) -> None:
    """Over all subjects; never two of one."""
    at_once = most = 0
    release = asyncio.Event()

    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1

    handler = Scripted(**{f"hm_{number}": [slow] for number in range(1, 9)})
    for number in range(1, 9):
        await world.feed(number, f"s{number % 4}")
    await world.own(handler, slots=3)
    await world.until(lambda: most == 3, within_secs=1)
    first = [each for each, _ in handler.seen]
    release.set()
    await world.until(world.is_through, within_secs=1)

    assert most == 3
    assert first == ["hm_1", "hm_2", "hm_3"]


async def test_a_stop_lets_what_runs_come_to_its_end(world: MemoryWorld) -> None:
    """It is committed, and nothing new is begun."""
    release = asyncio.Event()
    handler = Scripted(hm_1=[release.wait])
    await world.feed(1, "a")
    await world.feed(2, "a")
    owner = await world.own(handler)
    await world.until(lambda: bool(handler.seen), within_secs=1)
    owner.task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await owner.task

    assert handler.ended == []  # `wait` answers True, which is no answer: a dead letter
    assert await world.ids(TOPICS.dead_letters) == ["hm_1"]
    assert await world.committed(TOPICS.queue) == 1


async def test_a_stop_does_not_wait_for_ever(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats wait while partitions are given away; the event is handed over again."""
    monkeypatch.setattr(runner_module, "DRAIN_SECS", 0.01)
    handler = Scripted(hm_1=[asyncio.Event().wait])
    await world.feed(1, "a")
    owner = await world.own(handler)
    await world.until(lambda: bool(handler.seen), within_secs=1)
    owner.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner.task

    assert await world.committed(TOPICS.queue) is None


async def test_a_commit_that_fails_ends_the_run(world: MemoryWorld) -> None:
    """Whether it went out is settled by the fence of the next owner."""

    def fails() -> None:
        raise ConnectionError

    await world.feed(1, "a")
    owner = await world.own(Scripted())
    owner.queue.before_commit = fails
    with pytest.raises(ConnectionError):
        await owner.task

    assert await world.committed(TOPICS.queue) is None


async def test_nothing_is_committed_after_a_commit_that_failed(world: MemoryWorld) -> None:
    """It would go out without what went before it: an event of the first would be lost."""
    release = asyncio.Event()
    handler = Scripted(hm_1=[NO], hm_2=[release.wait])
    await world.feed(1, "a")
    await world.feed(2, "b")
    owner = await world.own(handler)

    def fails() -> None:
        owner.queue.before_commit = lambda: None
        owner.task.cancel()
        release.set()
        raise ConnectionError

    owner.queue.before_commit = fails
    await asyncio.gather(owner.task, return_exceptions=True)

    assert await world.committed(TOPICS.queue) is None
    assert await world.ids(TOPICS.retry(1)) == []


async def test_what_only_a_new_process_can_mend_ends_the_run(world: MemoryWorld) -> None:
    """Hung threads, for one."""
    await world.feed(1, "a")
    owner = await world.own(Scripted(hm_1=[Stuck("every thread hangs")]))

    with pytest.raises(Stuck, match="every thread hangs"):
        await owner.task


async def test_a_handler_knows_what_it_is_given(world: MemoryWorld) -> None:
    """The idempotency key is the event's id at every attempt."""
    handler = Scripted(hm_4=[NO])
    await world.feed(4, "a")
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)
    told = [{name: getattr(each, name) for name in each.__struct_fields__ if name != "log"}
            for each in handler.contexts]  # fmt: skip

    assert [each.pop("attempt") for each in told] == [1, 2]
    assert [each["idempotency_key"] for each in told] == ["hm_4", "hm_4"]
    assert [each["topic"] for each in told] == [TOPICS.queue, TOPICS.retry(1)]
    assert told[0]["delivery"] == told[1]["delivery"] == "d-4"
    assert (told[0]["handler"], told[0]["deadline_secs"]) == ("h", 30)
    assert (told[0]["partition"], told[0]["offset"]) == (2, 0)


async def test_a_redriven_event_begins_with_its_first_attempt(world: MemoryWorld) -> None:
    """What is left of an earlier life in its headers is not counted."""
    headers = (("ce_id", b"hm_1"), ("hm-redrives", b"1"), ("hm-attempt", b"4"))
    handler = Scripted(hm_1=[NO])
    await world.feed(1, "a")
    [fed] = await world.read(TOPICS.queue)
    world.partition.topics.clear()
    await world.produce(fed.key, fed.value, headers)
    await world.own(handler)
    await world.until(world.is_through, within_secs=5)
    [waited] = await world.read(TOPICS.retry(1))

    assert handler.seen == [("hm_1", 1), ("hm_1", 2)]
    assert waited.header("hm-redrives") == "1"


async def test_an_event_that_kills_processes_waits_like_one_that_failed(
    world: MemoryWorld, tmp_path: Path
) -> None:
    """A process that dies leaves a note; after two in a row it is not handed over at once."""
    path = tmp_path / "in-flight"
    for _ in range(CRASHES_MAX):
        dies = Journal(path)
        dies.begin("hm_1")
        dies.close()
    journal = Journal(path)
    handler = Scripted()
    await world.feed(1, "a")
    owner = await world.own(handler, journal=journal)
    await world.until(world.is_through, within_secs=5)
    journal.close()

    assert owner.told.notes == [("retried", "process_crashed", 1, 1), ("handled", "hm_1")]
    assert handler.seen == [("hm_1", 2)]


async def test_liveness_is_the_handler_coming_back(world: MemoryWorld) -> None:
    """While an event hangs in it the turns stand still; an idle queue turns by polling."""
    release = asyncio.Event()
    handler = Scripted(hm_1=[release.wait])
    owner = await world.own(handler)
    await world.feed(1, "a")
    await world.until(lambda: bool(handler.seen), within_secs=1)
    held = owner.runner.turns
    await world.feed(2, "b")
    await world.until(lambda: "hm_2" in handler.ended, within_secs=1)
    after_another = owner.runner.turns
    for _ in range(50):
        world.partition.move(0.1)
        await asyncio.sleep(0)

    assert held < after_another == owner.runner.turns
    release.set()
    await world.until(lambda: owner.runner.turns > after_another, within_secs=1)


async def test_the_oldest_event_under_way_says_how_old_the_queue_is(world: MemoryWorld) -> None:
    """None where all is done or put away."""
    handler = Scripted(hm_1=[NO], hm_2=[asyncio.Event().wait])
    owner = await world.own(handler, parked_max=2)
    at_ms = world.now_us() // 1000
    await world.feed(1, "a")
    await world.until(lambda: owner.told.notes == [("retried", "no", 1, 1)], within_secs=0.5)
    await world.until(lambda: owner.runner.pending_since_ms is None, within_secs=0.5)
    await world.feed(2, "b")
    await world.until(lambda: ("hm_2", 1) in handler.seen, within_secs=1)

    assert owner.runner.pending_since_ms is not None
    assert owner.runner.pending_since_ms >= at_ms


async def test_the_log_handler_says_what_came_but_no_metadata(
    world: MemoryWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Customers' data stay out of the log."""
    await world.feed(1, "a")
    await world.own(LogHandler())
    await world.until(world.is_through, within_secs=1)
    said = capsys.readouterr().out

    assert "event_handled" in said
    assert "hm_1" in said
    assert "d-1" in said
    assert "4111" not in said


async def test_pauses_double_up_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jittered downwards only, so that members do not come back all at once."""
    slept: list[float] = []

    async def sleep(secs: float) -> None:
        slept.append(secs)

    monkeypatch.setattr(handling_module.asyncio, "sleep", sleep)
    longest = [0.5, 1, 2, 4, 8, 16, 30, 30]
    for attempt in [*range(1, 8), 10_000]:
        await pause_growing(attempt)

    assert all(most / 2 <= secs <= most for secs, most in zip(slept, longest, strict=True))
    assert max(slept) <= PAUSE_SECS_MAX
