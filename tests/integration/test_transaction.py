"""Transactions on a real broker: all or nothing, of one owner, in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from hookmill.core.record import Output
from hookmill.kafka.reader import reader
from hookmill.kafka.transaction import TransactionalProducer
from hookmill.pipeline import DEDUP, KEEP_MS, NORMALIZED, RAW, SEEN, UNIQUE, Topic
from support.brokers import BrokerLog

pytestmark = pytest.mark.broker

GROUP = "group"
TOPICS = (RAW, UNIQUE, NORMALIZED, SEEN)


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Topics of the first stages."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([Topic(each, "test", KEEP_MS, 1_300_000) for each in TOPICS])
    yield log
    await log.stop()


async def producer(log: BrokerLog, *, batch_bytes_max: int = 1_000) -> TransactionalProducer:
    """One that has fenced whoever was before."""
    made = TransactionalProducer(
        log.connection, log.names.group("it"), client_id="test", batch_bytes_max=batch_bytes_max
    )
    await made.fence()
    return made


def outputs(topic: str, count: int) -> list[Output]:
    """So many records, numbered."""
    return [Output(topic, b"key", str(number).encode()) for number in range(count)]


async def committed(log: BrokerLog) -> int | None:
    """The group's offset in the input."""
    async with reader(log.connection) as source:
        offsets = await source.committed(log.names.group(GROUP))
    return offsets.get((log.names.topic(RAW), 0))


async def test_what_is_open_under_an_id_is_known_to_its_next_owner(log: BrokerLog) -> None:
    """Its coordinator tells; after the fence nothing is."""
    its = await producer(log)
    assert await its._open_partitions() == set()
    await its._write(its.pack([*outputs(UNIQUE, 1), *outputs(SEEN, 1)]), 0, log.names.topic)
    assert await its._open_partitions() == {
        TopicPartition(log.names.topic(each), 0) for each in (UNIQUE, SEEN)
    }
    after = await producer(log)

    assert await after._open_partitions() == set()
    await its.stop()
    await after.stop()


async def test_all_of_it_is_there_in_order(log: BrokerLog) -> None:
    """Of several topics, in more batches than one, transaction after transaction."""
    its = await producer(log)
    at = TopicPartition(log.names.topic(RAW), 0)
    for number in range(3):
        written = await its.commit(
            its.pack([*outputs(UNIQUE, 100), *outputs(NORMALIZED, 1)]), 0, log.names.topic,
            group=log.names.group(GROUP), offsets={at: number + 1},
        )  # fmt: skip
        found = await log.read(UNIQUE, 0)
        assert written[UNIQUE] == found[-1].offset
        assert [int(each.value) for each in found] == [*range(100)] * (number + 1)
        assert len(await log.read(NORMALIZED, 0)) == number + 1
        assert await committed(log) == number + 1
    await its.stop()


async def test_an_end_whose_answer_was_lost_can_be_asked_for_again(log: BrokerLog) -> None:
    """With the epoch that it had; the answer is the same, and the next transaction goes on."""
    its = await producer(log)
    began_with = its._producer
    await its.commit(its.pack(outputs(UNIQUE, 1)), 0, log.names.topic)
    goes_on_with = its._producer
    assert goes_on_with > began_with

    its._producer = began_with
    await its._end()
    assert its._producer == goes_on_with
    await its.commit(its.pack(outputs(UNIQUE, 1)), 0, log.names.topic)

    assert len(await log.read(UNIQUE, 0)) == 2
    await its.stop()


async def unanswered() -> None:
    """An end that no coordinator answers in time."""
    raise TimeoutError


async def in_doubt(log: BrokerLog, lost: pytest.MonkeyPatch) -> TransactionalProducer:
    """One whose commit of two records nobody answers, for as long as that is lost."""
    its = await producer(log)
    lost.setattr(its, "_end", unanswered)
    with pytest.raises(TimeoutError):
        await its.commit(its.pack(outputs(UNIQUE, 2)), 0, log.names.topic)
    return its


