"""A group's consumer draws what has come, by partition, and hands it on in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from hookmill import pipeline
from hookmill.core.record import Record
from hookmill.kafka.inbox import Inbox
from support.brokers import BrokerLog

pytestmark = pytest.mark.broker

TOPIC = pipeline.Topic(pipeline.RAW, "ingress", pipeline.KEEP_MS, 1_048_576)
PATIENCE_SECS = 20.0


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Two partitions of the raw topic."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([TOPIC], partitions=2)
    yield log
    await log.stop()


@pytest.fixture
async def inbox(log: BrokerLog) -> AsyncIterator[Inbox]:
    """A consumer of both, at their beginning."""
    consumer = Inbox(
        **log.connection.arguments("test"), enable_auto_commit=False, auto_offset_reset="none"
    )
    consumer.assign([at(log, each) for each in (0, 1)])
    await consumer.start()
    for partition in (0, 1):
        consumer.seek(at(log, partition), 0)
    yield consumer
    await consumer.stop()


def at(log: BrokerLog, partition: int) -> TopicPartition:
    """That partition of the topic."""
    return TopicPartition(log.names.topic(pipeline.RAW), partition)


async def taken(
    inbox: Inbox, where: TopicPartition, count: int, *, at_once: int = 2_000
) -> list[bytes]:
    """So many values of that partition."""
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_SECS):
        while len(found) < count:
            piece = min(at_once, count - len(found))
            records = await inbox.take(where, records_max=piece, timeout_secs=0.5)
            assert len(records) <= piece
            found += [each.value for each in records]
    return found


async def test_records_come_in_order_however_few_are_taken_at_once(
    log: BrokerLog, inbox: Inbox
) -> None:
    """What was drawn together is handed on in pieces; more comes meanwhile."""
    values = [b"%d" % number for number in range(30)]
    for value in values[:20]:
        await log.produce(pipeline.RAW, 0, b"k", value)
    found = await taken(inbox, at(log, 0), 9, at_once=3)
    for value in values[20:]:
        await log.produce(pipeline.RAW, 0, b"k", value)
    found += await taken(inbox, at(log, 0), 21, at_once=7)

    assert found == values


async def test_a_partition_whose_records_nobody_takes_holds_up_no_other(
    log: BrokerLog, inbox: Inbox
) -> None:
    """Its worker may be in the middle of a long transaction."""
    await log.produce(pipeline.RAW, 0, b"k", b"first")
    assert await taken(inbox, at(log, 0), 1) == [b"first"]
    await log.produce(pipeline.RAW, 0, b"k", b"waits")
    for number in range(3):
        await log.produce(pipeline.RAW, 1, b"k", b"%d" % number)

        assert await taken(inbox, at(log, 1), 1) == [b"%d" % number]
    assert await taken(inbox, at(log, 0), 1) == [b"waits"]


async def test_a_seek_throws_away_what_was_drawn(log: BrokerLog, inbox: Inbox) -> None:
    """A worker that begins again reads again, and nothing twice."""
    for number in range(5):
        await log.produce(pipeline.RAW, 0, b"k", b"%d" % number)
    assert await taken(inbox, at(log, 0), 1, at_once=1) == [b"0"]
    inbox.seek(at(log, 0), 3)

    assert await taken(inbox, at(log, 0), 2) == [b"3", b"4"]
    assert await inbox.take(at(log, 0), records_max=1, timeout_secs=0.1) == []


async def test_an_error_reaches_the_one_whose_partition_it_is(log: BrokerLog, inbox: Inbox) -> None:
    """The other partition goes on."""
    inbox.seek(at(log, 0), 999)
    with pytest.raises(OffsetOutOfRangeError):
        await taken(inbox, at(log, 0), 1)
    await log.produce(pipeline.RAW, 1, b"k", b"v")

    assert await taken(inbox, at(log, 1), 1) == [b"v"]


async def test_what_has_come_is_there_without_waiting(log: BrokerLog, inbox: Inbox) -> None:
    """Piece by piece behind what was waited for; nothing once all of it is taken."""
    where = at(log, 0)
    assert inbox.take_now(where, 5) == []
    values = [b"%d" % number for number in range(20)]
    for value in values:
        await log.produce(pipeline.RAW, 0, b"k", value)
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_SECS):
        while len(found) < len(values):
            found += await inbox.take(where, records_max=3, timeout_secs=0.5)
            while more := inbox.take_now(where, 4):
                assert len(more) <= 4
                found += more

    assert [each.value for each in found] == values


async def test_what_was_aborted_is_left_out(log: BrokerLog) -> None:
    """Beside what was committed, in one fetch; and markers alone wake nobody."""
    where = at(log, 0)
    consumer = Inbox(
        **log.connection.arguments("test"), enable_auto_commit=False, auto_offset_reset="none",
        isolation_level="read_committed",
    )  # fmt: skip
    consumer.assign([where])
    async with AIOKafkaProducer(
        **log.connection.arguments("test"), transactional_id=where.topic
    ) as producer:
        for number in range(6):
            await producer.begin_transaction()
            await producer.send_and_wait(where.topic, b"%d" % number, partition=0)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    await consumer.start()
    try:
        consumer.seek(where, 0)
        assert await taken(consumer, where, 3) == [b"0", b"2", b"4"]
        assert await consumer.take(where, records_max=1, timeout_secs=0.1) == []
    finally:
        await consumer.stop()
