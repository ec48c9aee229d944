"""The requests of a transaction as Kafka 4 has them (KIP-890), which aiokafka does not know.

Layouts: https://kafka.apache.org/protocol (Produce 12, TxnOffsetCommit 5, EndTxn 5). By these
versions a broker knows a client that leaves it to the broker to add partitions to a transaction,
and that takes a new epoch at the end of each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
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


class TransactionalProduce(Request[_ProduceStruct]):
    """Batches of records, at most one of each partition. The answer has a part for each."""

    API_KEY = 0

    def __init__(
        self, transactional_id: str, batches: Mapping[TopicPartition, bytearray], *, timeout_ms: int
    ) -> None:
        self._transactional_id = transactional_id
        self._batches = batches
        self._timeout_ms = timeout_ms

    def build(self, request_struct_class: type[_ProduceStruct]) -> _ProduceStruct:
        """The request of that version."""
        topics = [
            (at.topic, [(at.partition, records, NO_TAGS)], NO_TAGS)
            for at, records in self._batches.items()
        ]
        return request_struct_class(
            self._transactional_id, ALL_REPLICAS, self._timeout_ms, topics, NO_TAGS
        )


class _OffsetsResponse(Response):
    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), TAGS),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class _OffsetsStruct(RequestStruct):
    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OffsetsResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("group", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation", Int32),
        ("member", TEXT),
        ("instance", TEXT),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", TEXT),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class TransactionalOffsets(Request[_OffsetsStruct]):
    """A group's offsets in the transaction; of no member of it: the fence guards them."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        group: str,
        offsets: Sequence[tuple[TopicPartition, int]],
    ) -> None:
        self._transactional_id = transactional_id
        self._producer = producer
        self._group = group
        self._offsets = offsets

    def build(self, request_struct_class: type[_OffsetsStruct]) -> _OffsetsStruct:
        """The request of that version."""
        topics = [
            (at.topic, [(at.partition, offset, -1, "", NO_TAGS)], NO_TAGS)
            for at, offset in self._offsets
        ]
        return request_struct_class(
            self._transactional_id, self._group, *self._producer, -1, "", None, topics, NO_TAGS
        )


class _EndResponse(Response):
    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    )


class _EndStruct(RequestStruct):
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _EndResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        TAGS,
    )


class Commit(Request[_EndStruct]):
    """The end of a transaction; the answer has the producer's next id and epoch."""

    API_KEY = 26

    def __init__(self, transactional_id: str, producer: tuple[int, int]) -> None:
        self._transactional_id = transactional_id
        self._producer = producer

    def build(self, request_struct_class: type[_EndStruct]) -> _EndStruct:
        """The request of that version."""
        return request_struct_class(self._transactional_id, *self._producer, True, NO_TAGS)