async def test_an_owner_settles_what_nobody_answered_before_it_fences(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To fence at once would abort what a coordinator may have begun to commit."""
    port = await log.port(DEDUP, 0)
    await port.fence()
    monkeypatch.setattr(port._producer, "_end", unanswered)
    packed = port.pack()
    packed.add([*outputs(UNIQUE, 2), *outputs(SEEN, 1)])
    with pytest.raises(TimeoutError):
        await port.commit(packed, 2)
    with pytest.raises(TimeoutError):
        await port.fence()
    monkeypatch.undo()

    await port.fence()
    assert len(await log.read(UNIQUE, 0)) == 2
    assert await port.committed() == 2
    await port.close()


async def test_whoever_stops_settles_what_nobody_answered(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor, elsewhere, can only fence."""
    with monkeypatch.context() as lost:
        its = await in_doubt(log, lost)

    await its.stop()
    assert len(await log.read(UNIQUE, 0)) == 2


async def test_one_that_could_not_settle_when_it_stopped_does_before_it_fences(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops all the same."""
    with monkeypatch.context() as lost:
        its = await in_doubt(log, lost)
        await its.stop()

    await its.fence()
    assert len(await log.read(UNIQUE, 0)) == 2
    await its.stop()


async def test_only_an_end_that_was_asked_for_is_settled(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a transaction that was not wholly written nothing is ever committed."""
    its = await producer(log)
    monkeypatch.setattr(its, "_write", unanswered_write)
    with pytest.raises(TimeoutError):
        await its.commit(its.pack(outputs(UNIQUE, 1)), 0, log.names.topic)
    monkeypatch.setattr(its, "_end", pytest.fail)
    await its.fence()
    await its.stop()
    assert await log.read(UNIQUE, 0) == []


async def unanswered_write(*arguments: object) -> dict[str, int]:
    """A write that no broker answers in time."""
    raise TimeoutError


async def test_what_another_owner_undid_stays_undone(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old owner is told so, and that settles it."""
    with monkeypatch.context() as lost:
        first = await in_doubt(log, lost)
    second = await producer(log)

    await first.stop()
    await second.commit(second.pack(outputs(UNIQUE, 1)), 0, log.names.topic)
    assert len(await log.read(UNIQUE, 0)) == 1
    await second.stop()


async def test_who_was_fenced_commits_nothing(log: BrokerLog) -> None:
    """However often another began after it."""
    first = await producer(log)
    await first.commit(first.pack(outputs(UNIQUE, 1)), 0, log.names.topic)
    second = await producer(log)

    with pytest.raises(ProducerFenced):
        await first.commit(first.pack(outputs(UNIQUE, 5)), 0, log.names.topic)
    await second.commit(second.pack(outputs(UNIQUE, 2)), 0, log.names.topic)

    assert len(await log.read(UNIQUE, 0)) == 3
    await first.stop()
    await second.stop()


async def test_what_was_left_open_is_undone_by_the_next_owner(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and offsets alike; and who left it open can end it no more."""
    first, at = await producer(log), TopicPartition(log.names.topic(RAW), 0)
    end, written, go_on = first._end, asyncio.Event(), asyncio.Event()

    async def late() -> None:
        written.set()
        await go_on.wait()
        await end()

    monkeypatch.setattr(first, "_end", late)
    work = asyncio.ensure_future(
        first.commit(
            first.pack(outputs(UNIQUE, 5)),
            0,
            log.names.topic,
            group=log.names.group(GROUP),
            offsets={at: 9},
        )
    )
    await written.wait()
    second = await producer(log)
    assert await log.read(UNIQUE, 0) == []
    assert await committed(log) is None

    go_on.set()
    with pytest.raises(ProducerFenced):
        await work
    await second.commit(second.pack(outputs(UNIQUE, 1)), 0, log.names.topic)
    assert len(await log.read(UNIQUE, 0)) == 1
    assert await committed(log) is None
    await first.stop()
    await second.stop()
