"""Yoco: deliveries signed by the Standard Webhooks rules; the event's `type` decides."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.event import Kind, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.money import Money, whole_units
from hookmill.core.parse import as_object, as_text, figure_text, parse_object
from hookmill.core.resource import TERMINAL_RANK, Change
from hookmill.core.times import from_rfc3339
from hookmill.providers.keys import verify_hmac
from hookmill.providers.pack import Draft, Pack, SignedRequest, Terms, unrecognized

DOCS = "https://developer.yoco.com/online/api-reference/webhooks"

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class Row(NamedTuple):
    """What an event becomes."""

    kind: Kind
    status: str
    row: int


# "The type of event, one of payment.succeeded, refund.succeeded or refund.failed", and "a payment
# is considered successful if its type is set to payment.succeeded" (DOCS/events/…): the type
# decides, `payload.status` only comes along.
# No page of Yoco's lists `payment.failed`, which public integrations name; it is not mapped. A
# partial and a full refund look alike: the amount is the refund's own.
EVENTS: dict[str, Row] = {
    "payment.succeeded": Row("payment", "succeeded", 1),
    "refund.succeeded": Row("refund", "succeeded", 2),
    "refund.failed": Row("refund", "failed", 3),
}

# "This endpoint will be used in both live and test modes, with the event appropriately
# indicating the mode" (DOCS/accept-events).
MODES: dict[str, Literal["live", "test"]] = {"live": "live", "test": "test"}

# 900 is R 9.00. Yoco says nothing of other currencies, so neither do we: no exponent.
DECIMALS = {"ZAR": 2}


class Yoco(Pack):
    """Yoco (yoco.com): online card payments in South Africa."""

    name = "yoco"
    title = "Yoco"
    sources = (
        f"{DOCS}/accept-events",
        f"{DOCS}/verifying-events",
        f"{DOCS}/events/successful-payment",
        f"{DOCS}/events/successful-refund",
        f"{DOCS}/events/failed-refund",
        "https://github.com/standard-webhooks/standard-webhooks",
    )
    verifies = (
        "An HMAC-SHA256 of webhook-id, webhook-timestamp and the body; "
        "the time may be 3 minutes off, or what the endpoint allows."
    )
    signed_headers = (ID, TIMESTAMP, SIGNATURE)
    events: ClassVar[Mapping[str, str]] = {
        word: f"{row.kind}.{row.status}" for word, row in EVENTS.items()
    }
    says_mode = True
    # "We recommend a threshold of up to 3 minutes" (DOCS/verifying-events). Each retry is signed
    # anew, so this binds an attempt, not the event.
    tolerance_secs = 180
    # The last retry comes 27 h 35 min after the first attempt (DOCS/accept-events).
    dedup_window_secs = 172_800
    retry_delays_secs = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    # "To send the response within 15 seconds"; any 2xx is a success (DOCS/accept-events).
    answer_deadline_secs = 15.0

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that signed the delivery now; raise Refused if none did.

        The time is judged after the signature: an unsigned one says nothing of the sender.
        """
        offered = " ".join(delivery.headers_named(SIGNATURE)).split(" ")
        message_id = delivery.header(ID)
        if not any(offered) or not message_id:
            raise Refused(Reason.SIGNATURE_MISSING)
        timestamp = delivery.header(TIMESTAMP)
        if not timestamp:
            raise Refused(Reason.TIMESTAMP_MISSING)
        if not _WHOLE_SECONDS.fullmatch(timestamp):
            raise Refused(Reason.TIMESTAMP_OUT_OF_TOLERANCE)
        secret = verify_hmac(
            _message(message_id, timestamp, delivery.body),
            candidates=[mac for entry in offered if (mac := _mac(entry)) is not None],
            secrets=terms.secrets,
            algorithm="sha256",
        )
        tolerance_secs = terms.tolerance_secs
        if tolerance_secs is None:
            tolerance_secs = self.tolerance_secs
        away_us = abs(delivery.received_at_us - int(timestamp) * 1_000_000)
        if away_us > tolerance_secs * 1_000_000:
            raise Refused(Reason.TIMESTAMP_OUT_OF_TOLERANCE)
        return secret

    def identify(self, delivery: Delivery) -> tuple[Item, ...]:
        """The one event by the id in its body; where none can be read, by `webhook-id`.

        Both stay the same over retries; whether they are equal is not documented.
        """
        body = delivery.body
        fallback_id = delivery.header(ID) or body_hash(body)
        try:
            fields = parse_object(body)
        except UnparseableBody:
            return (Item(body, fallback_id),)
        event_id, word = as_text(fields.get("id")) or fallback_id, as_text(fields.get("type"))
        subject = _subject(word, as_object(fields.get("payload")))
        return (Item(body, event_id, word or "", subject),)

    def normalize(self, body: bytes, options: Any) -> Draft:
        """The event in our words; unknown types and amounts are kept as unrecognized.

        The outer `createdDate` is the event's time, but nothing is ordered by it: in the
        published samples it lies before that of the payment it tells of, local time under a `Z`.
        """
        fields = parse_object(body)
        payload = as_object(fields.get("payload"))
        word, mode = as_text(fields.get("type")), payload.get("mode")
        kept = unrecognized(
            ProviderEvent(
                id=as_text(fields.get("id")),
                type=word,
                status=as_text(payload.get("status")),
                amount=figure_text(payload.get("amount")),
            ),
            subject=_subject(word, payload),
            mode=MODES.get(as_text(mode) or ""),
            occurred_at=from_rfc3339(fields.get("createdDate")),
            links=_links(word, payload),
            metadata=as_object(payload.get("metadata")),
        )
        row, resource_id = EVENTS.get(word or ""), as_text(payload.get("id"))
        amount = _money(payload)
        if row is None or resource_id is None or amount is None:
            return kept
        if mode is not None and kept.mode is None:  # a third mode: perhaps no real money
            return kept
        change = Change(row.kind, resource_id, row.status, TERMINAL_RANK, row=row.row)
        return replace(kept, kind=row.kind, status=row.status, changes=(change,), amount=amount)

    def sign(self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any
             ) -> SignedRequest:  # fmt: skip
        """The request with the three headers, signed at that time."""
        timestamp = str(at_us // 1_000_000)
        message = _message(message_id, timestamp, body)
        mac = base64.b64encode(hmac.digest(self.key(secret), message, "sha256")).decode()
        headers = {
            "content-type": "application/json",
            ID: message_id,
            TIMESTAMP: timestamp,
            SIGNATURE: f"v1,{mac}",
        }
        return SignedRequest(headers, body)


_WHOLE_SECONDS = re.compile(r"[0-9]{1,15}")


def _message(message_id: str, timestamp: str, body: bytes) -> bytes:
    """What is signed: `id.timestamp.body`, the id in the very bytes that came by HTTP."""
    try:
        wire_id = message_id.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        raise Refused(Reason.SIGNATURE_INVALID) from None
    return b".".join((wire_id, timestamp.encode(), body))


def _mac(entry: str) -> bytes | None:
    """The bytes of a `v1,<base64>` entry, None for any other; each MAC has one spelling."""
    version, _, text = entry.partition(",")
    if version != "v1":
        return None
    try:
        mac = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return mac if base64.b64encode(mac).decode() == text else None


def _subject(word: str | None, payload: dict[str, Any]) -> str | None:
    """The payment: its own id, or `paymentId` in what belongs to one (refunds)."""
    own = as_text(payload.get("id"))
    if (word or "").startswith("payment."):
        return own
    return as_text(payload.get("paymentId")) or own


def _links(word: str | None, payload: dict[str, Any]) -> Links:
    own, payment = as_text(payload.get("id")), as_text(payload.get("paymentId"))
    kind = (word or "").partition(".")[0]
    return Links(
        payment=own if kind == "payment" else payment,
        refund=own if kind == "refund" else None,
        checkout=as_text(as_object(payload.get("metadata")).get("checkoutId")),
    )


def _money(payload: dict[str, Any]) -> Money | None:
    minor, currency = whole_units(payload.get("amount")), as_text(payload.get("currency"))
    if minor is None or currency is None:
        return None
    return Money(str(minor), currency, DECIMALS.get(currency))
