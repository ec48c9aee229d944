"""How every client of ours connects: servers, security, and the errors it may meet."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    StaleMetadata,
)

from hookmill.config.options import Kafka
from hookmill.core.errors import KafkaUnavailable

MEMBER_HEARTBEAT_MS = 1_000
"""A member learns of a rebalance from its next heartbeat; until then the partitions of one that
left stand still: 3.4 s at the longest with an interval of 3 s."""
REBALANCE_TIMEOUT_MS = 60_000
NETWORK_TIMEOUT_SECS = 30.0
CLOSE_TIMEOUT_SECS = 5.0

UNANSWERED = (
    KafkaConnectionError, NodeNotReadyError, RequestTimedOutError, StaleMetadata, OSError,
    GroupCoordinatorNotAvailableError,
)  # fmt: skip
"""What is raised where a broker gave no answer: nobody knows whether it did what was asked."""
ELSEWHERE = frozenset({3, 5, 6, 7, 13, 15, 16, 19, 20, 56, 74, 75})
"""Codes by which whoever leads now must be asked: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE,
NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, NETWORK_EXCEPTION, COORDINATOR_NOT_AVAILABLE,
NOT_COORDINATOR, NOT_ENOUGH_REPLICAS (…_AFTER_APPEND), KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH,
UNKNOWN_LEADER_EPOCH."""


class Patience:
    """For a loop that waits for something to move: TimeoutError once it has not for too long."""

    def __init__(self, timeout_secs: float = NETWORK_TIMEOUT_SECS) -> None:
        self._timeout_secs = timeout_secs
        self._state: object = None
        self._since = time.monotonic()

    def watch(self, state: object) -> None:
        """Say how things stand now; raises TimeoutError if they have stood so for too long."""
        now = time.monotonic()
        if state != self._state:
            self._state, self._since = state, now
        elif now - self._since > self._timeout_secs:
            raise TimeoutError(f"nothing moved for {self._timeout_secs:g} s, at {state}")


class Connection(msgspec.Struct, frozen=True):
    """Where the cluster is and how to speak to it, as keyword arguments for aiokafka."""

    servers: tuple[str, ...]
    security: dict[str, Any]

    def arguments(self, client_id: str) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes."""
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": client_id,
            **self.security,
        }


def connection(
    options: Kafka, servers: tuple[str, ...], password: Callable[[], str | None]
) -> Connection:
    """The connection that the configuration describes; reads certificates and the password."""
    security: dict[str, Any] = {"security_protocol": options.security_protocol}
    if options.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=options.ssl_cafile)
        if options.ssl_certfile:
            context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
        security["ssl_context"] = context
    if options.security_protocol.startswith("SASL"):
        security["sasl_mechanism"] = options.sasl_mechanism
        security["sasl_plain_username"] = options.sasl_username
        security["sasl_plain_password"] = password()
    return Connection(servers, security)


async def close(client: AIOKafkaClient) -> None:
    """Disconnect within a time limit, whatever state the client is in."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECS):
            await client.close()


async def stop(consumer: AIOKafkaConsumer) -> BaseException | None:
    """Stop a consumer within a time limit, whatever state it is in; returns what went wrong.

    It stops in a task of its own. One that has just failed to fetch lets the cancellation of its
    own tasks out (aiokafka 0.14, `Fetcher.close`), and leaves its connections open: to whoever
    awaits that it looks like a cancellation of themselves, and a worker that takes it for one ends
    without a word.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait({stopping}, timeout=NETWORK_TIMEOUT_SECS)
    finally:
        stopping.cancel()
    failed = TimeoutError() if not stopping.done() else _raised_by(stopping)
    if failed is not None:
        await close(consumer._client)
    return failed


def _raised_by(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


@contextlib.asynccontextmanager
async def reachable(connection: Connection) -> AsyncIterator[None]:
    """Turns what the client raises while it cannot work into KafkaUnavailable, for people."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        servers = ", ".join(connection.servers)
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise KafkaUnavailable(f"Kafka at {servers}: {why}") from None
