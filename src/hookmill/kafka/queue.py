"""A handler's queue: one partition of it, with its dead letters, as the runner wants it."""

import asyncio
import contextlib
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from hookmill.core.record import Record
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection
from hookmill.kafka.dead_letters import dead_letter
from hookmill.kafka.producing import stop, write
from hookmill.kafka.records import from_consumer
from hookmill.kafka.worker import in_range
from hookmill.pipeline import HandlerTopics, Names

BATCH_BYTES_MAX = 900 * 1024


class KafkaQueue:
    """One partition of a handler's queue. `begin` comes first, whenever the worker starts."""

    def __init__(
        self,
        connection: Connection,
        names: Names,
        handler: str,
        partition: int,
        consumer: AIOKafkaConsumer,
        *,
        now_us: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._names = names
        self._handler = handler
        self._consumer = consumer
        self._now_us = now_us
        self._tp = TopicPartition(names.topic(HandlerTopics(handler).queue), partition)
        self._producer: AIOKafkaProducer | None = None
        self.position = -1
        self.turns = 0
        self.pending_since_ms: int | None = None

    async def begin(self) -> None:
        """Seek to the group's committed offset, or to the start of the log where there is none.

        Raises OffsetOutOfRange where records were deleted before they were handled.
        """
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            committed = await self._consumer.committed(self._tp)
            begin = (await self._consumer.beginning_offsets([self._tp]))[self._tp]
            end = (await self._consumer.end_offsets([self._tp]))[self._tp]
        self.position = in_range(self._tp.topic, self._tp.partition, committed, begin, end)
        self._consumer.seek(self._tp, self.position)

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records; empty when none came in time."""
        async with asyncio.timeout(timeout_secs + NETWORK_TIMEOUT_SECS):
            found = await self._consumer.getmany(
                self._tp, timeout_ms=int(timeout_secs * 1000), max_records=records_max
            )
        records = [from_consumer(each) for each in found.get(self._tp, ())]
        self.turns += 1
        self.pending_since_ms = records[0].timestamp_ms if records else None
        return records

    async def set_aside(self, record: Record, reason: str, detail: str, attempt: int) -> None:
        """Write the dead letter and await its acknowledgement."""
        letter = dead_letter(
            record,
            topic=HandlerTopics(self._handler).dead_letters,
            part=f"handler-{self._handler}",
            reason=reason,
            detail=detail,
            attempt=attempt,
            at_us=self._now_us(),
        )
        producer = await self._started_producer()
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await write(producer, [letter], self._tp.partition, self._names.topic)

    async def commit(self, next_offset: int) -> None:
        """Commit the group's offset. A commit that comes too late is not an error: what it
        covers is handled again by the next owner, and handlers are idempotent."""
        with contextlib.suppress(CommitFailedError, IllegalStateError):
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await self._consumer.commit({self._tp: next_offset})
        self.position = next_offset

    async def close(self) -> None:
        """Let go of the producer, if there was need of one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop(producer)

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._connection.arguments(f"hookmill-handler-{self._handler}"),
                acks="all",
                enable_idempotence=True,
                max_batch_size=BATCH_BYTES_MAX,
            )
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await producer.start()
            self._producer = producer
        return self._producer
