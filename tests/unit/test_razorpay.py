"""Razorpay: a settlement's currency is the endpoint's to say, and of two ends one stands."""

from pathlib import Path

import msgspec

from hookmill.core.money import Money
from hookmill.providers.pack import Draft
from hookmill.providers.registry import PACKS

FIXTURES = Path(__file__).parents[1] / "fixtures/razorpay"
PACK = PACKS["razorpay"]


def draft(case: str, **options: str) -> Draft:
    """The published event as the pack reads it."""
    chosen = msgspec.convert(options, PACK.options)
    return PACK.normalize((FIXTURES / f"{case}.json").read_bytes(), chosen)


def test_a_settlement_has_the_currency_that_the_endpoint_says():
    """Its events name none: without the option nobody says how much, but that it was."""
    unsaid = draft("settlement_processed")
    said = draft("settlement_processed", settlement_currency="INR")

    assert (unsaid.kind, unsaid.status, unsaid.amount) == ("transfer", "succeeded", None)
    assert said.amount == Money("1524", "INR", 2)


def test_a_payout_that_was_reversed_is_not_processed_any_more():
    """An update that comes late and still says `processed` has the lower row of the same rank."""
    (late,) = draft("payout_updated").changes
    (reversed_,) = draft("payout_reversed").changes

    assert late.rank == reversed_.rank
    assert late.row < reversed_.row


def test_a_payment_that_went_back_uncaptured_is_no_refund():
    """Nothing was received, so nothing is to be booked as refunded."""
    draft_of_auto, draft_of_own = draft("auto_refund_processed"), draft("refund_processed")

    assert (draft_of_auto.kind, draft_of_auto.status) == ("payment", "cancelled")
    assert (draft_of_own.kind, draft_of_own.status) == ("refund", "succeeded")
