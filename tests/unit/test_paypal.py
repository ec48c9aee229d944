"""PayPal: its certificate is pinned, nothing is fetched, and its own signed messages verify."""

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.times import rfc3339_epoch_us
from hookmill.providers.pack import Draft, Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["paypal"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "paypal"
VECTORS: list[dict[str, Any]] = json.loads((FIXTURES / "vectors.json").read_bytes())
SIGNED_BY_PAYPAL: str = VECTORS[0]["secret"]
BODY = VECTORS[0]["body"].encode()
LIVE = "messageverificationcerts.paypal.com"
AT = datetime(2026, 6, 1, tzinfo=UTC)
AT_US = int(AT.timestamp()) * 1_000_000
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def options(**chosen: str) -> Any:
    """The options of an endpoint."""
    return msgspec.convert({"webhook_id": "WEBHOOK_ID", **chosen}, PACK.options)


def certificate(common_name: str, *, until: datetime = AT + timedelta(days=300)) -> str:
    """A certificate of our own for that name, PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(AT - timedelta(days=60))
        .not_valid_after(until)
        .sign(KEY, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def delivery(vector: dict[str, Any], at_us: int | None = None, **changed: str) -> Delivery:
    """The vector as it arrives, by default when it was sent; `changed` headers by name."""
    headers = {
        **vector["headers"],
        **{key.replace("_", "-"): value for key, value in changed.items()},
    }
    sent_us = rfc3339_epoch_us(vector["headers"]["paypal-transmission-time"])
    pairs = tuple((name.lower(), value) for name, value in headers.items())
    return Delivery(pairs, vector["body"].encode(), at_us or sent_us or 0)


def judged(
    request: Delivery, *secrets: str, webhook_id: str = "WEBHOOK_ID", tolerance: int | None = None
) -> Reason | None:
    """Why the pack refuses it, None if it takes it."""
    chosen = options(webhook_id=webhook_id)
    pinned = [Secret(str(number), PACK.key(text, chosen)) for number, text in enumerate(secrets)]
    terms = Terms(secrets=pinned, options=chosen, tolerance_secs=tolerance)
    try:
        PACK.verify(request, terms)
    except Refused as error:
        return error.reason
    return None


def signed(body: bytes = BODY, at_us: int = AT_US) -> Delivery:
    """The body signed by our own key."""
    request = PACK.sign(body, secret=KEY_PEM, message_id="m", at_us=at_us, options=options())
    pairs = tuple((name.lower(), value) for name, value in request.headers.items())
    return Delivery(pairs, request.body, at_us, request.query)


def drafted(name: str, **chosen: str) -> Draft:
    """What a fixture becomes under these options."""
    return PACK.normalize((FIXTURES / f"{name}.json").read_bytes(), options(**chosen))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_what_paypal_signed_is_taken_by_its_certificate(vector: dict[str, Any]) -> None:
    """And refused for another webhook, with another body, by another certificate."""
    request = delivery(vector)

    assert judged(request, SIGNED_BY_PAYPAL) is None
    assert judged(request, SIGNED_BY_PAYPAL, webhook_id="4JH86294D6297924G") is (
        Reason.SIGNATURE_INVALID
    )
    assert judged(request, certificate(LIVE)) is Reason.SIGNATURE_INVALID
    longer = msgspec.structs.replace(request, body=request.body + b" ")
    assert judged(longer, SIGNED_BY_PAYPAL) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.org/cert.pem", "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example.org/c", "https://api.paypal.com.evil.example.org/c",
        "file:///etc/passwd", "http://169.254.169.254/latest", "//evil.example.org", "", "\x00",
    ],
)  # fmt: skip
def test_nothing_in_a_request_makes_us_fetch(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever address a request names, the pinned certificate alone decides."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", asked)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr(socket, "create_connection", asked)

    assert judged(delivery(VECTORS[0], paypal_cert_url=address), SIGNED_BY_PAYPAL) is None
    forged = msgspec.structs.replace(
        signed(), headers=(*signed().headers, ("paypal-cert-url", address))
    )
    assert judged(forged, SIGNED_BY_PAYPAL) is Reason.SIGNATURE_INVALID


def test_a_request_without_that_address_is_taken_all_the_same() -> None:
    """It proves nothing, so nothing depends on it."""
    whole = delivery(VECTORS[0])
    bare = tuple(pair for pair in whole.headers if pair[0] != "paypal-cert-url")

    assert judged(msgspec.structs.replace(whole, headers=bare), SIGNED_BY_PAYPAL) is None


def test_the_address_is_kept_as_evidence() -> None:
    """So that whoever verifies again knows which certificate PayPal meant."""
    kept = PACK.evidence(delivery(VECTORS[0]), options())

    assert kept["paypal-cert-url"] == [VECTORS[0]["headers"]["paypal-cert-url"]]


@pytest.mark.parametrize("name", [LIVE, "messageverificationcerts.sandbox.paypal.com"])
def test_a_certificate_for_paypal_can_be_pinned(name: str) -> None:
    """The live and the sandbox's."""
    assert judged(signed(), certificate(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        "evilpaypal.com", "paypal.com", "x.paypal.com.example.org", "paypal.com.example.org",
        "a.b.paypal.com", "certs.example.org", ".paypal.com", "*.example.org",
    ],
)  # fmt: skip
def test_a_certificate_for_another_name_cannot_be_pinned(name: str) -> None:
    """The start tells the operator which name is wanted."""
    with pytest.raises(ValueError, match=r"\*\.paypal\.com"):
        PACK.key(certificate(name), options())


def test_a_bare_public_key_cannot_be_pinned() -> None:
    """It has no name and no end."""
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(ValueError, match="certificate"):
        PACK.key(public.decode(), options())


def test_a_private_key_may_stand_in_for_trials_but_lends_no_certificate_a_name() -> None:
    """A file with both is judged by its certificate."""
    assert judged(signed(), KEY_PEM) is None
    with pytest.raises(ValueError, match="not"):
        PACK.key(certificate("certs.example.org") + KEY_PEM, options())
    with pytest.raises(ValueError, match="not"):
        PACK.key(KEY_PEM + certificate("certs.example.org"), options())


def test_a_certificate_that_has_ended_proves_nothing() -> None:
    """PayPal's own of 2024, a year later; and one that has not begun."""
    year_us = 365 * 86_400 * 1_000_000
    sent_us = delivery(VECTORS[0]).received_at_us

    assert judged(delivery(VECTORS[0], sent_us + year_us), SIGNED_BY_PAYPAL) is (
        Reason.SIGNATURE_INVALID
    )
    assert judged(delivery(VECTORS[0], sent_us - year_us), SIGNED_BY_PAYPAL) is (
        Reason.SIGNATURE_INVALID
    )


def test_while_paypal_changes_its_certificate_both_are_live() -> None:
    """The ended one beside its successor does no harm."""
    ended = certificate(LIVE, until=AT - timedelta(days=1))

    assert judged(signed(), ended) is Reason.SIGNATURE_INVALID
    assert judged(signed(), ended, certificate(LIVE)) is None
    assert judged(signed(), certificate(LIVE), ended) is None


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        ("SHA1withRSA", Reason.SIGNATURE_INVALID), ("sha256", Reason.SIGNATURE_INVALID),
        ("none", Reason.SIGNATURE_INVALID), ("", Reason.SIGNATURE_MISSING),
    ],
)  # fmt: skip
def test_another_algorithm_is_refused(algorithm: str, reason: Reason) -> None:
    """Even where the signature would fit."""
    assert judged(delivery(VECTORS[0], paypal_auth_algo=algorithm), SIGNED_BY_PAYPAL) is reason


