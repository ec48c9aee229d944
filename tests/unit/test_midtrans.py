"""Midtrans: which refund a notification tells of, and what an altered notification can't become."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.event import STATUSES
from hookmill.providers.packs.midtrans import told_refund
from hookmill.providers.registry import PACKS
from hookmill.providers.terms import Terms

PACK = PACKS["midtrans"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "midtrans"
KEY = json.loads((FIXTURES / "secrets.json").read_bytes())["secrets"][0]["text"]
TERMS = Terms(secrets=[Secret("main", PACK.key(KEY))], options=PACK.options())
WORDS = ["settlement", "capture", "completed", "refund", "partial_refund", "topup", "paid"]
CLAIMS = ["completed", [], [{"refund_amount": "1.00", "bank_confirmed_at": "x"}]]


def body(name: str) -> dict[str, Any]:
    """A fixture's body."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    return found


def becomes(fields: dict[str, Any], **options: Any) -> str:
    """The type of the event that a body becomes."""
    chosen = msgspec.convert(options, PACK.options)
    draft = PACK.normalize(json.dumps(fields).encode(), chosen)
    assert draft.status in STATUSES[draft.kind]
    return f"{draft.kind}.{draft.status}"


@given(
    word=st.sampled_from(WORDS),
    more=st.dictionaries(st.sampled_from(["status", "refunds"]), st.sampled_from(CLAIMS)),
)
def test_a_pending_payment_with_another_status_in_it_moves_no_money(
    word: str, more: dict[str, Any]
) -> None:
    """Its signature still fits, since the status is not signed; the signed code gives it away."""
    altered = {**body("pending"), "transaction_status": word, "reference_no": "1", **more}
    PACK.verify(Delivery((), json.dumps(altered).encode(), 0), TERMS)
    assert becomes(altered) == "other.unrecognized"


def test_a_payment_altered_into_a_payout_moves_no_money() -> None:
    """A payout's whole body is signed; where only three fields are, none is believed."""
    altered = {
        **body("gopay_settlement"),
        "status": "completed",
        "reference_no": "1",
        "amount": "1",
    }
    del altered["transaction_status"]
    PACK.verify(Delivery((), json.dumps(altered).encode(), 0), TERMS)
    assert becomes(altered) == "other.unrecognized"
    assert becomes(altered, variant="iris") == "transfer.succeeded"


@pytest.mark.parametrize(
    ("counts", "first"), [("confirmed", "refund.pending"), ("made", "refund.succeeded")]
)
def test_a_refund_counts_when_the_endpoint_says(counts: str, first: str) -> None:
    """Confirmed by the bank it counts either way."""
    assert becomes(body("partial_refund_first"), refund_counts=counts) == first
    assert becomes(body("partial_refund_first_confirmed"), refund_counts=counts) == (
        "refund.succeeded"
    )


def test_the_refund_told_of_is_the_one_that_changed_last() -> None:
    """Confirmed or made, the last of equals; what is no refund is passed over."""
    first = {"refund_key": "1", "created_at": "2015-02-27 00:14:20"}
    second = {"refund_key": "2", "created_at": "2015-02-28 01:23:15"}
    late = {**first, "bank_confirmed_at": "2015-02-28 02:30:20"}
    assert told_refund([first, second]) == second
    assert told_refund([second, first]) == second
    assert told_refund([late, second]) == late
    assert told_refund([first, {**first, "refund_key": "3"}])["refund_key"] == "3"
    assert told_refund([None, 1, first]) == first
    for nothing in ([], None, {}, "text", [None]):
        assert told_refund(nothing) == {}
