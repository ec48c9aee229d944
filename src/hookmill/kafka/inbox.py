"""A consumer whose records are drawn as soon as they have come, and wait here by partition.

aiokafka asks a broker for more only when nothing that it fetched lies unread. With a worker for
each partition, one that is inside a transaction held up all others, and a worker that came back
found what had come before its transaction, never what had come during it: a stage took a whole
transaction longer than it had to. One task draws for all, so that an arrival wakes one task, not
one for each partition. What is drawn waits as the bytes that came; records are made of them when
they are taken.

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
from aiokafka.consumer.fetcher import FetchResult

from hookmill.core.record import Record
from hookmill.kafka.records import Fetched

HELD_BYTES_MAX = 1024 * 1024
"""No more is drawn of a partition of which so much waits."""
REST_SECS = 0.01
"""From the answer of a broker to the next question to it. An idle consumer has a question waiting
there, so what comes to it is drawn at once."""


class _Place:
    """What has come of one partition and was not taken yet; an error comes after the records."""

    def __init__(self) -> None:
        self.fetched: deque[Fetched] = deque()
        self.size_bytes = 0
        self.error: Exception | None = None
        self.came = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether it takes more."""
        return self.error is None and self.size_bytes < HELD_BYTES_MAX

    def put(self, fetched: Fetched) -> None:
        """Hold this."""
        self.fetched.append(fetched)
        self.size_bytes += fetched.size_bytes
        self.came.set()

    def fail(self, error: Exception) -> None:
        """Whoever takes next is told."""
        self.error = error
        self.came.set()

    def take(self, records_max: int) -> list[Record]:
        """The oldest records."""
        taken: list[Record] = []
        while self.fetched and len(taken) < records_max:
            taken += self.fetched[0].take(records_max - len(taken))
            if len(taken) < records_max:
                self.size_bytes -= self.fetched.popleft().size_bytes
        if not self.fetched and self.error is None:
            self.came.clear()
        return taken

    def check(self) -> None:
        """Raise the error, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error


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
        with self._subscription.fetch_context():  # a member that polls nothing would be thrown out
            taken = self.take_now(partition, records_max)
        if taken:
            return taken
        place.check()
        self._coordinator.check_errors()
        return []

    def take_now(self, partition: TopicPartition, records_max: int) -> list[Record]:
        """The next records, as far as they have come."""
        place = self._places.get(partition)
        if place is None:
            return []
        was_full = not place.has_room
        taken = place.take(records_max)
        if was_full and place.has_room:
            self._room.set()
        return taken

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
            for partition, place in self._places.items():
                if place.has_room and partition in self._fetcher._records:
                    self._draw_one(partition, place)

    def _holds_some(self) -> bool:
        """Whether something has come that may be drawn."""
        return any(
            place.has_room and partition in self._fetcher._records
            for partition, place in self._places.items()
        )

    def _draw_one(self, partition: TopicPartition, place: _Place) -> None:
        """As the client's `getmany`, but nothing is unpacked."""
        found = self._fetcher._records.pop(partition)
        self._fetcher._notify(self._fetcher._wait_consume_future)
        try:
            if not isinstance(found, FetchResult):
                found.check_raise()
            elif found.check_assignment(partition):
                fetched = Fetched(found._partition_records)
                found._assignment.state_value(partition).consumed_to(fetched.next_offset)
                if not fetched.is_empty:
                    place.put(fetched)
        except Exception as error:
            place.fail(error)


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
