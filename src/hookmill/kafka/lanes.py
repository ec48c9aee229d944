"""What waits to be appended: of each partition one batch that is open, and those before it.

Plain bookkeeping without any request: the appender sends what it takes from here.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.kafka.packing import MAGIC, UNCOMPRESSED

BATCH_BYTES_MAX = 256 * 1024
NO_PRODUCER, NO_SEQUENCE = -1, -1

Settled = Callable[[NotKept | None], None]
"""Told once what became of a record: None when it is on every in-sync replica."""


class OpenBatch:
    """Records of one partition on their way: one builder and one timer for all of them.

    The timer runs from the start, so that a batch behind a stuck one is given up in time too.
    """

    __slots__ = ("_builder", "_count", "_data", "_timer", "is_settled", "sent_at", "waiting")

    def __init__(self) -> None:
        self._builder = DefaultRecordBatchBuilder(
            MAGIC, UNCOMPRESSED, 0, NO_PRODUCER, NO_PRODUCER, NO_SEQUENCE, BATCH_BYTES_MAX
        )
        self._count = 0
        self._data: bytearray | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.sent_at = 0.0
        """When it was sent first, on the loop's clock."""
        self.waiting: list[Settled] = []
        self.is_settled = False

    def add(self, output: Output, settled: Settled) -> bool:
        """Put the record in, if it fits: into an empty batch any does."""
        headers = list(output.headers)  # the compiled builder takes no tuple
        if self._builder.append(self._count, None, output.key, output.value, headers) is None:
            return False
        self._count += 1
        self.waiting.append(settled)
        return True

    def data(self, now: float) -> bytearray:
        """As Kafka stores it, to be sent now; nothing is added after that."""
        if self._data is None:
            self._data, self.sent_at = self._builder.build(), now
        return self._data

    def give_up_at(
        self,
        deadline: float,
        give_up: Callable[["OpenBatch"], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Give up at that time of the loop's clock, unless an earlier one is set already."""
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = loop.call_at(deadline, give_up, self)

    def settle(self, error: NotKept | None) -> bool:
        """Tell the waiters; returns False if they were told before."""
        if self.is_settled:
            return False
        self.is_settled = True
        if self._timer is not None:
            self._timer.cancel()
        for tell in self.waiting:
            tell(error)
        return True


class Lane:
    """One partition of one topic: its batches go out one at a time, in order."""

    __slots__ = ("_full", "_open", "at", "is_moving")

    def __init__(self, at: TopicPartition) -> None:
        self.at = at
        self.is_moving = False
        """Whether somebody will come for what is in it."""
        self._open: OpenBatch | None = None
        self._full: deque[OpenBatch] = deque()

    def add(self, output: Output, settled: Settled) -> OpenBatch:
        """Put a record at the end; returns its batch."""
        batch = self._open
        if batch is not None and not batch.is_settled:  # else given up: it will never be sent
            if batch.add(output, settled):
                return batch
            self._full.append(batch)
        batch = self._open = OpenBatch()
        added = batch.add(output, settled)
        assert added, "an empty batch takes any record"
        return batch

    def take(self) -> OpenBatch | None:
        """The next batch, out of the lane; those that were given up are left out."""
        while self._full:
            batch = self._full.popleft()
            if not batch.is_settled:
                return batch
        last, self._open = self._open, None
        return None if last is None or last.is_settled else last

    def put_back(self, batch: OpenBatch) -> None:
        """It is the next one again."""
        self._full.appendleft(batch)
