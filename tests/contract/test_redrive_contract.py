"""Dead letters sent again: the in-memory log and a real Apache Kafka pass the same tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hookmill import pipeline
from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.kafka.reader import reader
from hookmill.kafka.redrive import ATTEMPTS_MAX, Order, Overtaken, Redrive, read_decisions
from hookmill.stages import headers
from hookmill.stages.failed import dead_letter
from hookmill.stages.letters import Decision, Letter, Place, Selection
from support.brokers import BrokerLog
from support.desks import FaultyDesk, MemoryDesk
from support.memory_log import MemoryLog

LEDGER, AUDIT = pipeline.HandlerTopics("ledger"), pipeline.HandlerTopics("audit")
TARGETS = pipeline.sent_again_to(["ledger", "audit"])
PARTITIONS = 2
TOPICS = [
    pipeline.Topic(name, "test", pipeline.KEEP_MS, 1_300_000)
    for name in (LEDGER.queue, LEDGER.dead_letters, AUDIT.queue, AUDIT.dead_letters,
                 pipeline.NORMALIZE.dead_letters, pipeline.UNIQUE, pipeline.DECISIONS)
]  # fmt: skip
NOW_US = 1_795_424_400_000_000


class Counting:
    """A watcher that adds up what it is told."""

    def __init__(self) -> None:
        self.offsets = self.behind = self.letters = 0

    def begins(self, offsets: int) -> None:
        self.offsets += offsets

    def passed(self, offsets: int) -> None:
        self.behind += offsets

    def settled(self, letters: int) -> None:
        self.letters += letters


class Office:
    """A log with dead letters, and one desk after another that decides about them."""

    def __init__(self, log: Any, new_desk: Any) -> None:
        self.log = log
        self.desk = new_desk
        self.watcher = Counting()

    async def set_aside(
        self,
        event: str,
        *,
        topic: str = LEDGER.dead_letters,
        partition: int = 0,
        subject: str = "p_1",
        reason: str = "declined",
        before: tuple[Any, ...] = (),
    ) -> None:
        """A dead letter, as whoever gave up on the event writes it."""
        record = Record("came-from", partition, 5, 0, f"shop|{subject}".encode(), event.encode(),
                        ((headers.DELIVERY, b"d"), (headers.EVENT_ID, event.encode()),
                         (headers.RAW_OFFSET, b"9"), (headers.TRACEPARENT, b"00-a"), *before),
                        )  # fmt: skip
        letter = dead_letter(record, topic=topic, part="it", reason=reason, detail="why",
                             attempt=3, at_us=NOW_US)  # fmt: skip
        await self.log.produce(topic, partition, letter.key, letter.value, letter.headers)

    async def run(self, desk: Any = None, **wish: Any) -> Redrive:
        """Carry out an order to its end."""
        work = self.work(desk or await self.desk(), **wish)
        await work.run()
        return work

    def work(self, desk: Any, **wish: Any) -> Redrive:
        """An order that is not carried out yet."""
        selection = Selection(**{name: wish.pop(name) for name in list(wish)
                                 if name in Selection.__struct_fields__})  # fmt: skip
        order = Order(word=wish.pop("word", "redriven"), selection=selection,
                      sent_again_to=TARGETS, **wish)  # fmt: skip

        async def no_pause(seconds: float) -> None:
            pass

        return Redrive(desk, order, now_us=lambda: NOW_US, pause=no_pause,
                       watcher=self.watcher)  # fmt: skip

    async def sent(self, topic: str = LEDGER.queue, partition: int = 0) -> list[str]:
        """The events that were sent to that topic, in order."""
        return [each.value.decode() for each in await self.log.read(topic, partition)]

    async def letters(self) -> list[int]:
        """The offsets of the ledger's letters in partition 0."""
        return [each.offset for each in await self.log.read(LEDGER.dead_letters, 0)]

    async def decisions(self, topic: str = LEDGER.dead_letters) -> list[Decision | None]:
        """What was decided of each letter of partition 0, in order."""
        found = await read_decisions(await self.desk())
        return [found.of(Letter(Place(topic, 0, each.offset), each))
                for each in await self.log.read(topic, 0)]  # fmt: skip


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.broker)])
async def office(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Office]:
    """The office on each log."""
    if request.param == "memory":
        memory = MemoryLog()

        async def on_memory() -> MemoryDesk:
            return MemoryDesk(memory, PARTITIONS)

        yield Office(memory, on_memory)
        return
    log = BrokerLog(request.getfixturevalue("broker_servers"), namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    async with contextlib.AsyncExitStack() as stack:

        async def on_kafka() -> FaultyDesk:
            letters = await stack.enter_async_context(reader(log.connection))
            decisions = await stack.enter_async_context(reader(log.connection))
            desk = FaultyDesk(log.connection, log.names, letters=letters, decisions=decisions)
            stack.push_async_callback(desk.close)
            return desk

        yield Office(log, on_kafka)
    await log.stop()


async def test_each_letter_is_sent_once_in_order_to_its_own_queue(office: Office) -> None:
    """On its partition; a second run finds nothing to do."""
    for event in ("a", "b", "c"):
        await office.set_aside(event)
    await office.set_aside("elsewhere", partition=1)
    await office.set_aside("of audit", topic=AUDIT.dead_letters)
    first = await office.run()
    second = await office.run()

    assert await office.sent() == ["a", "b", "c"]
    assert await office.sent(partition=1) == ["elsewhere"]
    assert await office.sent(AUDIT.queue) == ["of audit"]
    assert first.done == {LEDGER.dead_letters: 4, AUDIT.dead_letters: 1}
    assert second.done == {}
    assert office.watcher.letters == 5
    assert office.watcher.behind == office.watcher.offsets > 0


async def test_a_stages_letters_go_to_its_input(office: Office) -> None:
    """Where its decision is made anew."""
    await office.set_aside("unparseable", topic=pipeline.NORMALIZE.dead_letters)
    await office.run()

    assert await office.sent(pipeline.UNIQUE) == ["unparseable"]


async def test_the_record_is_as_it_was_and_says_how_often(office: Office) -> None:
    """What the failure added is gone; ids, traces and positions stay."""
    await office.set_aside("a", before=((headers.NOT_BEFORE, b"1"), (headers.REDRIVES, b"1")))
    await office.run()
    [record] = await office.log.read(LEDGER.queue, 0)

    assert record.key == b"shop|p_1"
    assert record.headers == (
        ("hm-delivery", b"d"),
        ("hm-event-id", b"a"),
        ("hm-raw-offset", b"9"),
        ("traceparent", b"00-a"),
        ("hm-redrives", b"2"),
        ("hm-redriven-from", b"handler-ledger-dlq:0:0"),
    )


async def test_what_was_decided_is_kept_beside_it(office: Office) -> None:
    """When, by whom and why, on the letter's own partition."""
    await office.set_aside("a")
    await office.run(by="sam", why="the database is back")
    [letter] = await office.log.read(LEDGER.dead_letters, 0)

    assert await office.decisions() == [
        Decision("redriven", "2026-11-23T09:00:00.000000Z", letter.timestamp_ms,
                 why="the database is back", by="sam")
    ]  # fmt: skip
    [kept] = await office.log.read(pipeline.DECISIONS, 0)
    assert kept.key == b"handler-ledger-dlq|0|0"


async def test_a_discarded_letter_is_sent_only_if_it_is_named(office: Office) -> None:
    """It was never sent, so nothing doubles; a redriven one never goes again, named or not."""
    await office.set_aside("a")
    await office.set_aside("b")
    await office.run(word="discarded", why="a probe")
    await office.run()
    assert await office.sent() == []

    places = frozenset({Place(LEDGER.dead_letters, 0, (await office.letters())[0])})
    for _ in range(2):
        await office.run(places=places)

    assert await office.sent() == ["a"]
    words = [each and each.decision for each in await office.decisions()]
    assert words == ["redriven", "discarded"]
    await office.run(word="discarded", places=places, why="too late")
    assert [each and each.decision for each in await office.decisions()] == words


async def test_only_what_is_selected_is_sent(office: Office) -> None:
    """And no more than was asked for; the rest stays open."""
    for number in range(6):
        await office.set_aside(f"{number}", reason="odd" if number % 2 else "even")
    await office.run(reasons=frozenset({"odd"}), count_max=2)
    assert await office.sent() == ["1", "3"]

    await office.run()

    assert await office.sent() == ["1", "3", "0", "2", "4", "5"]


async def test_what_is_set_aside_meanwhile_waits_for_the_next_run(office: Office) -> None:
    """A letter that fails again would otherwise go round for ever."""
    await office.set_aside("a")
    desk = await office.desk()

    async def fail_again() -> None:
        await office.set_aside("a", before=((headers.REDRIVES, b"1"),))

    desk.after_commit = fail_again
    await office.run(desk)

    assert await office.sent() == ["a"]


async def test_a_run_that_dies_before_its_commit_has_sent_nothing(office: Office) -> None:
    """The next one sends it."""
    await office.set_aside("a")
    await crash(office, before=True)
    assert await office.sent() == []

    await office.run()

    assert await office.sent() == ["a"]


async def test_a_run_that_dies_after_its_commit_has_sent_it(office: Office) -> None:
    """The next one knows."""
    await office.set_aside("a")
    await office.set_aside("b", partition=1)
    await crash(office, before=False)
    await office.run()

    assert await office.sent() == ["a"]
    assert await office.sent(partition=1) == ["b"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_of_unknown_outcome_is_settled_by_fence_and_decisions(
    office: Office, when: str
) -> None:
    """Whichever way it went, every letter goes once and is counted once."""
    for event in ("a", "b", "c"):
        await office.set_aside(event)
    desk, failures = await office.desk(), iter([TimeoutError, ConnectionError])

    async def fail() -> None:
        for error in failures:
            raise error

    setattr(desk, f"{when}_commit", fail)
    work = await office.run(desk)

    assert await office.sent() == ["a", "b", "c"]
    assert work.done.total() == 3


async def test_a_second_run_fences_the_first(office: Office) -> None:
    """The first says so, with what it did; nothing goes twice."""
    for event in ("a", "b"):
        await office.set_aside(event)
    zombie = await office.desk()
    freezes, thaws = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        freezes.set()
        await thaws.wait()

    zombie.before_commit = freeze
    first = office.work(zombie)
    running = asyncio.ensure_future(first.run())
    await freezes.wait()
    await office.run(count_max=1)
    thaws.set()

    with pytest.raises(Overtaken, match="0 letters were redriven"):
        await running
    assert await office.sent() == ["a"]
    await office.run()
    assert await office.sent() == ["a", "b"]


async def test_what_cannot_be_written_ends_the_run(office: Office) -> None:
    """After a few attempts, each from the fence on; nothing of it is decided."""
    await office.set_aside("a")
    desk, attempts = await office.desk(), []

    async def refuse() -> None:
        attempts.append(1)
        raise ValueError("too large")

    desk.before_commit = refuse
    with pytest.raises(ValueError):
        await office.run(desk)

    assert len(attempts) == ATTEMPTS_MAX
    assert await office.decisions() == [None]


async def test_what_was_decided_of_letters_that_are_gone_is_forgotten(office: Office) -> None:
    """`dlq-decisions` would grow for ever; of the letters that are there all is remembered."""
    for event in ("a", "b", "c"):
        await office.set_aside(event)
    await office.run()
    _, kept, last = await office.letters()
    await office.log.delete(LEDGER.dead_letters, 0, before=kept)
    await office.run()

    records = await office.log.read(pipeline.DECISIONS, 0)
    assert [(each.key, bool(each.value)) for each in records][3:] == [
        (Place(LEDGER.dead_letters, 0, 0).key, False)
    ]
    assert await office.letters() == [kept, last]
    assert [each and each.decision for each in await office.decisions()] == ["redriven"] * 2
    await office.run()
    assert await office.sent() == ["a", "b", "c"]


async def test_a_decision_that_cannot_be_read_stops_everything(office: Office) -> None:
    """A letter whose fate is unknown could be sent twice."""
    await office.set_aside("a")
    await office.log.produce(pipeline.DECISIONS, 0, b"handler-ledger-dlq|0|0", b'{"v": 2}')

    with pytest.raises(HookmillError, match="no decision that this version can read"):
        await office.run()
    assert await office.sent() == []


async def crash(office: Office, *, before: bool) -> None:
    """A run that ends for good at its first commit, just before it or just after."""
    desk = await office.desk()

    async def die() -> None:
        raise asyncio.CancelledError

    setattr(desk, "before_commit" if before else "after_commit", die)
    with pytest.raises(asyncio.CancelledError):
        await office.run(desk)
