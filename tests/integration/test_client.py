"""A client of ours is let go of whatever state it is in, and nobody who waits for that is hurt."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NodeNotReadyError

from hookmill import pipeline
from hookmill.kafka.client import stop
from support.brokers import BrokerLog, until

pytestmark = pytest.mark.broker

TOPIC = pipeline.Topic(pipeline.RAW, "ingress", pipeline.KEEP_MS, 1_048_576)
PATIENCE_SECS = 20.0


@pytest.fixture
async def consumer(broker_servers: list[str], namespace: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one partition, connected."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([TOPIC])
    connected = AIOKafkaConsumer(
        **log.connection.arguments("test"), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    where = TopicPartition(log.names.topic(pipeline.RAW), 0)
    connected.assign([where])
    await connected.start()
    connected.seek(where, 0)
    yield connected
    await log.stop()


async def until_connected(consumer: AIOKafkaConsumer) -> None:
    """It has asked for records."""
    await consumer.getmany(timeout_ms=50)
    assert consumer._client._conns


async def test_a_consumer_at_work_stops_in_order(consumer: AIOKafkaConsumer) -> None:
    """Nothing went wrong, and its connections are closed."""
    await until_connected(consumer)
    connections = list(consumer._client._conns.values())

    assert await stop(consumer) is None
    assert not any(each.connected() for each in connections)


async def test_one_that_has_just_failed_to_fetch_cancels_nobody(
    consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own stop raises CancelledError then: ours says so, and closes what is open."""
    await until_connected(consumer)
    connections = list(consumer._client._conns.values())
    asked: list[int] = []

    async def unanswered(node_id: int, _request: object) -> None:
        asked.append(node_id)
        raise NodeNotReadyError

    monkeypatch.setattr(consumer._client, "send", unanswered)
    monkeypatch.setattr(consumer._fetcher, "_retry_backoff", PATIENCE_SECS)
    await until(lambda: asked, timeout_secs=PATIENCE_SECS)

    assert isinstance(await stop(consumer), asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    assert not any(each.connected() for each in connections)


async def test_who_is_cancelled_while_it_stops_is_cancelled(
    consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not wait for a client that hangs."""
    hangs = asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(consumer, "stop", hang)
        stopping = asyncio.ensure_future(stop(consumer))
        await hangs.wait()
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    assert await stop(consumer) is None


async def test_one_that_hangs_is_let_go_of(
    consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time limit of every call."""
    await until_connected(consumer)
    connections = list(consumer._client._conns.values())
    with monkeypatch.context() as patched:
        patched.setattr("hookmill.kafka.client.NETWORK_TIMEOUT_SECS", 0.1)
        patched.setattr(consumer, "stop", asyncio.Event().wait)

        assert isinstance(await stop(consumer), TimeoutError)
    assert not any(each.connected() for each in connections)
    await stop(consumer)
