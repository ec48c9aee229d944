"""CloudEvents 1.0 in Kafka binary mode: the attributes of an event as record headers.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2.
"""

from functools import lru_cache

from hookmill.core.event import Event
from hookmill.core.record import Headers

CONTENT_TYPE = "content-type"
_VERSION = ("ce_specversion", b"1.0")
_JSON = (CONTENT_TYPE, b"application/json")


def schema_id(kind: str) -> str:
    """The URI of the schema of that kind's events: the `$id` in `schemas/`."""
    return f"urn:hookmill:schema:event:{kind}:1"


def headers(event: Event) -> Headers:
    """The event's attributes; `ce_time` is the time received where none is given."""
    source, type_, schema = _alike(event.provider, event.endpoint, event.kind, event.type)
    subject = (("ce_subject", event.subject.encode()),) if event.subject else ()
    return (
        _VERSION,
        ("ce_id", event.id.encode()),
        source,
        type_,
        *subject,
        ("ce_time", (event.occurred_at or event.received_at).encode()),
        schema,
        _JSON,
    )


@lru_cache(maxsize=1024)
def _alike(provider: str, endpoint: str, kind: str, type_: str) -> Headers:
    """Source, type and schema: alike for all events of an endpoint and a type, so written once."""
    return (
        ("ce_source", f"/hookmill/{provider}/{endpoint}".encode()),
        ("ce_type", f"hookmill.{type_}".encode()),
        ("ce_dataschema", schema_id(kind).encode()),
    )
