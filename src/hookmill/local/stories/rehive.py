"""What Rehive tells of an invoice: every change of its status, with the quotes it is paid by.

Half of the stories come bare as the merchant pages show them, half in the platform's envelope.
"""

import random
import uuid
from typing import Any, NamedTuple

import msgspec

from hookmill.local.stories.story import Step, Story

SERVICE = "service_payment_requests."

# Each path: the invoice's status, what it becomes, how many percent of the quote are paid.
_Told = tuple[str, str, int]

_BEGINS: tuple[_Told, ...] = (
    ("initiated", "payment.created", 0),
    ("processing", "payment.pending", 0),
)
_UNDERPAID: _Told = ("underpaid", "payment.underpaid", 60)

PATHS: dict[str, tuple[_Told, ...]] = {
    "paid": (*_BEGINS, ("paid", "payment.succeeded", 100)),
    "paid, then converted": (
        ("draft", "payment.created", 0),
        *_BEGINS,
        ("paid", "payment.succeeded", 100),
        ("complete", "payment.succeeded", 100),
    ),
    "received on the way": (
        *_BEGINS,
        ("received", "payment.pending", 100),
        ("complete", "payment.succeeded", 100),
    ),
    "the rest comes later": (*_BEGINS, _UNDERPAID, ("paid", "payment.succeeded", 100)),
    "the rest never comes": (*_BEGINS, _UNDERPAID, ("expired", "payment.expired", 60)),
    "too much": (*_BEGINS, ("overpaid", "payment.overpaid", 200)),
    "after the due date": (*_BEGINS, ("late", "payment.succeeded", 100)),
    "never paid": (*_BEGINS, ("expired", "payment.expired", 0)),
    "an error": (*_BEGINS, ("failed", "payment.failed", 0)),
    "cancelled by a manager": (
        ("initiated", "payment.created", 0),
        ("cancelled", "payment.cancelled", 0),
    ),
}

USD = {
    "code": "USD",
    "display_code": "USD",
    "description": "United States Dollar",
    "symbol": "$",
    "unit": "dollar",
    "divisibility": 2,
}
BTC = {
    "code": "BTC",
    "display_code": "BTC",
    "description": "Bitcoin",
    "symbol": "₿",
    "unit": "bitcoin",
    "divisibility": 8,
}
_SATOSHI_PER_CENT = 15

_PROCESSORS = {"native_otp": "Native OTP", "bitcoin": "Bitcoin"}
_STEP_MS = 45_000


class _Sale(NamedTuple):
    """What all webhooks of one invoice share."""

    invoice_id: str
    reference: str
    cents: int
    processor: str
    quote_id: str
    created_ms: int


def stories(rng: random.Random, at_us: int) -> Story:
    """One invoice's life, chosen by the generator, beginning at that time."""
    path = PATHS[rng.choice(sorted(PATHS))]
    sale = _Sale(
        invoice_id=_uuid(rng),
        reference=f"ORDER-{rng.randrange(10**6):06d}",
        cents=rng.randrange(100, 50_000),
        processor=rng.choice(sorted(_PROCESSORS)),
        quote_id=_uuid(rng),
        created_ms=at_us // 1000,
    )
    enveloped = rng.random() < 0.5
    steps = []
    for number, (status, becomes, percent) in enumerate(path):
        invoice = _invoice(sale, status, percent, sale.created_ms + number * _STEP_MS)
        message_id = _uuid(rng)
        body: dict[str, Any] = {"data": invoice}
        if enveloped:
            event = SERVICE + ("request.update" if number else "request.create")
            body = {"id": message_id, "event": event, "company": "hookmill", **body}
        steps.append(Step(body=msgspec.json.encode(body), message_id=message_id, becomes=becomes))
    return tuple(steps)


def _invoice(sale: _Sale, status: str, percent: int, updated_ms: int) -> dict[str, Any]:
    chosen = status not in ("draft", "initiated", "cancelled")
    return {
        "id": sale.invoice_id,
        "user": None,
        "account": None,
        "request_reference": sale.reference,
        "request_currency": USD,
        "request_amount": sale.cents,
        "primary_payment_processor": _processor(sale.processor) if chosen else None,
        "description": "Online payment for clothes",
        "metadata": {"cart": sale.reference.removeprefix("ORDER-")},
        "status": status,
        "payer_email": "customer@example.com",
        "return_url": None,
        "payment_processor_quotes": [_quote(sale, status, percent)] if chosen else [],
        "expiration_date": None,
        "due_date": None,
        "created": sale.created_ms,
        "updated": updated_ms,
    }


def _quote(sale: _Sale, status: str, percent: int) -> dict[str, Any]:
    in_bitcoin = sale.processor == "bitcoin"
    amount = sale.cents * _SATOSHI_PER_CENT if in_bitcoin else sale.cents
    return {
        "id": sale.quote_id,
        "deposit_details": {},
        "payment_processor": _processor(sale.processor),
        "currency": BTC if in_bitcoin else USD,
        "amount": amount,
        "total_paid": amount * percent // 100,
        "expiration_date": None,
        "status": {"complete": "paid"}.get(status, status),
        "conversion_quote": None,
    }


def _processor(name: str) -> dict[str, Any]:
    return {"unique_string_name": name, "name": _PROCESSORS[name], "currencies": []}


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
