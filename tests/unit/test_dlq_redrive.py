"""Redrives on the in-memory log, killed wherever chance has it: each letter once, in order."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hookmill import pipeline
from hookmill.core.record import Record
from hookmill.kafka.redrive import Order, Overtaken, Redrive
from hookmill.stages.failed import dead_letter
from hookmill.stages.letters import Selection
from support.desks import MemoryDesk
from support.memory_log import MemoryLog

ITS = pipeline.HandlerTopics("it")
TARGETS = pipeline.sent_again_to(["it"])
PARTITIONS = 2
FATES = (
    "killed", "killed after the commit", "broken", "broken after the commit", "overtaken",
    "behind another", "fine",
)  # fmt: skip

LETTERS = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.sampled_from("ab")), max_size=25)
RUNS = st.lists(
    st.tuples(
        st.sampled_from(FATES),
        st.integers(0, 3),  # at which commit
        st.sampled_from([frozenset(), frozenset({"a"}), frozenset({"b"})]),
        st.one_of(st.none(), st.integers(1, 6)),
        st.sampled_from([0, 1, 20, 1000]),
    ),
    max_size=6,
)


class Quiet:
    """A watcher that is told for nothing."""

    def begins(self, offsets: int) -> None:
        """Nothing."""

    def passed(self, offsets: int) -> None:
        """Nothing."""

    def settled(self, letters: int) -> None:
        """Nothing."""


async def no_pause(seconds: float) -> None:
    """No time passes."""


def redrive(desk: MemoryDesk, **order: Any) -> Redrive:
    """A redrive that is not run yet."""
    full = Order(word="redriven", sent_again_to=TARGETS, **order)
    return Redrive(desk, full, now_us=lambda: 1, pause=no_pause, watcher=Quiet())


def set_aside(log: MemoryLog, letters: list[tuple[int, str]]) -> None:
    """Letters with those reasons in those partitions, numbered."""
    for number, (partition, reason) in enumerate(letters):
        record = Record("q", partition, 0, 0, b"shop|s", str(number).encode())
        made = dead_letter(record, topic=ITS.dead_letters, part="it", reason=reason, detail="",
                           attempt=1, at_us=number)  # fmt: skip
        log.append(ITS.dead_letters, partition, made)


def at_commit(number: int, fault: Callable[[], Coroutine[Any, Any, None]]) -> Any:
    """The fault, at that commit and no other."""
    left = [number]

    async def perhaps() -> None:
        left[0] -= 1
        if left[0] == -1:
            await fault()

    return perhaps


async def die() -> None:
    """As SIGKILL does: nothing more is done."""
    raise asyncio.CancelledError


async def break_off() -> None:
    """The answer is lost."""
    raise TimeoutError


async def run(log: MemoryLog, how: str, at: int, **order: Any) -> None:
    """One redrive, with its fault."""
    desk = MemoryDesk(log, PARTITIONS)

    async def overtake() -> None:
        await redrive(MemoryDesk(log, PARTITIONS), **{**order, "count_max": 1}).run()

    fault = {"killed": die, "broken": break_off, "overtaken": overtake}.get(how.split()[0])
    if how == "behind another":
        desk.before_fence = overtake
    if fault is not None:
        side = "after_commit" if "after" in how else "before_commit"
        setattr(desk, side, at_commit(at, fault))
    try:
        await redrive(desk, **order).run()
    except asyncio.CancelledError:
        assert fault is die
    except Overtaken:
        assert fault is overtake


@given(LETTERS, RUNS)
def test_each_letter_goes_once_and_in_order_whatever_happens(
    letters: list[tuple[int, str]], runs: list[tuple[str, int, frozenset[str], int | None, int]]
) -> None:
    """After any runs with any selections, killed, cut off or overtaken at any commit."""

    async def history() -> None:
        log = MemoryLog()
        set_aside(log, letters)
        for how, at, reasons, count_max, rate in runs:
            await run(log, how, at, selection=Selection(reasons=reasons), count_max=count_max,
                      rate_per_sec=rate)  # fmt: skip
            await check(log, letters, complete=False)
        await run(log, "fine", 0, selection=Selection())
        await check(log, letters, complete=True)

    asyncio.run(history())


async def check(log: MemoryLog, letters: list[tuple[int, str]], *, complete: bool) -> None:
    """Each at most once, in order for each partition and reason; decided if and only if sent."""
    for partition in range(PARTITIONS):
        sent = [int(each.value) for each in await log.read(ITS.queue, partition)]
        mine = [n for n, each in enumerate(letters) if each[0] == partition]
        assert sorted(sent) == sorted(set(sent) & set(mine))
        for reason in "ab":
            of_reason = [n for n in sent if letters[n][1] == reason]
            assert of_reason == sorted(of_reason)
        decided = await log.read(pipeline.DECISIONS, partition)
        assert len({each.key for each in decided}) == len(decided) == len(sent)
        if complete:
            assert sorted(sent) == mine


@given(LETTERS, st.integers(1, 30))
def test_no_more_are_sent_than_asked_for(letters: list[tuple[int, str]], count_max: int) -> None:
    """However they are cut into transactions."""

    async def history() -> int:
        log = MemoryLog()
        set_aside(log, letters)
        work = redrive(MemoryDesk(log, PARTITIONS), selection=Selection(), count_max=count_max)
        await work.run()
        assert work.done.total() == sum(
            [len(await log.read(ITS.queue, partition)) for partition in range(PARTITIONS)]
        )
        return work.done.total()

    assert asyncio.run(history()) == min(count_max, len(letters))


def test_a_rate_is_kept_between_transactions() -> None:
    """Ten transactions a second, with as many letters as the rate allows."""
    pauses: list[float] = []
    sizes: list[int] = []

    async def history() -> None:
        log = MemoryLog()
        set_aside(log, [(0, "a")] * 25)
        desk = MemoryDesk(log, PARTITIONS)

        async def count() -> None:
            sizes.append(len(await log.read(ITS.queue, 0)) - sum(sizes))

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        desk.after_commit = count
        order = Order(word="redriven", sent_again_to=TARGETS, selection=Selection(),
                      rate_per_sec=30)  # fmt: skip
        await Redrive(desk, order, now_us=lambda: 1, pause=pause, watcher=Quiet()).run()

    asyncio.run(history())

    assert max(sizes) == 3
    assert sum(sizes) == 25
    assert pauses == [0.0, *(size / 30 for size in sizes[:-1])]


def test_an_interrupt_finds_the_transaction_under_way_finished_and_counted() -> None:
    """What is said to be redriven is what was sent, wherever the interrupt hits."""

    async def history() -> None:
        log = MemoryLog()
        set_aside(log, [(0, "a")] * 25)
        desk = MemoryDesk(log, PARTITIONS)
        under_way, answered = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            under_way.set()
            await answered.wait()

        desk.after_commit = at_commit(2, wait)
        work = redrive(desk, selection=Selection(), rate_per_sec=50)
        running = asyncio.create_task(work.run())
        await under_way.wait()
        running.cancel()
        await asyncio.sleep(0)
        answered.set()
        await asyncio.wait([running])

        assert running.cancelled()
        assert work.done.total() == len(await log.read(ITS.queue, 0)) == 12

    asyncio.run(history())
