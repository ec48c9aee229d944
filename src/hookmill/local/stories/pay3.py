"""What Pay3 tells of an order: the claims of its tokens, some statuses skipped as it does.

A step's body is the claims; the pack's `sign` wraps them into the token and the envelope.
"""

import random
import uuid
from typing import Any

import msgspec

from hookmill.local.stories.story import Step, Story

TRANSACTION = "pay3-sdk-transaction-status"

# Each path: order type, order status, payment status ("" for none), what it becomes.
_Told = tuple[str, str, str, str]

_CHECKOUT_BEGINS: tuple[_Told, ...] = (
    ("CHECKOUT", "CREATED", "", "payment.created"),
    ("CHECKOUT", "ORDER_STARTED", "", "payment.pending"),
    ("CHECKOUT", "ORDER_PAYMENT_AWAITING", "", "payment.pending"),
)
_CRYPTO_BEGINS: tuple[_Told, ...] = (
    ("CRYPTO", "CREATED", "", "payment.created"),
    ("CRYPTO", "ORDER_PAYMENT_PROCESSING", "", "payment.pending"),
)
PATHS: dict[str, tuple[_Told, ...]] = {
    "paid by card": (
        *_CHECKOUT_BEGINS,
        ("CHECKOUT", "ORDER_PAYMENT_INITIATED", "AWAITING_APPROVAL", "payment.pending"),
        ("CHECKOUT", "COMPLETED", "SUCCESS", "payment.succeeded"),
    ),
    "fiat and crypto legs of one order": (
        ("CHECKOUT", "CREATED", "", "payment.created"),
        ("CHECKOUT", "COMPLETED", "SUCCESS", "payment.succeeded"),
        *_CRYPTO_BEGINS,
        ("CRYPTO", "COMPLETED", "COMPLETED", "payment.succeeded"),
    ),
    "the same success told twice": (
        ("CRYPTO", "CREATED", "", "payment.created"),
        ("CRYPTO", "COMPLETED", "", "payment.succeeded"),
        ("CRYPTO", "COMPLETED", "SUCCESS", "payment.succeeded"),
    ),
    "declined": (*_CHECKOUT_BEGINS, ("CHECKOUT", "FAILED", "DECLINED", "payment.failed")),
    "cancelled": (*_CHECKOUT_BEGINS, ("CHECKOUT", "FAILED", "CANCELED", "payment.cancelled")),
    "timed out": (
        *_CHECKOUT_BEGINS,
        ("CHECKOUT", "ABANDONED", "MAX_RETRIES_REACHED", "payment.expired"),
    ),
    "paid after the timeout": (
        ("CRYPTO", "ABANDONED", "", "payment.expired"),
        ("CRYPTO", "COMPLETED", "SUCCESS", "payment.succeeded"),
    ),
    "a little too low": (
        *_CRYPTO_BEGINS,
        ("CRYPTO", "COMPLETED", "UNDER_PAID", "payment.succeeded"),
    ),
    "too high": (*_CRYPTO_BEGINS, ("CRYPTO", "COMPLETED", "OVER_PAID", "payment.overpaid")),
    "too low and refunded": (
        *_CRYPTO_BEGINS,
        ("CRYPTO", "FAILED", "UNDER_PAID", "payment.failed"),
        ("CRYPTO", "FAILED", "REFUND_INITIATED", "refund.pending"),
        ("CRYPTO", "FAILED", "REFUNDED", "refund.succeeded"),
    ),
    "a refund that fails": (
        *_CRYPTO_BEGINS,
        ("CRYPTO", "FAILED", "REFUND_INITIATED", "refund.pending"),
        ("CRYPTO", "FAILED", "REFUND_FAILED", "refund.failed"),
    ),
    "reviewed afterwards": (
        *_CHECKOUT_BEGINS,
        ("CHECKOUT", "COMPLETED", "SUCCESS", "payment.succeeded"),
        ("CHECKOUT", "COMPLETED", "REVIEW_CREATED", "other.review"),
        ("CHECKOUT", "COMPLETED", "REVIEW_SUBMITTED", "other.review"),
    ),
    "paid out": (
        ("PAYOUT", "CREATED", "", "transfer.pending"),
        ("PAYOUT", "ORDER_PAYMENT_INITIATED", "", "transfer.pending"),
        ("PAYOUT", "COMPLETED", "SUCCESS", "transfer.succeeded"),
    ),
    "a payout that comes back": (
        ("PAYOUT", "CREATED", "", "transfer.pending"),
        ("PAYOUT", "FAILED", "REFUNDED", "transfer.reversed"),
    ),
    "the older API, flat": (
        ("FIAT", "CREATED", "", "payment.created"),
        ("FIAT", "COMPLETED", "", "payment.succeeded"),
    ),
}


def stories(rng: random.Random, at_us: int) -> Story:
    """One order's life, chosen by the generator. Pay3 sends no time, so `at_us` is not used."""
    path = PATHS[rng.choice(sorted(PATHS))]
    order_id, request_id, offer_id = (_uuid(rng) for _ in range(3))
    steps = []
    for order_type, order_status, payment_status, becomes in path:
        order = {"orderType": order_type, "orderId": order_id, "orderStatus": order_status}
        if payment_status:
            order["paymentStatus"] = payment_status
        claims: dict[str, Any] = {**order, "offerId": offer_id}
        if order_type != "FIAT":
            claims = {"requestId": request_id, "data": order, "type": TRANSACTION}
        if payment_status == "DECLINED":
            claims["error"] = {"code": 400, "message": "Declined by payment partner"}
        body = msgspec.json.encode(claims)
        steps.append(Step(body=body, message_id=_uuid(rng), becomes=becomes))
    return tuple(steps)


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
