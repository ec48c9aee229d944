"""Between aiokafka's records and ours."""

from typing import Any

from hookmill.core.record import Record


def from_consumer(record: Any) -> Record:
    """A consumer record as ours; a missing key or value reads as empty bytes."""
    headers = record.headers
    for _, value in headers:
        if value is None:
            headers = tuple((name, each or b"") for name, each in headers)
            break
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key or b"",
        record.value or b"",
        headers,
    )
