"""Between aiokafka's records and ours."""

from collections import deque
from itertools import islice
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords

from hookmill.core.record import Record


class Fetched:
    """What was fetched of a partition at once: bytes, until its records are taken.

    aiokafka unpacks it, checks it and leaves out what was aborted. But a record becomes ours at
    once, not first the client's frozen dataclass of eleven fields; and where all of it ends is
    known from the headers of the batches, before any is unpacked.
    """

    def __init__(self, fetched: PartitionRecords) -> None:
        self.size_bytes = fetched._records.size_in_bytes()
        batches = _Batches(fetched._records)
        self.next_offset: int = batches.next_offset
        self.is_empty = batches.only_markers
        fetched._records = batches
        fetched._consumer_record = _from_batch
        self._records = fetched

    def take(self, count: int) -> list[Record]:
        """The next records; fewer than so many only at the end. Raises CorruptRecordException."""
        return list(islice(self._records, count))


class _Batches:
    """The batches of a fetch, in the place of the client's `MemoryRecords`."""

    def __init__(self, records: Any) -> None:
        self._left: deque[Any] = deque()
        self.only_markers = True
        while records.has_next():
            batch = records.next_batch()
            self._left.append(batch)
            self.only_markers = self.only_markers and batch.is_control_batch
        self.next_offset = self._left[-1].next_offset

    def has_next(self) -> bool:
        return bool(self._left)

    def next_batch(self) -> Any:
        return self._left.popleft()


def from_consumer(record: Any) -> Record:
    """A consumer record as ours; a missing key or value reads as empty bytes."""
    return _record(record, record.topic, record.partition)


def _from_batch(at: TopicPartition, record: Any) -> Record:
    return _record(record, at.topic, at.partition)


def _record(record: Any, topic: str, partition: int) -> Record:
    headers = tuple(record.headers)
    for _, value in headers:
        if value is None:
            headers = tuple((name, each or b"") for name, each in headers)
            break
    return Record(
        topic,
        partition,
        record.offset,
        record.timestamp,
        record.key or b"",
        record.value or b"",
        headers,
    )
