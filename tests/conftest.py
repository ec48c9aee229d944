"""Fixtures of the whole run: one real broker, started once when the first test needs it."""

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookmill.telemetry.logs import forget
from support.brokers import start_broker
from support.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]


@pytest.fixture(scope="session")
def broker_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Bootstrap servers of a real Apache Kafka that the whole run shares."""
    broker = start_broker(Path(tmp_path_factory.mktemp("kafka")))
    yield broker.bootstrap_servers
    broker.stop()


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Logs as they were before the test: a stream that it captured is closed in the next one."""
    root, kafka = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, levels = root.handlers[:], (root.level, kafka.level)
    yield
    forget()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    kafka.setLevel(levels[1])


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own, so that tests sharing the broker never meet."""
    return f"t{uuid.uuid4().hex[:10]}"
