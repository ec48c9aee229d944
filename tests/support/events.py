"""Normalized events as route writes them: payments, with everything that a reader must bear."""

from collections.abc import Iterable
from typing import Any

import msgspec

from hookmill.core.cloudevents import headers
from hookmill.core.event import Event, Links, ProviderEvent, Raw, Resource, encode
from hookmill.core.money import Money
from hookmill.core.parse import exact_number, parse_object
from hookmill.core.record import Headers

Sent = tuple[bytes, bytes, Headers]
"""Key, value and headers of a record."""

ABSENT = object()
METADATA = b'{"order": 1.10, "far": 9E+400, "long": 123456789012345678901234567890, "deep": [{}]}'


def payment(number: int, *, subject: str | None = None, **changed: Any) -> Event:
    """A payment that succeeded, its amount in wei: no float and no 64-bit integer holds it."""
    subject = subject or f"p_{number}"
    event = Event(
        id=f"hm_{number:032x}", type="payment.succeeded", kind="payment", status="succeeded",
        endpoint="shop", provider="yoco", mode="live", occurred_at=None,
        received_at="2026-11-23T09:00:00.123456Z", subject=subject,
        resource=Resource("payment", subject, "succeeded", 1, False),
        amount=Money(str(10**37 + number), "ETH", 18), amount_paid=None, amount_refunded=None,
        discrepancy=None, links=Links(payment=subject), failure=None,
        metadata=parse_object(METADATA), provider_event=ProviderEvent(type="payment.succeeded"),
        late=False, raw=Raw("webhooks-raw", 0, number, "00"),
    )  # fmt: skip
    return msgspec.structs.replace(event, **changed)


def sent(event: Event) -> Sent:
    """The record that carries the event."""
    return f"{event.endpoint}|{event.subject}".encode(), encode(event), headers(event)


def without(pairs: Headers, name: str) -> Headers:
    """The headers without those of that name."""
    return tuple(pair for pair in pairs if pair[0] != name)


def altered(event: Event, where: Iterable[str], value: Any) -> Sent:
    """The record of the event with one place of its value changed, or taken away (ABSENT)."""
    key, encoded, pairs = sent(event)
    whole = inner = parse_object(encoded)
    *outer, last = where
    for name in outer:
        inner = inner[name]
    assert last in inner
    inner[last] = value
    if value is ABSENT:
        del inner[last]
    return key, msgspec.json.encode(whole, enc_hook=exact_number), pairs
