"""Readers on a real broker: what is committed is seen, and nothing that is not."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from hookmill.kafka.reader import at_rest, reader
from hookmill.pipeline import KEEP_MS, UNIQUE, Topic
from support.brokers import BrokerLog

pytestmark = pytest.mark.broker


async def test_what_is_read_at_rest_misses_no_transaction_that_ends(
    broker_servers: list[str], namespace: str
) -> None:
    """While one is open the end is not known yet; once it is over, all of it is within the ends."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([Topic(UNIQUE, "test", KEEP_MS, 1_300_000)])
    topic = log.names.topic(UNIQUE)
    producer = AIOKafkaProducer(**log.connection.arguments("test"), transactional_id=namespace)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"value", b"key", 0)

    async with reader(log.connection) as source, reader(log.connection, committed=False) as whole:
        assert await source.bounds(topic) == {0: (0, 0)}
        looking = asyncio.ensure_future(at_rest(source, whole, topic))
        await asyncio.wait({looking}, timeout=0.5)
        assert not looking.done()
        await producer.commit_transaction()

        bounds = await looking
        assert [each.value for each in await source.read_all(topic, bounds)] == [b"value"]
    await producer.stop()
    await log.stop()