def test_the_time_is_judged_only_where_the_endpoint_says_so() -> None:
    """PayPal does not say that a redelivery has a time of its own."""
    three_days_us = 3 * 86_400 * 1_000_000
    late = delivery(VECTORS[0], delivery(VECTORS[0]).received_at_us + three_days_us)

    assert judged(late, SIGNED_BY_PAYPAL) is None
    assert judged(late, SIGNED_BY_PAYPAL, tolerance=300) is Reason.TIMESTAMP_OUT_OF_TOLERANCE


def test_what_the_simulator_sends_is_a_test() -> None:
    """Though its addresses are the live ones."""
    assert drafted("capture_completed").mode == "test"
    assert drafted("capture_completed", webhook_id="4JH86294D6297924G").mode == "live"


def test_a_webhook_id_that_can_be_none_is_refused_at_the_start() -> None:
    """It is a part of what is signed: no bar may be in it."""
    PACK.check_options(options(webhook_id="4JH86294D6297924G"))
    for wrong in ("", "a|b", "https://example.org/hook", "x" * 51):
        with pytest.raises(ValueError, match="webhook_id"):
            PACK.check_options(options(webhook_id=wrong))


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("HELD", "pending"), ("UNCLAIMED", "pending"), ("SUCCEEDED", "succeeded"),
        ("BLOCKED", "failed"), ("CANCELED", "failed"), ("DENIED", "failed"), ("FAILED", "failed"),
        ("RETURNED", "reversed"), ("REFUNDED", "reversed"),
    ],
)  # fmt: skip
def test_items_or_batches_are_counted_never_both(word: str, becomes: str) -> None:
    """The endpoint chooses; the other is kept without effect."""
    raw = json.loads((FIXTURES / "payouts_item_where_batches_count.json").read_bytes())
    raw["event_type"] = f"PAYMENT.PAYOUTS-ITEM.{word}"
    body = json.dumps(raw).encode()
    item = PACK.normalize(body, options(payouts="items"))

    assert (item.kind, item.status) == ("transfer", becomes)
    assert item.amount is not None
    assert item.amount.minor == "1200"
    assert item.subject == "X8CUZMZFAJMB8"
    assert PACK.normalize(body, options()).status == "unrecognized"
    assert drafted("payouts_batch_success", payouts="items").status == "unrecognized"
    assert drafted("payouts_batch_success").kind == "transfer"


def test_parts_of_a_refund_are_refunds_of_one_payment() -> None:
    """Two events, two ids, one subject."""
    one, other = drafted("capture_refunded"), drafted("capture_refunded_second_part")

    assert one.changes[0].resource_id != other.changes[0].resource_id
    assert one.subject == other.subject == one.links.payment
    assert one.subject == drafted("refund_pending").subject


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["href", "rel", "total", "x"]), inner),
                    max_leaves=8))  # fmt: skip
def test_whatever_stands_in_links_is_read_without_an_error(value: Any) -> None:
    """They are a part of a body that need not have any form."""
    body = json.dumps(
        {
            "id": "WH-1",
            "event_type": "PAYMENT.SALE.REFUNDED",
            "links": value,
            "resource": {"id": "1", "links": value, "amount": value, "state": "completed"},
        }
    ).encode()
    try:
        PACK.normalize(body, options())
    except UnparseableBody:
        pytest.fail("it is JSON")
