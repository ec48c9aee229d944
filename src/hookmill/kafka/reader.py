"""Reads topics from outside any group, read_committed: for people, the demo and the checks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)

from hookmill.core.record import Record
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, Patience, reachable, stop
from hookmill.kafka.records import from_consumer

POLL_MS = 200
PARTITION_FETCH_BYTES = 4 * 1024 * 1024
FETCH_WAIT_MS = 20
"""A fetch that still waits at the broker holds up the next topic: people wait for the answer."""
COORDINATOR_COMES = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
"""What a cluster that was just born, or lost a broker, says for a moment of every group."""
GROUP_ID_NOT_FOUND = 69
"""What newer brokers say of a group that never was (KIP-1043)."""


class Reader:
    """Looks into topics by time and offset. All topic names are the cluster's."""

    def __init__(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        self._consumer = consumer
        self._admin = admin

    async def partitions(self, topic: str) -> list[int]:
        """The topic's partitions; empty if there is no such topic."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            described = await self._admin.describe_topics([topic])
        return sorted(
            each["partition"]
            for each in described[0]["partitions"]
            if not described[0]["error_code"]
        )

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and next stable offset of each partition."""
        return await self._bounds(topic, await self.partitions(topic))

    async def since(self, topic: str, epoch_ms: int) -> dict[int, tuple[int, int]]:
        """From the first offset at or after that time to the end, partition by partition."""
        partitions = await self.partitions(topic)
        bounds = await self._bounds(topic, partitions)
        wanted = {TopicPartition(topic, each): max(0, epoch_ms) for each in partitions}
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            found = await self._consumer.offsets_for_times(wanted) if wanted else {}
        starts = {tp.partition: at.offset for tp, at in found.items() if at is not None}
        return {each: (starts.get(each, end), end) for each, (_, end) in bounds.items()}

    async def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """The records of those offset ranges, in order within each partition."""
        left = {
            TopicPartition(topic, partition): end
            for partition, (start, end) in ranges.items()
            if start < end
        }
        if not left:
            return
        self._consumer.assign(list(left))
        for tp in left:
            self._consumer.seek(tp, ranges[tp.partition][0])
        patience = Patience()
        while left:
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                found = await self._consumer.getmany(*left, timeout_ms=POLL_MS)
            for tp, records in found.items():
                yield [from_consumer(each) for each in records if each.offset < left[tp]]
            at = {}
            for tp in list(left):
                async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                    at[tp] = await self._consumer.position(tp)
                if at[tp] >= left[tp]:
                    self._consumer.pause(tp)
                    del left[tp]
            patience.watch(at)

    async def read_all(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> list[Record]:
        """As `read`, in one list."""
        return [record async for several in self.read(topic, ranges) for record in several]

    async def follow(self, topic: str, *, from_start: bool) -> AsyncIterator[Record]:
        """Records as they come, for ever."""
        bounds = await self.bounds(topic)
        self._consumer.assign([TopicPartition(topic, each) for each in bounds])
        for partition, (begin, end) in bounds.items():
            self._consumer.seek(TopicPartition(topic, partition), begin if from_start else end)
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            for record in sorted(
                (each for records in found.values() for each in records),
                key=lambda each: each.timestamp,
            ):
                yield from_consumer(record)

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """The group's committed offsets by topic and partition."""
        offsets = await _of_coordinator(lambda: self._admin.list_consumer_group_offsets(group))
        return {(tp.topic, tp.partition): at.offset for tp, at in offsets.items()}

    async def members(self, group: str) -> int:
        """How many members the group has; 0 too for one that never was.

        One group a request: aiokafka asks in the third version of the protocol and reads the
        answer as the second, which goes wrong after the first group.
        """
        [response] = await _of_coordinator(lambda: self._admin.describe_consumer_groups([group]))
        code, _, _, _, _, members, *_ = response.groups[0]
        if code not in (0, GROUP_ID_NOT_FOUND):
            raise for_code(code)(group)
        return len(members)

    async def _bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        wanted = [TopicPartition(topic, each) for each in partitions]
        if not wanted:
            return {}
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            begin = await self._consumer.beginning_offsets(wanted)
            end = await self._consumer.end_offsets(wanted)
        return {tp.partition: (begin[tp], end[tp]) for tp in wanted}


async def _of_coordinator(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer of a group's coordinator, once there is one."""
    async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
        while True:
            try:
                return await ask()
            except COORDINATOR_COMES:
                await asyncio.sleep(POLL_MS / 1000)


@contextlib.asynccontextmanager
async def reader(
    connection: Connection,
    *,
    committed: bool = True,
    partition_fetch_bytes: int = PARTITION_FETCH_BYTES,
) -> AsyncIterator[Reader]:
    """A reader for as long as it is needed; with `committed=False` of open and aborted
    transactions too, whose ends are then the log's own. One fetch gets about
    `partition_fetch_bytes` of each partition: few, for who looks at the first record only."""
    consumer = AIOKafkaConsumer(
        **connection.arguments("hookmill-reader"),
        isolation_level="read_committed" if committed else "read_uncommitted",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=partition_fetch_bytes,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        retry_backoff_ms=FETCH_WAIT_MS,
    )
    admin = AIOKafkaAdminClient(**connection.arguments("hookmill-reader"))
    async with reachable(connection), contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await consumer.start()
            stack.push_async_callback(stop, consumer)
            await admin.start()
            stack.push_async_callback(admin.close)
        yield Reader(consumer, admin)


async def at_rest(stable: Reader, log: Reader, topic: str) -> dict[int, tuple[int, int]]:
    """First and next offset of each partition, as soon as no transaction is open in the topic.

    `log` is a reader with `committed=False`. Kafka answers the end of a transaction before its
    markers are everywhere: a group's offsets can be committed while records of the same transaction
    are not yet to be seen elsewhere. Raises TimeoutError where a transaction stays open.
    """
    async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
        while (bounds := await stable.bounds(topic)) != await log.bounds(topic):
            await asyncio.sleep(POLL_MS / 1000)
    return bounds
