"""Fixtures of the whole run: one real broker, started once when the first test needs it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.brokers import start_broker


@pytest.fixture(scope="session")
def broker_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Bootstrap servers of a real Apache Kafka that the whole run shares."""
    broker = start_broker(Path(tmp_path_factory.mktemp("kafka")))
    yield broker.bootstrap_servers
    broker.stop()


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own, so that tests sharing the broker never meet."""
    return f"t{uuid.uuid4().hex[:10]}"
