"""Xendit: a redelivery has other bytes, since it carries the time of the attempt."""

from pathlib import Path

import pytest

from hookmill.core.delivery import Delivery
from hookmill.providers.registry import PACKS

PACK = PACKS["xendit"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "xendit"


def event_id(name: str) -> str:
    """What a fixture is known by."""
    (item,) = PACK.identify(Delivery((), (FIXTURES / f"{name}.json").read_bytes(), 0))
    return item.event_id


def test_a_delivery_sent_again_is_one_event() -> None:
    """Though its bytes differ."""
    names = ("payment_capture", "payment_capture_sent_again")
    first, again = ((FIXTURES / f"{name}.json").read_bytes() for name in names)
    assert first != again
    assert event_id(names[0]) == event_id(names[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("payment_capture", "status_contradicts_event"),
        ("payment_capture_of_a_part", "payment_capture_of_two_parts"),
        ("refund_succeeded", "refund_succeeded_second_part_as_text"),
        ("payout_succeeded", "payout_reversed"),
        ("cycle_retrying", "cycle_retrying_again"),
        ("plan_activated", "plan_inactivated"),
    ],
)
def test_what_else_happened_is_another_event(one: str, other: str) -> None:
    """Captures, parts of a refund and attempts of one object are told apart."""
    assert event_id(one) != event_id(other)
