"""CloudEvents 1.0 in Kafka binary mode: the attributes of an event as record headers.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2.
"""

from hookmill.core.event import Event
from hookmill.core.record import Headers

CONTENT_TYPE = "content-type"


def schema_id(kind: str) -> str:
    """The URI of the schema of that kind's events: the `$id` in `schemas/`."""
    return f"urn:hookmill:schema:event:{kind}:1"


def headers(event: Event) -> Headers:
    """The event's attributes; `ce_time` is the time received where none is given."""
    pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", event.id),
        ("ce_source", f"/hookmill/{event.provider}/{event.endpoint}"),
        ("ce_type", f"hookmill.{event.type}"),
        ("ce_time", event.occurred_at or event.received_at),
        ("ce_dataschema", schema_id(event.kind)),
        (CONTENT_TYPE, "application/json"),
    ]
    if event.subject:
        pairs.insert(4, ("ce_subject", event.subject))
    return tuple((name, value.encode()) for name, value in pairs)
