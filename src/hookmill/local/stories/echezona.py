"""What Echezona tells of a transaction, in the shape of its one documented sample."""

import random
from typing import Any

import msgspec

from hookmill.local.stories.story import Step, Story

_CUSTOMERS = (
    {"email": "customer@example.com", "name": "John Doe"},
    {"email": "ada@example.com", "name": "Ada Obi"},
    {"email": "tunde@example.com", "name": "Tunde Bello"},
)

# Each path: event, data.status ("" for none), the share of the amount in hundredths, what it
# becomes. Only payment.success is documented with a payload; the others follow its shape.
_Told = tuple[str, str, int, str]
PATHS: dict[str, tuple[_Told, ...]] = {
    "paid": (("payment.success", "success", 100, "payment.succeeded"),),
    "paid, as the plugin reads it": (("charge.success", "success", 100, "payment.succeeded"),),
    "failed": (("payment.failed", "failed", 100, "payment.failed"),),
    "paid and refunded": (
        ("payment.success", "success", 100, "payment.succeeded"),
        ("refund.processed", "", 100, "refund.succeeded"),
    ),
    "paid and refunded in two parts": (
        ("payment.success", "success", 100, "payment.succeeded"),
        ("refund.processed", "", 40, "refund.succeeded"),
        ("refund.processed", "", 25, "refund.succeeded"),
    ),
    "transferred": (("transfer.success", "success", 100, "transfer.succeeded"),),
    "renewed": (("subscription.renew", "success", 100, "subscription.renewed"),),
    "an event that nobody documented": (
        ("payment.success", "success", 100, "payment.succeeded"),
        ("settlement.created", "", 100, "other.unrecognized"),
    ),
}


def stories(rng: random.Random, at_us: int) -> Story:
    """One transaction's life, chosen by the generator. Echezona sends no time in the body."""
    path = PATHS[rng.choice(sorted(PATHS))]
    transaction_id = str(rng.randrange(10**11, 10**12))
    amount, customer = rng.randrange(1, 500) * 100, rng.choice(_CUSTOMERS)
    order_id = str(rng.randrange(1000, 100_000)) if rng.random() < 0.5 else None
    steps = []
    for event, status, share, becomes in path:
        reference = "reference" if event.startswith("charge.") else "transaction_id"
        data: dict[str, Any] = {
            reference: transaction_id,
            "amount": amount * share // 100,
            "currency": "NGN",
        }
        if status:
            data["status"] = status
        data["customer"] = customer
        if order_id:
            data["metadata"] = {"order_id": order_id}
        body = msgspec.json.encode({"event": event, "data": data})
        message_id = f"{rng.getrandbits(64):016x}"
        steps.append(Step(body=body, message_id=message_id, becomes=becomes))
    return tuple(steps)
