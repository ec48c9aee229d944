"""Stripe: its own library signs and judges as the pack does."""

import json
from pathlib import Path

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["stripe"]
SECRET = "whsec_test_secret"
TERMS = Terms(secrets=[Secret("main", PACK.key(SECRET))], tolerance_secs=300)
AT_SECS = 1_763_888_400
FIXTURES = Path(__file__).parents[1] / "fixtures"


def theirs(body: str, header: str, now_secs: int) -> bool:
    """Whether Stripe's library takes it; its own clock is set aside, the time judged here."""
    try:
        stripe.WebhookSignature.verify_header(body, header, SECRET, tolerance=None)  # type: ignore[no-untyped-call]
    except stripe.SignatureVerificationError:
        return False
    stamp = int(header.split("t=")[1].split(",")[0])
    return stamp >= now_secs - 300


def ours(body: str, header: str, now_secs: int) -> Reason | None:
    """Why the pack refuses it, None if it takes it."""
    delivery = Delivery((("stripe-signature", header),), body.encode(), now_secs * 1_000_000)
    try:
        PACK.verify(delivery, TERMS)
    except Refused as error:
        return error.reason
    return None


def signed(body: str, *, at_secs: int = AT_SECS) -> str:
    """The header as the pack's simulator makes it."""
    request = PACK.sign(
        body.encode(), secret=SECRET, message_id="m", at_us=at_secs * 1_000_000, options=None
    )
    return request.headers["stripe-signature"]


@given(st.text(max_size=200), st.integers(-600, 600))
def test_what_we_sign_their_library_takes(body: str, away_secs: int) -> None:
    """And judges old times as the pack does; it lets the future pass, which the pack does not."""
    header = signed(body, at_secs=AT_SECS + away_secs)
    reason = ours(body, header, AT_SECS)

    assert theirs(body, header, AT_SECS) == (away_secs >= -300)
    assert (reason is None) == (abs(away_secs) <= 300)
    assert reason in (None, Reason.TIMESTAMP_OUT_OF_TOLERANCE)


@pytest.mark.parametrize(
    "header",
    [
        "{good}", "{good},v0=00", "v0=00,{good}", "t=1,{good}", "{good},t=1", "{bad},{sig}",
        "{t},v1=00,{sig}", "{t},{sig},v1=00", "{sig},{t}", "{t}", "{sig}", "", "t=,{sig}",
        "{t},v2={mac}", "{t},v1={mac}x", "{t},v1= {mac}", "{t}x,{sig}", "{t},v1={wrong}",
    ],
)  # fmt: skip
def test_no_header_is_taken_that_their_library_refuses(header: str) -> None:
    """The pack may be stricter, never looser."""
    body = '{"id":"evt_1"}'
    good = signed(body)
    t, sig = good.split(",")
    text = header.format(good=good, t=t, sig=sig, mac=sig[3:], bad="t=1", wrong="0" * 64)
    try:
        taken = theirs(body, text, AT_SECS)
    except ValueError:  # their own parser stumbles
        taken = False

    if ours(body, text, AT_SECS) is None:
        assert taken


def test_the_published_inputs_give_the_digest() -> None:
    """The payload and secret of the library's own tests."""
    [vector, _] = json.loads((FIXTURES / "stripe" / "vectors.json").read_bytes())
    request = PACK.sign(
        vector["body"].encode(), secret=SECRET, message_id="m", at_us=12_345_000_000, options=None
    )

    assert request.headers["stripe-signature"] == vector["headers"]["stripe-signature"]


@pytest.mark.parametrize("at", ["", "x", "-12345", "1e5"])
def test_a_time_that_is_none_is_refused(at: str) -> None:
    """Forged or not."""
    assert ours("{}", f"t={at},v1=00", AT_SECS) is Reason.SIGNATURE_INVALID
