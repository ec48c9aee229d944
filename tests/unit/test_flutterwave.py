"""Flutterwave: two ways to prove a delivery, two forms of body, and what no page says for sure."""

import base64
import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["flutterwave"]
SECRET = "a-secret-hash-for-fixtures"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "flutterwave"
AT_US = 1_763_888_400_000_000


def refused(body: bytes, header: str, value: str, **options: str) -> Reason | None:
    """Why the pack refuses it, None if it takes it."""
    chosen = msgspec.convert(options, PACK.options)
    terms = Terms(secrets=[Secret("main", PACK.key(SECRET, chosen))], options=chosen)
    try:
        PACK.verify(Delivery(((header, value),), body, AT_US), terms)
    except Refused as error:
        return error.reason
    return None


def transfer(source: str, destination: str) -> bytes:
    """A transfer of v4 that arrived."""
    data = {"id": "trf_1", "status": "SUCCESSFUL", "amount": 3000.44,
            "source_currency": source, "destination_currency": destination}  # fmt: skip
    return msgspec.json.encode({"type": "transfer.disburse", "webhook_id": "wbk_1", "data": data})


@given(st.binary(max_size=200))
def test_the_signature_is_an_hmac_of_the_exact_bytes_in_base64(body: bytes) -> None:
    """Neither its hex nor the secret itself is taken in its place."""
    digest = hmac.digest(SECRET.encode(), body, hashlib.sha256)
    header = "flutterwave-signature"

    assert refused(body, header, base64.b64encode(digest).decode()) is None
    assert refused(body, header, digest.hex()) is Reason.SIGNATURE_INVALID
    assert refused(body, header, SECRET) is Reason.SIGNATURE_INVALID
    assert refused(body, "verif-hash", SECRET) is Reason.SIGNATURE_MISSING


def test_the_older_way_is_taken_only_where_the_endpoint_chose_it() -> None:
    """`verif-hash` proves nothing of the body; nobody gets it without having asked."""
    assert refused(b"{}", "verif-hash", SECRET, variant="v3") is None
    assert refused(b"{}", "verif-hash", "x" + SECRET, variant="v3") is Reason.SECRET_INVALID
    assert refused(b"{}", "verif-hash", SECRET, variant="v4") is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize("variant", ["default", "v3", "v4"])
def test_either_form_of_body_is_read_in_every_variant(variant: str) -> None:
    """The variant says how a delivery proves itself, not what is in it."""
    options = msgspec.convert({"variant": variant}, PACK.options)
    old = PACK.normalize((FIXTURES / "v3" / "charge_successful_card.json").read_bytes(), options)
    new = PACK.normalize((FIXTURES / "charge_succeeded_opay.json").read_bytes(), options)

    assert (old.kind, old.status, new.kind, new.status) == ("payment", "succeeded") * 2


def test_events_that_share_a_webhook_id_are_not_taken_for_one() -> None:
    """The docs' own samples show one id on two transfers, so it does not tell them apart."""
    bodies = [
        (FIXTURES / f"{name}.json").read_bytes()
        for name in ("transfer_successful", "transfer_successful_same_webhook_id")
    ]
    shared = {msgspec.json.decode(body)["webhook_id"] for body in bodies}
    told = {PACK.identify(Delivery((), body, AT_US))[0].event_id for body in bodies}

    assert len(shared) == 1
    assert len(told) == 2


@pytest.mark.parametrize(("destination", "minor"), [("EUR", "300044"), ("NGN", None)])
def test_a_transfer_between_currencies_has_no_amount(destination: str, minor: str | None) -> None:
    """A merchant may give it in either of the two, and the notification does not say which."""
    draft = PACK.normalize(transfer("EUR", destination), None)

    assert (draft.kind, draft.status, draft.provider_event.amount) == (
        "transfer", "succeeded", "3000.44",
    )  # fmt: skip
    assert (draft.amount.minor if draft.amount else None) == minor


def test_a_refund_has_an_amount_where_the_endpoint_names_its_currency() -> None:
    """v4's refund says how much and not of what."""
    body = (FIXTURES / "refund_completed_first_part.json").read_bytes()
    named = msgspec.convert({"refund_currency": "KES"}, PACK.options)

    assert PACK.normalize(body, None).amount is None
    amount = PACK.normalize(body, named).amount
    assert amount is not None
    assert (amount.minor, amount.currency, amount.exponent) == ("100025", "KES", 2)
