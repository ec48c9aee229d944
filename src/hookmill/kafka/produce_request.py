"""The request that writes batches, in its newest layout: of a transaction or of none.

Layout: https://kafka.apache.org/protocol (Produce 12). By this version a broker knows a client that
leaves it to the broker to add partitions to a transaction (KIP-890).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

ALL_REPLICAS = -1
TEXT = CompactString("utf-8")
TAGS = ("tags", TaggedFields)
NO_TAGS: dict[int, bytes] = {}
_END: bytes = TaggedFields.encode(NO_TAGS)


class _ProduceResponse(Response):
    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        (
                            "record_errors",
                            CompactArray(("index", Int32), ("message", TEXT), TAGS),
                        ),
                        ("error_message", TEXT),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        ("throttle_time_ms", Int32),
        TAGS,
    )


class _ProduceStruct(RequestStruct):
    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ProduceResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("acks", Int16),
        ("timeout_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("records", CompactBytes), TAGS),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )

    def encode(self) -> bytes:
        """As the schema does, but what the batches hold is copied once, not once for each level
        that it lies in: a transaction writes megabytes."""
        parts: list[bytes] = [
            TEXT.encode(self.transactional_id),
            Int16.encode(self.acks),
            Int32.encode(self.timeout_ms),
            _counted(self.topics),
        ]
        for topic, partitions, _ in self.topics:
            parts += (TEXT.encode(topic), _counted(partitions))
            for partition, records, _ in partitions:
                parts += (Int32.encode(partition), _counted(records), records, _END)
            parts.append(_END)
        parts.append(_END)
        return b"".join(parts)


def _counted(items: Sequence[Any]) -> bytes:
    """How many follow, as compact arrays and bytes begin."""
    encoded: bytes = UnsignedVarInt32.encode(len(items) + 1)
    return encoded


class Produce(Request[_ProduceStruct]):
    """Batches of records, at most one of each partition. The answer has a part for each."""

    API_KEY = 0

    def __init__(
        self,
        transactional_id: str | None,
        batches: Mapping[TopicPartition, bytearray],
        *,
        timeout_ms: int,
    ) -> None:
        self._transactional_id = transactional_id
        self._batches = batches
        self._timeout_ms = timeout_ms

    def build(self, request_struct_class: type[_ProduceStruct]) -> _ProduceStruct:
        """The request of that version."""
        partitions = defaultdict(list)
        for at, records in self._batches.items():
            partitions[at.topic].append((at.partition, records, NO_TAGS))
        topics = [(topic, its, NO_TAGS) for topic, its in partitions.items()]
        return request_struct_class(
            self._transactional_id, ALL_REPLICAS, self._timeout_ms, topics, NO_TAGS
        )


def produced(answer: Any) -> list[tuple[TopicPartition, int, int]]:
    """Of each batch in an answer the partition, an error's code or 0, and its first offset."""
    return [
        (TopicPartition(topic, partition), code, offset)
        for topic, partitions, _ in answer.topics
        for partition, code, offset, *_ in partitions
    ]
