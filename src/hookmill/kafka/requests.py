"""Requests of the Kafka protocol that aiokafka does not know, for looking at a cluster.

Layouts: https://kafka.apache.org/protocol (ApiVersions 3, Metadata 8, DescribeQuorum 1).
"""

from io import BytesIO

from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

FINALIZED_FEATURES_TAG = 2
CLIENT = "hookmill"

_FEATURES = CompactArray(
    ("name", CompactString("utf-8")),
    ("max_level", Int16),
    ("min_level", Int16),
    ("tags", TaggedFields),
)


class _VersionsResponse(Response):
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_versions",
            CompactArray(
                ("api_key", Int16),
                ("min_version", Int16),
                ("max_version", Int16),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _VersionsStruct(RequestStruct):
    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _VersionsResponse
    SCHEMA = Schema(
        ("software_name", CompactString("utf-8")),
        ("software_version", CompactString("utf-8")),
        ("tags", TaggedFields),
    )

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> ResponseHeader_v0:
        """Of this one alone the answer's header has no tags: any client must be able to read it."""
        return ResponseHeader_v0.decode(read_buffer)


class VersionsRequest(Request[_VersionsStruct]):
    """Which requests a broker serves, and the features that its cluster has agreed on."""

    API_KEY = 18

    def build(self, request_struct_class: type[_VersionsStruct]) -> _VersionsStruct:
        """The request of that version."""
        return request_struct_class(CLIENT, "1", {})


def finalized_features(tags: dict[int, bytes]) -> dict[str, int]:
    """The level of each feature, out of the tags of an answer to VersionsRequest."""
    found = _FEATURES.decode(BytesIO(tags.get(FINALIZED_FEATURES_TAG, b"\x00"))) or []
    return {name: level for name, level, _, _ in found}


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class AuthorizedMetadataRequest(Request[_MetadataStruct]):
    """The brokers, and those topics with what the client may do with each; creates none."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        """The request of that version."""
        return request_struct_class(self._topics, False, True, True)


_REPLICAS = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_ms", Int64),
    ("last_caught_up_ms", Int64),
    ("tags", TaggedFields),
)


class _QuorumResponse(Response):
    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _QuorumStruct(RequestStruct):
    API_KEY = 55
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _QuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class QuorumRequest(Request[_QuorumStruct]):
    """How the cluster's controllers stand. Of the leading one the time it was last caught up with
    itself is its clock now: the one time of a broker's that costs no write (KIP-836)."""

    API_KEY = 55

    def build(self, request_struct_class: type[_QuorumStruct]) -> _QuorumStruct:
        """The request of that version."""
        return request_struct_class([("__cluster_metadata", [(0, {})], {})], {})


class _GroupStruct(RequestStruct):
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class AuthorizedGroupRequest(Request[_GroupStruct]):
    """A group with what the client may do with it. (aiokafka 0.14 reads the answer to its own
    request of this version by the layout of the version before, and misses that.)"""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_GroupStruct]) -> _GroupStruct:
        """The request of that version."""
        return request_struct_class([self._group], True)
