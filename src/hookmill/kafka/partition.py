"""A real partition: one transactional producer, fenced by its id, and the group's positions.

The fence comes from a `transactional.id` per input partition: whoever has it commits, whatever the
consumer group thinks at that moment.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from hookmill.core.record import Record
from hookmill.kafka.changelog import Entry
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, Patience, stop
from hookmill.kafka.inbox import Inbox
from hookmill.kafka.packing import Packed
from hookmill.kafka.producing import BATCH_BYTES_MAX
from hookmill.kafka.transaction import OWNED_TIMEOUT_MS, TransactionalProducer
from hookmill.pipeline import Names, Stage

RESTORE_FETCH_BYTES = 1024 * 1024
RESTORE_RECORDS = 5_000
"""At once: all partitions of a process are restored together, and a record of a changelog takes
several times its bytes while it is an object."""


class Owner:
    """One owner of a partition number of some topics: it alone can commit, once it has fenced."""

    def __init__(
        self,
        connection: Connection,
        names: Names,
        group: str,
        partition: int,
        consumer: Inbox,
        *,
        reads: str,
        changelog: str,
        batch_bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        self.partition = partition
        self._connection = connection
        self._names = names
        self._consumer = consumer
        self._group = names.group(group)
        self._input = self._at(reads)
        self._changelog = self._at(changelog)
        self._producer = TransactionalProducer(
            connection,
            self.transactional_id,
            client_id=f"{self._group}-{partition}",
            batch_bytes_max=batch_bytes_max,
            timeout_ms=OWNED_TIMEOUT_MS,
        )

    @property
    def transactional_id(self) -> str:
        """The same for every owner of the partition, so that a new one fences the old."""
        return f"{self._group}-{self._input.topic}-{self.partition}"

    async def fence(self) -> None:
        """Settle what this owner left open, and whoever had the partition commits nothing more."""
        await self._producer.fence()

    async def changelog_bounds(self) -> tuple[int, int]:
        """First and next offset of the changelog; after the fence nothing of it is open."""
        return await self._bounds(self._changelog)

    async def read_changelog(self, start: int, end: int) -> AsyncIterator[Sequence[Entry]]:
        """The committed records of the changelog from `start` to before `end`."""
        if start >= end:
            return
        consumer = AIOKafkaConsumer(
            **self._connection.arguments(f"{self._group}-{self.partition}-restore"),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=RESTORE_FETCH_BYTES,
        )
        consumer.assign([self._changelog])
        try:
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await consumer.start()
            consumer.seek(self._changelog, start)
            patience = Patience()
            while (position := await self._position(consumer)) < end:
                patience.watch(position)
                async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                    found = await consumer.getmany(
                        self._changelog, timeout_ms=200, max_records=RESTORE_RECORDS
                    )
                records = found.get(self._changelog, [])
                if records:
                    yield (
                        records
                        if records[-1].offset < end
                        else [each for each in records if each.offset < end]
                    )
                elif position >= end:
                    return
        finally:
            await stop(consumer)

    def pack(self) -> Packed:
        """Where the outputs of the next transaction are put as they come."""
        return self._producer.pack()

    async def close(self) -> None:
        """Disconnect the producer."""
        await self._producer.stop()

    def _at(self, topic: str) -> TopicPartition:
        return TopicPartition(self._names.topic(topic), self.partition)

    async def _committed(self, at: TopicPartition) -> int | None:
        """The group's committed offset, from the broker."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            offset: int | None = await self._consumer.committed(at)
        return offset

    async def _bounds(self, at: TopicPartition) -> tuple[int, int]:
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            begin = await self._consumer.beginning_offsets([at])
            end = await self._consumer.end_offsets([at])
        return begin[at], end[at]

    async def _take(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        async with asyncio.timeout(timeout_secs + NETWORK_TIMEOUT_SECS):
            return await self._consumer.take(
                self._input, records_max=records_max, timeout_secs=timeout_secs
            )

    async def _commit(
        self, packed: Packed, offsets: Mapping[TopicPartition, int]
    ) -> dict[str, int]:
        return await self._producer.commit(
            packed, self.partition, self._names.topic, group=self._group, offsets=offsets
        )

    async def _position(self, consumer: AIOKafkaConsumer) -> int:
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            position: int = await consumer.position(self._changelog)
        return position


class KafkaPort(Owner):
    """One input partition of a stage on a real cluster. Implements `worker.Port`."""

    def __init__(
        self,
        connection: Connection,
        names: Names,
        spec: Stage,
        partition: int,
        consumer: Inbox,
        *,
        batch_bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        super().__init__(
            connection,
            names,
            spec.name,
            partition,
            consumer,
            reads=spec.reads,
            changelog=spec.changelog,
            batch_bytes_max=batch_bytes_max,
        )

    async def committed(self) -> int | None:
        """The group's committed offset, asked of the broker now."""
        return await self._committed(self._input)

    async def input_bounds(self) -> tuple[int, int]:
        """First and next offset of the input partition."""
        return await self._bounds(self._input)

    def seek(self, offset: int) -> None:
        """Fetch from there on; whatever was prefetched is thrown away."""
        self._consumer.seek(self._input, offset)

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records; empty when none came in time."""
        return await self._take(records_max=records_max, timeout_secs=timeout_secs)

    def more(self, *, records_max: int) -> list[Record]:
        """The records behind those, as far as they have come."""
        return self._consumer.take_now(self._input, records_max)

    async def commit(self, packed: Packed, next_offset: int) -> dict[str, int]:
        """What was packed and the group's offset in one transaction."""
        return await self._commit(packed, {self._input: next_offset})
