"""What Yoco tells of a payment: it succeeds, and is refunded in whole, in parts, or not at all."""

import random
import string
from typing import Any, NamedTuple

import msgspec

from hookmill.core.times import from_epoch_us
from hookmill.local.stories.story import Step, Story

# Each path: the events in order, each with what it becomes and its share of the amount.
_Told = tuple[str, str, int]

PATHS: dict[str, tuple[_Told, ...]] = {
    "paid": (("payment.succeeded", "payment.succeeded", 100),),
    "paid and refunded": (
        ("payment.succeeded", "payment.succeeded", 100),
        ("refund.succeeded", "refund.succeeded", 100),
    ),
    "refunded in two parts": (
        ("payment.succeeded", "payment.succeeded", 100),
        ("refund.succeeded", "refund.succeeded", 40),
        ("refund.succeeded", "refund.succeeded", 60),
    ),
    "a refund that fails, then one that does not": (
        ("payment.succeeded", "payment.succeeded", 100),
        ("refund.failed", "refund.failed", 100),
        ("refund.succeeded", "refund.succeeded", 100),
    ),
    "a type that no page of Yoco's lists": (
        ("payment.failed", "other.unrecognized", 100),
        ("payment.succeeded", "payment.succeeded", 100),
    ),
}

_STEP_US = 90_000_000
_LOCAL_US = 2 * 3600 * 1_000_000  # the payload's time is South African, labelled `Z`
_LETTERS = string.ascii_letters + string.digits
_TEST_SHARE = 0.1


class _Sale(NamedTuple):
    """What all events of one payment share."""

    payment_id: str
    checkout_id: str
    cents: int
    mode: str


def stories(rng: random.Random, at_us: int) -> Story:
    """One payment's life, chosen by the generator, beginning at that time."""
    path = PATHS[rng.choice(sorted(PATHS))]
    mode = "test" if rng.random() < _TEST_SHARE else "live"
    cents = rng.randrange(5, 5000) * 100 + rng.choice((0, 0, 50, 95, 99))
    sale = _Sale(_id(rng, "p_"), _id(rng, "ch_"), cents, mode)
    steps = []
    for number, (word, becomes, percent) in enumerate(path):
        created_us = at_us + number * _STEP_US
        body = {
            "id": _id(rng, "evt_"),
            "type": word,
            "createdDate": from_epoch_us(created_us),
            "payload": _payload(rng, sale, word, percent, created_us),
        }
        steps.append(
            Step(body=msgspec.json.encode(body), message_id=_id(rng, "msg_"), becomes=becomes)
        )
    return tuple(steps)


def _payload(
    rng: random.Random, sale: _Sale, word: str, percent: int, created_us: int
) -> dict[str, Any]:
    kind, status = word.split(".")
    common = {
        "type": kind,
        "createdDate": from_epoch_us(created_us + _LOCAL_US - 855_143),
        "amount": _part(sale.cents, percent),
        "currency": "ZAR",
    }
    end = {"status": status, "mode": sale.mode, "metadata": {"checkoutId": sale.checkout_id}}
    if kind == "refund":
        return {"id": _id(rng, "rfd_"), **common, "paymentId": sale.payment_id, **end}
    card = {
        "expiryMonth": rng.randint(1, 12),
        "expiryYear": rng.randint(27, 33),
        "maskedCard": f"************{rng.randrange(10_000):04d}",
        "scheme": rng.choice(("visa", "mastercard")),
    }
    method = {"type": "card", "card": card}
    return {"id": sale.payment_id, **common, "paymentMethodDetails": method, **end}


def _part(cents: int, percent: int) -> int:
    """That share; 40 and 60 percent make the whole again, whatever the figure."""
    first = cents * 40 // 100
    return {40: first, 60: cents - first}.get(percent, cents)


def _id(rng: random.Random, prefix: str) -> str:
    return prefix + "".join(rng.choices(_LETTERS, k=24))
