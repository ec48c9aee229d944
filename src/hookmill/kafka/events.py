"""Reads normalized events as a member of a group: committed only once the caller is done."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError

from hookmill.core.errors import HookmillError, TopicsMissing
from hookmill.core.event import Event, decode
from hookmill.core.record import Record
from hookmill.kafka.client import (
    MEMBER_HEARTBEAT_MS,
    NETWORK_TIMEOUT_SECS,
    REBALANCE_TIMEOUT_MS,
    Connection,
    reachable,
    stop,
)
from hookmill.kafka.records import from_consumer

COMMIT_EVERY_SECS = 1.0
DRAIN_SECS = 30.0
"""How long a rebalance waits for the event in hand; well within REBALANCE_TIMEOUT_MS."""
POLL_MS = 1_000
SESSION_TIMEOUT_MS = 30_000


class UnreadableRecord(HookmillError):
    """A record of an events topic that is no normalized event; `record` has its bytes."""

    def __init__(self, record: Record, why: Exception) -> None:
        where = f"{record.topic} partition {record.partition} offset {record.offset}"
        super().__init__(f"{where} is no normalized event: {why}")
        self.record = record


OnBad = Callable[[UnreadableRecord], Awaitable[None]]


class Events:
    """The group's events, one at a time; asking for the next says that the last one is done."""

    def __init__(
        self, connection: Connection, consumer: AIOKafkaConsumer, on_bad: OnBad | None
    ) -> None:
        self._connection = connection
        self._consumer = consumer
        self._on_bad = on_bad
        self._in_hand: Record | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._done: dict[TopicPartition, int] = {}
        self._committed_secs = time.monotonic()
        self._committing = asyncio.Lock()

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        """The next event. Raises UnreadableRecord (without `on_bad`) and KafkaUnavailable."""
        self._settle()
        while True:
            if time.monotonic() - self._committed_secs > COMMIT_EVERY_SECS:
                await self._commit()
            record = await self._next(timeout_ms=0)
            if record is None:
                await self._commit()
                record = await self._next(timeout_ms=POLL_MS)
            if record is None:
                continue
            try:
                return decode(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                await self._set_aside(UnreadableRecord(record, error))

    async def commit(self) -> None:
        """Say that the event in hand is done as well, and commit: before leaving the loop."""
        self._settle()
        await self._commit()

    async def revoke(self) -> None:
        """Before a rebalance: wait for the event in hand and commit; nothing new is handed out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS):
                await self._free.wait()
        try:
            await self._commit()
        finally:
            self._let_go()
            self._done.clear()

    async def close(self) -> None:
        """Commit what is done, but not the event in hand, and leave the group."""
        self._let_go()
        with contextlib.suppress(HookmillError):  # not committed means delivered again
            await self._commit()
        await stop(self._consumer)  # with the broker gone the group will notice

    def _settle(self) -> None:
        if self._in_hand is not None:
            tp = TopicPartition(self._in_hand.topic, self._in_hand.partition)
            self._done[tp] = self._in_hand.offset + 1
        self._let_go()

    def _let_go(self) -> None:
        self._in_hand = None
        self._free.set()

    async def _set_aside(self, bad: UnreadableRecord) -> None:
        if self._on_bad is None:
            raise bad from None
        await self._on_bad(bad)
        self._settle()

    async def _next(self, *, timeout_ms: int) -> Record | None:
        """Take the next record in hand. One at a time: the client counts the time between polls."""
        async with reachable(self._connection):
            found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=1)
        for [record] in found.values():
            self._in_hand = from_consumer(record)
            self._free.clear()
        return self._in_hand

    async def _commit(self) -> None:
        async with self._committing, reachable(self._connection):
            self._committed_secs = time.monotonic()
            offsets = dict(self._done)
            if not offsets:
                return
            with contextlib.suppress(CommitFailedError):  # another member's by now
                async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                    await self._consumer.commit(offsets)
            for tp, offset in offsets.items():
                if self._done.get(tp) == offset:
                    del self._done[tp]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, events: Events) -> None:
        self._events = events

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Let nothing be handled here that the group gives to another member."""
        await self._events.revoke()

    def on_partitions_assigned(self, assigned: Any) -> None:
        """The client goes on at the committed offsets."""


@contextlib.asynccontextmanager
async def consume(
    servers: str | Sequence[str],
    *,
    group: str,
    topics: Collection[str],
    security: Mapping[str, Any] | None = None,
    on_bad: OnBad | None = None,
) -> AsyncIterator[Events]:
    """The events of those topics (names as in the cluster), shared among the group's members.

    A new group begins at the start of the log. `security` holds aiokafka's own arguments
    (`security_protocol`, `ssl_context`, `sasl_mechanism`, …). `on_bad` is given what is no event,
    which then counts as done. Raises TopicsMissing, and KafkaUnavailable where nobody answers.
    """
    servers = servers.split(",") if isinstance(servers, str) else servers
    connection = Connection(tuple(servers), dict(security or {}))
    consumer = AIOKafkaConsumer(
        **connection.arguments(group),
        group_id=group,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=MEMBER_HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        partition_assignment_strategy=[RangePartitionAssignor],
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    events = Events(connection, consumer, on_bad)
    try:
        async with reachable(connection), asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await consumer.start()
            missing = set(topics) - await consumer.topics()
        if missing:
            names = ", ".join(sorted(missing))
            raise TopicsMissing(f"no such topics (or no right to see them): {names}")
        consumer.subscribe(list(topics), listener=_Listener(events))
        yield events
    finally:
        await events.close()
