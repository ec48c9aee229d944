"""A normalized event to change for a test, and the record it travels in."""

from hookmill.core.event import Event, Links, ProviderEvent, Raw, encode
from hookmill.core.record import Record

PAYMENT = Event(
    id="hm_1",
    type="payment.succeeded",
    kind="payment",
    status="succeeded",
    endpoint="shop-za",
    provider="yoco",
    mode="live",
    occurred_at=None,
    received_at="2026-11-23T09:00:00.123456Z",
    subject="p_1",
    resource=None,
    amount=None,
    amount_paid=None,
    amount_refunded=None,
    discrepancy=None,
    links=Links(),
    failure=None,
    metadata={"checkoutId": "ch_1"},
    provider_event=ProviderEvent(),
    late=False,
    raw=Raw("webhooks-raw", 3, 42, "9f2c"),
)


def record(event: Event) -> Record:
    """The event's record in `events-normalized`."""
    return Record("events-normalized", 3, 9, 0, b"shop-za|p_1", encode(event), (("ce_id", b"1"),))
