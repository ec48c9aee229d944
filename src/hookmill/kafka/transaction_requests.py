"""The requests of a transaction as Kafka 4 has them (KIP-890), which aiokafka does not know.

Layouts: https://kafka.apache.org/protocol (TxnOffsetCommit 5, EndTxn 5, DescribeTransactions 0). By
the first two a broker knows a client that takes a new epoch at the end of each transaction. Its
batches: `Produce`.
"""

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    Int16,
    Int32,
    Int64,
    Schema,
)

from hookmill.kafka.produce_request import NO_TAGS, TAGS, TEXT


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


class _OpenResponse(Response):
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", TEXT),
                ("state", TEXT),
                ("timeout_ms", Int32),
                ("started_at_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class _OpenStruct(RequestStruct):
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OpenResponse
    SCHEMA = Schema(("transactional_ids", CompactArray(TEXT)), TAGS)


class DescribeTransaction(Request[_OpenStruct]):
    """What its coordinator knows of a transaction: its state, and the partitions that are in it."""

    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._transactional_id = transactional_id

    def build(self, request_struct_class: type[_OpenStruct]) -> _OpenStruct:
        """The request of that version."""
        return request_struct_class([self._transactional_id], NO_TAGS)
