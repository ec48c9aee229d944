"""A handler's queue: one partition of it and of its retry topics, and the state beside them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from hookmill.core.record import Output, Record
from hookmill.kafka.changelog import State, Watcher
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, stop
from hookmill.kafka.inbox import Inbox
from hookmill.kafka.partition import Owner
from hookmill.kafka.producing import BATCH_BYTES_MAX
from hookmill.kafka.records import from_consumer
from hookmill.kafka.safely import goes_on_at, in_range, to_the_end
from hookmill.kafka.store import Store
from hookmill.pipeline import HandlerTopics, Names

RETRY_FETCH_WAIT_MS = 200
POSITION = b"position|"
"""Before a retry topic's name: where its next offset is kept, should the group's own be lost."""


class KafkaQueue(Owner):
    """One partition of a handler's queue. `begin` comes first, whenever the worker starts.

    The queue is read by the group's consumer, retry topics by one of this partition's own, which
    is there as soon as something waits in one of them.
    """

    def __init__(
        self,
        connection: Connection,
        names: Names,
        topics: HandlerTopics,
        partition: int,
        consumer: Inbox,
        store: Store,
        *,
        retry_topics: Sequence[str],
        watcher: Watcher,
        batch_bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        super().__init__(
            connection,
            names,
            topics.part,
            partition,
            consumer,
            reads=topics.queue,
            changelog=topics.state,
            batch_bytes_max=batch_bytes_max,
        )
        self._queue = topics.queue
        self._state = State(topics.state, self, store, watcher)
        self._retry_at = {each: self._at(each) for each in retry_topics}
        self._retry_from: dict[str, int] = {}
        self._retries: AIOKafkaConsumer | None = None
        self._something_waits = False
        self.position = -1

    async def begin(self) -> Iterator[tuple[bytes, bytes]]:
        """Fence, then positions, then the state. Raises OffsetOutOfRange where records were
        deleted before they were handled."""
        await self._stop_retries()  # it has read records that an earlier run did not commit
        await self.fence()
        committed = {at: await self._committed(at) for at in (self._input, *self._at_retries())}
        await self._state.restore()
        kept = self._state.next_input_offset
        self.position = await self._checked(self._input, committed[self._input], kept)
        self._consumer.seek(self._input, self.position)
        for topic, at in self._retry_at.items():
            kept = self._kept_position(topic)
            self._retry_from[topic] = await self._checked(at, committed[at], kept)
            _, end = await self._bounds(at)
            self._something_waits |= self._retry_from[topic] < end
        return self._state.store.items()

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records of the queue; empty when none came in time."""
        return await self._take(records_max=records_max, timeout_secs=timeout_secs)

    async def fetch_retries(
        self, topics: Sequence[str], *, records_max: int, timeout_secs: float
    ) -> list[tuple[str, Record]]:
        """The next records of those retry topics; empty when none came in time."""
        if not (topics and self._something_waits):
            await asyncio.sleep(timeout_secs)
            return []
        if self._retries is None:
            self._retries = await self._retry_consumer()
        topic_of = {self._retry_at[each].topic: each for each in topics}
        async with asyncio.timeout(timeout_secs + NETWORK_TIMEOUT_SECS):
            found = await self._retries.getmany(
                *(self._retry_at[each] for each in topics),
                timeout_ms=int(timeout_secs * 1000),
                max_records=records_max,
            )
        return [(topic_of[at.topic], from_consumer(each)) for at in found for each in found[at]]

    def kept(self, key: bytes) -> bytes:
        """A value out of the state; raises KeyError if there is none."""
        return self._state.store.get_many([key])[key]

    async def commit(
        self,
        outputs: Sequence[Output],
        changes: Sequence[tuple[bytes, bytes | None]],
        offsets: Mapping[str, int],
    ) -> None:
        """One transaction, and then the local store."""
        await to_the_end(self._commit_whole(outputs, changes, offsets))

    async def close(self) -> None:
        """Let go of the producer, and of the retry topics."""
        await self._stop_retries()
        await super().close()

    def close_store(self) -> None:
        """Let go of the state's files, at the very end."""
        self._state.store.close()

    async def _commit_whole(
        self,
        outputs: Sequence[Output],
        changes: Sequence[tuple[bytes, bytes | None]],
        offsets: Mapping[str, int],
    ) -> None:
        next_offset = offsets.get(self._queue, self.position)
        positions = {topic: at for topic, at in offsets.items() if topic in self._retry_at}
        kept = [*changes, *((POSITION + topic.encode(), str(offset).encode())
                            for topic, offset in positions.items())]  # fmt: skip
        moved = {self._at(topic): offset for topic, offset in offsets.items()}
        packed = self.pack()
        packed.add(outputs)
        packed.add(self._state.records(kept, next_offset))
        written = await self._commit(packed, moved or {self._input: next_offset})
        self._state.write(kept, written[self._state.topic], next_offset)
        self.position = next_offset
        self._something_waits |= any(topic in self._retry_at for topic in written)

    async def _retry_consumer(self) -> AIOKafkaConsumer:
        """It begins where `begin` found each topic: nothing was read since."""
        consumer = AIOKafkaConsumer(
            **self._connection.arguments(f"{self._group}-{self.partition}-retries"),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=RETRY_FETCH_WAIT_MS,
        )
        consumer.assign(list(self._at_retries()))
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await consumer.start()
        for topic, at in self._retry_at.items():
            consumer.seek(at, self._retry_from[topic])
        return consumer

    async def _stop_retries(self) -> None:
        retries, self._retries = self._retries, None
        if retries is not None:
            await stop(retries)

    def _at_retries(self) -> Sequence[TopicPartition]:
        return list(self._retry_at.values())

    def _kept_position(self, topic: str) -> int | None:
        key = POSITION + topic.encode()
        value = self._state.store.get_many([key]).get(key)
        return None if value is None else int(value)

    async def _checked(self, at: TopicPartition, committed: int | None, kept: int | None) -> int:
        begin, end = await self._bounds(at)
        start = goes_on_at(committed, kept, begin)
        return in_range(at.topic, at.partition, start, begin, end)
