"""Fixtures of the front door's tests."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from hookmill.config import options
from support.brokers import BrokerLog
from support.engine import skip_without_engine
from support.front import PARTITIONS, TOPICS, Front


@pytest.fixture
async def front(broker_servers: list[str], namespace: str) -> AsyncIterator[Front]:
    """An ingress in a namespace of its own."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    front = Front(log, options.Ingress(body_timeout_secs=2.0))
    await front.start()
    yield front
    await front.stop()
    await log.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine; without one these tests are skipped at once."""
    skip_without_engine()
