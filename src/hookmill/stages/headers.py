"""The headers that records carry through hookmill, named once, and the key they make."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hookmill.core.record import Record

DELIVERY = "hm-delivery"
ITEM = "hm-item"
ENDPOINT = "hm-endpoint"
PROVIDER = "hm-provider"
EVENT_ID = "hm-event-id"
EVENT_TYPE = "hm-event-type"
RECEIVED_AT = "hm-received-at"
SECRET = "hm-secret"
CONTENT_TYPE = "hm-content-type"
SIGNED = "hm-signed"
REASON = "hm-reason"
TRACEPARENT = "traceparent"
"""The trace that the record belongs to, where it is traced: W3C Trace Context."""

RAW_OFFSET = "hm-raw-offset"
"""Where in `webhooks-raw` (same partition) the exact bytes lie; set by dedup."""

ERROR_REASON = "hm-error-reason"
ERROR_DETAIL = "hm-error-detail"
ERROR_STAGE = "hm-error-stage"
ERROR_TOPIC = "hm-error-topic"
ERROR_PARTITION = "hm-error-partition"
ERROR_OFFSET = "hm-error-offset"
ERROR_AT = "hm-error-at"
ATTEMPT = "hm-attempt"
NOT_BEFORE = "hm-not-before"
ATTEMPT_TRACE = "hm-attempt-trace"
"""The span of the attempt that failed, where the event is traced; the next one links to it."""
REDRIVES = "hm-redrives"
REDRIVEN_FROM = "hm-redriven-from"
"""The dead letter that this record was, as `topic:partition:offset` without the namespace."""

REPLAYED_FROM = "hm-replayed-from"
"""The normalized event that was put into a handler's queue again, by its place, as above."""


def ids(record: Record) -> dict[str, str | None]:
    """What a log line about one record says of it: its delivery, and its trace where there is
    one."""
    return {"delivery": record.header(DELIVERY), **trace(record.header(TRACEPARENT))}


def trace(traceparent: str | None) -> dict[str, str]:
    """The trace id in a `traceparent`, as a field of a log line; empty where there is none."""
    if not traceparent:
        return {}
    parts = traceparent.split("-")
    return {"trace": parts[1]} if len(parts) == 4 and len(parts[1]) == 32 else {}


_SIGNED = msgspec.json.Decoder(dict[str, Any])


def kept_headers(named: Mapping[str, bytes]) -> dict[str, list[str]]:
    """The delivery's own headers that were kept as evidence, by lower-case name; `named` are the
    record's."""
    try:
        kept = _SIGNED.decode(named.get(SIGNED) or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return {name: values for name, values in kept.items() if isinstance(values, list)}


def dedup_key(record: Record) -> bytes:
    """What makes two records the same event: `endpoint|event id|provider's event type`.

    Its parts were escaped and bounded by the ingress when it wrote them.
    """
    return dedup_key_in(dict(record.headers))


def dedup_key_in(named: Mapping[str, bytes]) -> bytes:
    """The same, of headers by name."""
    find = named.get
    return b"|".join((find(ENDPOINT, b""), find(EVENT_ID, b""), find(EVENT_TYPE, b"")))
