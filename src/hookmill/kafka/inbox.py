"""A consumer whose records are drawn as soon as they have come, and wait here by partition.

aiokafka asks a broker for more only when nothing that it fetched lies unread. With a worker for
each partition, one that is inside a transaction held up all others, and a worker that came back
found what had come before its transaction, never what had come during it: a stage took a whole
transaction longer than it had to. One task draws for all, so that an arrival wakes one task, not
one for each partition.

A fetch costs the same for one record as for many, so one follows another only after a moment's
rest. The rest lies before the question, never between an answer and its being drawn: what is
drawn is then as new as can be.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from hookmill.core.record import Record
from hookmill.kafka.records import as_ours, from_consumer

HELD_RECORDS_MAX = 2_000
HELD_BYTES_MAX = 8 * 1024 * 1024
REST_SECS = 0.01
"""From the answer of a broker to the next question to it. An idle consumer has a question waiting
there, so what comes to it is drawn at once."""


class _Place:
    """What has come of one partition and was not taken yet; an error comes after the records."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.size_bytes = 0
        self.error: Exception | None = None
        self.came = asyncio.Event()

    @property
    def room(self) -> int:
        """How many records more it takes."""
        if self.error is not None or self.size_bytes >= HELD_BYTES_MAX:
            return 0
        return HELD_RECORDS_MAX - len(self.records)

    def put(self, records: list[Record]) -> None:
        """Hold these."""
        self.records.extend(records)
        self.size_bytes += sum(map(_size, records))
        self.came.set()

    def fail(self, error: Exception) -> None:
        """Whoever takes next is told."""
        self.error = error
        self.came.set()

    def take(self, records_max: int) -> list[Record]:
        """The oldest records; raises the error where there are none before it."""
        if not self.records and self.error is not None:
            error, self.error = self.error, None
            raise error
        taken = [self.records.popleft() for _ in range(min(records_max, len(self.records)))]
        self.size_bytes -= sum(map(_size, taken))
        if not self.records and self.error is None:
            self.came.clear()
        return taken


class Inbox(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """A group's consumer; `take` in place of `getmany`, each partition by one taker."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._places: dict[TopicPartition, _Place] = {}
        self._room = asyncio.Event()
        self._drawing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect."""
        await super().start()
        self._fetcher._proc_fetch_request = rested(self._fetcher._proc_fetch_request)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from there on; what was drawn is thrown away."""
        self._places.pop(partition, None)
        super().seek(partition, offset)

    async def take(
        self, partition: TopicPartition, *, records_max: int, timeout_secs: float
    ) -> list[Record]:
        """The next records of that partition; empty when none came in time."""
        place = self._places.get(partition)
        if place is None:
            place = self._places[partition] = _Place()
            self._room.set()
        if self._drawing is None:
            self._drawing = asyncio.ensure_future(self._draw())
        if self._drawing.done():
            self._drawing.result()  # a defect must not go unnoticed
        if not place.came.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_secs):
                    await place.came.wait()
        was_full = place.room <= 0
        taken = place.take(records_max)
        if was_full:
            self._room.set()
        if taken:
            return taken
        # the group's own errors come this way, whether or not there are records
        return await self._unpack(partition, records_max)

    async def stop(self) -> None:
        """Leave the group."""
        if self._drawing is not None:
            self._drawing.cancel()
            await asyncio.wait([self._drawing])
        await super().stop()

    async def _draw(self) -> None:
        while True:
            self._room.clear()
            arrived = self._fetcher._create_fetch_waiter()
            room = asyncio.ensure_future(self._room.wait())
            try:
                if not self._holds_some():
                    await asyncio.wait({arrived, room}, return_when="FIRST_COMPLETED")
                error = arrived.exception() if arrived.done() else None
            finally:
                room.cancel()
                arrived.cancel()
            if error is not None:
                for place in self._places.values():
                    place.fail(error)
            for partition, place in list(self._places.items()):
                if place.room > 0 and partition in self._fetcher._records:
                    await self._draw_one(partition, place)

    def _holds_some(self) -> bool:
        """Whether something has come that may be drawn."""
        return any(
            place.room > 0 and partition in self._fetcher._records
            for partition, place in self._places.items()
        )

    async def _draw_one(self, partition: TopicPartition, place: _Place) -> None:
        try:
            records = await self._unpack(partition, place.room)
        except Exception as error:
            place.fail(error)
        else:
            if records:
                place.put(records)

    async def _unpack(self, partition: TopicPartition, records_max: int) -> list[Record]:
        as_ours(self._fetcher._records.get(partition))
        found = await self.getmany(partition, max_records=records_max)
        records: list[Record] = found.get(partition, [])
        if records and not isinstance(records[0], Record):  # fetched anew: a rebalance came between
            return [from_consumer(each) for each in records]
        return records


Ask = Callable[[Any, int, Any], Coroutine[Any, Any, bool]]
"""Asks a node for records, under an assignment; true where some came."""


def rested(ask: Ask) -> Ask:
    """The same, but a node that has answered is asked again only after a rest."""
    rested_at: dict[int, float] = {}

    async def asked(assignment: Any, node_id: int, request: Any) -> bool:
        clock = asyncio.get_running_loop().time
        if (left := rested_at.get(node_id, 0.0) - clock()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:  # the assignment is gone; `ask` would say the same
                return False
        try:
            return await ask(assignment, node_id, request)
        finally:
            rested_at[node_id] = clock() + REST_SECS

    return asked


def _size(record: Record) -> int:
    return len(record.key) + len(record.value)
