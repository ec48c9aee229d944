"""The appender on a real broker when its client itself is broken."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.cluster import ClusterMetadata

from hookmill import pipeline
from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.kafka.appender import Appender
from support.brokers import BrokerLog

pytestmark = pytest.mark.broker

TOPIC = pipeline.Topic(pipeline.RAW, "ingress", pipeline.KEEP_MS, 1_048_576)
PATIENCE_SECS = 30.0


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """One partition of the raw topic."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([TOPIC])
    yield log
    await log.stop()


async def test_a_client_that_is_dead_for_good_is_replaced(log: BrokerLog) -> None:
    """It has lost what it knew and asks nobody any more: the door must not stay shut."""
    name = log.names.topic(pipeline.RAW)
    appender = Appender(log.connection, topics=[name], partitions=1)
    await appender.connect()
    first = appender._client
    assert first is not None
    await first.close()
    first.cluster = ClusterMetadata()
    kept, refused = 0, 0
    async with asyncio.timeout(PATIENCE_SECS):
        while not kept:
            if appender.admits():
                deadline = asyncio.get_running_loop().time() + 0.2
                try:
                    await appender.append(name, Output(name, b"k", b"v"), deadline=deadline)
                except NotKept:
                    refused += 1
                else:
                    kept += 1
            await asyncio.sleep(0.01)

    assert appender._client is not first
    assert refused >= 1
    assert [record.value for record in await log.read(pipeline.RAW, 0)] == [b"v"]
    await appender.close(timeout_secs=5)
