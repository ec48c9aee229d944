"""Between aiokafka's records and ours."""

from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult

from hookmill.core.record import Record


def from_consumer(record: Any) -> Record:
    """A consumer record as ours; a missing key or value reads as empty bytes."""
    return _record(record, record.topic, record.partition)


def as_ours(fetched: Any) -> None:
    """Have what was fetched of a partition unpacked as our records, not first as the client's.

    Those are frozen dataclasses of eleven fields, and both kinds lay in memory at a time: a sixth
    of all that a stage costs. There is nothing to unpack in an error.
    """
    if isinstance(fetched, FetchResult):
        fetched._partition_records._consumer_record = _from_batch


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
