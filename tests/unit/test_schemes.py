"""The schemes by published vectors: each provider's signature, described and never programmed."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from svix.webhooks import Webhook

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.schemes.asymmetric import Ecdsa, Rsa
from hookmill.providers.schemes.items import items_at, one_item
from hookmill.providers.schemes.mac import Hash, Hmac, StandardWebhooks
from hookmill.providers.schemes.moments import epoch_us, written
from hookmill.providers.schemes.scheme import Place, Scheme
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import Source, groups, render
from hookmill.providers.schemes.token import Basic, Token
from hookmill.providers.terms import Signing, Terms

VECTORS: dict[str, dict[str, Any]] = {
    each["name"]: each
    for each in json.loads((Path(__file__).parents[1] / "fixtures" / "vectors.json").read_bytes())
}


class Chosen(NamedTuple):
    """An endpoint's options."""

    url: str = ""
    public_key: str = ""


ADYEN = Hmac(
    signature=Place(field="/additionalData/hmacSignature", encoding="base64"),
    signed="{/pspReference?}:{/originalReference?}:{/merchantAccountCode?}:{/merchantReference?}:"
    "{/amount/value?}:{/amount/currency?}:{/eventCode?}:{/success?}",
    key_form="hex",
    each="/notificationItems/*/NotificationRequestItem",
)
BRAINTREE = Hmac(
    signature=Place(form="bt_signature", separator="&", joint="|", label="{option:public_key}"),
    signed="{form:bt_payload}",
    algorithm="sha1",
    key_form="sha1",
)
SQUARE = Hmac(
    signature=Place(header="x-square-hmacsha256-signature", encoding="base64"),
    signed="{option:url}{body}",
)
MIDTRANS = Hash(
    signature=Place(field="/signature_key"),
    signed="{/order_id}{/status_code}{/gross_amount}{key}",
)
MERCADO = Hmac(
    signature=Place(header="x-signature", separator=",", joint="=", label="v1"),
    signed="[id:{query:data.id};][request-id:{header:x-request-id};]ts:{param:ts};",
    time="param:ts",
    time_unit="s-or-ms",
)


def reason(scheme: Scheme, delivery: Delivery, secret: str, **terms: Any) -> Reason | None:
    """Why it is refused, None where it is taken."""
    live = Secret("main", scheme.key(secret))
    try:
        assert scheme.verify(delivery, Terms(secrets=[live], **terms)) == live
    except Refused as error:
        return error.reason
    return None


def item(**fields: Any) -> dict[str, Any]:
    """An item as Adyen sends it, signed by nobody."""
    return {
        "pspReference": "7914073381342284", "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704", "eventCode": "AUTHORISATION",
        "amount": {"value": 1130, "currency": "EUR"}, "success": "true", **fields,
    }  # fmt: skip


def adyen(*items: dict[str, Any]) -> Delivery:
    """A delivery of several."""
    listed = [{"NotificationRequestItem": each} for each in items]
    return Delivery((), json.dumps({"live": "false", "notificationItems": listed}).encode(), 0)


def test_fields_of_an_item_are_signed() -> None:
    """Adyen's vector, which is published; each item must be signed by itself."""
    vector = VECTORS["adyen-authorisation"]
    good = item(additionalData={"hmacSignature": vector["expect"]})
    forged = {**good, "success": "false"}

    assert reason(ADYEN, adyen(good), vector["key_hex"]) is None
    assert reason(ADYEN, adyen(good, good), vector["key_hex"]) is None
    assert reason(ADYEN, adyen(good, forged), vector["key_hex"]) == "signature_invalid"
    assert reason(ADYEN, adyen(good, item()), vector["key_hex"]) == "signature_missing"
    assert reason(ADYEN, adyen(), vector["key_hex"]) == "malformed_envelope"
    for body in (b"", b"[]", b"{}", b'{"notificationItems":{}}', b'{"notificationItems":[1]}'):
        assert reason(ADYEN, Delivery((), body, 0), vector["key_hex"]) == "malformed_envelope"


def test_the_simulator_puts_signatures_into_the_items() -> None:
    """Where the signature lies in the body, the body is signed as it will be read."""
    body = adyen(item(), item(success="false")).body
    signing = Signing(secret="44782DEF", message_id="m", at_us=0)
    made = ADYEN.sign(body, signing)

    assert reason(ADYEN, Delivery((), made.body, 0), "44782DEF") is None
    assert len(items_at(made.body, ADYEN.each)) == 2


def test_the_address_is_signed_with_the_body() -> None:
    """Square's vector: the address is the endpoint's own, an option."""
    vector = VECTORS["square-test-notification"]
    header = ("x-square-hmacsha256-signature", vector["expect"])
    delivery = Delivery((header,), vector["body"].encode(), 0)
    right, wrong = Chosen(vector["notification_url"]), Chosen(vector["notification_url"] + "/")

    assert reason(SQUARE, delivery, vector["key_text"], options=right) is None
    assert reason(SQUARE, delivery, vector["key_text"], options=wrong) == "signature_invalid"
    assert reason(SQUARE, delivery, vector["key_text"]) == "signature_invalid"


def test_a_body_is_signed_to_the_byte() -> None:
    """Razorpay's vector, its trailing newline included."""
    vector = VECTORS["razorpay-payment-authorized"]
    body = base64.b64decode(vector["body_b64"])
    scheme = Hmac(signature=Place(header="x-razorpay-signature"))
    header = ("x-razorpay-signature", vector["expect"])

    assert reason(scheme, Delivery((header,), body, 0), vector["key_text"]) is None
    stripped = Delivery((header,), body.rstrip(b"\n"), 0)
    assert reason(scheme, stripped, vector["key_text"]) == "signature_invalid"


def test_a_hash_has_the_secret_in_it() -> None:
    """Midtrans: the vector's fields, cut as its page writes them."""
    vector = VECTORS["midtrans-doc-inputs"]
    fields = {"order_id": "1111", "status_code": "200", "gross_amount": "100000.00"}
    body = json.dumps({**fields, "signature_key": vector["expect"]}).encode()
    secret = vector["signed"].removeprefix("1111200100000.00")

    assert reason(MIDTRANS, Delivery((), body, 0), secret) is None
    for name in fields:
        other = json.dumps({**json.loads(body), name: "1"}).encode()
        assert reason(MIDTRANS, Delivery((), other, 0), secret) == "signature_invalid"
    without = json.dumps({"signature_key": vector["expect"]}).encode()
    assert reason(MIDTRANS, Delivery((), without, 0), secret) == "signature_invalid"


def test_a_form_is_signed_under_the_name_of_a_key() -> None:
    """Braintree: only the entry of our public key counts; the MAC is the challenge's vector."""
    vector = VECTORS["braintree-challenge"]
    ours = Chosen(public_key="integration_public_key")

    def delivery(signature: str, payload: str = vector["signed"]) -> Delivery:
        form = urlencode({"bt_signature": signature, "bt_payload": payload})
        return Delivery((), form.encode(), 0)

    secret, good = vector["key_text"], vector["expect"]
    assert reason(BRAINTREE, delivery(good), secret, options=ours) is None
    assert reason(BRAINTREE, delivery(f"other|00&{good}"), secret, options=ours) is None
    foreign = good.replace("integration_public_key", "another")
    assert reason(BRAINTREE, delivery(foreign), secret, options=ours) == "signature_invalid"
    bent = delivery(good, vector["signed"] + "\n")
    assert reason(BRAINTREE, bent, secret, options=ours) == "signature_invalid"
    assert reason(BRAINTREE, Delivery((), b"bt_payload=x", 0), secret) == "signature_missing"


@pytest.mark.parametrize(
    ("query", "headers", "message"),
    [
        ("data.id=ABC&type=payment", {"x-request-id": "r"}, "id:ABC;request-id:r;ts:17;"),
        ("type=payment", {"x-request-id": "r"}, "request-id:r;ts:17;"),
        ("data.id=ABC", {}, "id:ABC;ts:17;"),
        ("data.id=a&data.id=b", {}, "ts:17;"),
        ("", {}, "ts:17;"),
    ],
)
def test_absent_parts_are_left_out(query: str, headers: dict[str, str], message: str) -> None:
    """Mercado Pago's manifest."""
    listed = {name: [value] for name, value in headers.items()}
    source = Source(b"", headers=listed, query=query, params={"ts": ["17"]})

    assert render(MERCADO.signed, source) == message.encode()


def test_seconds_and_milliseconds_are_told_apart() -> None:
    """Where a provider's own code and test data differ."""
    assert epoch_us("1742505638683", "s-or-ms") == 1_742_505_638_683_000
    assert epoch_us("1742505638", "s-or-ms") == 1_742_505_638_000_000
    assert epoch_us("2015-05-18T15:45:13Z", "rfc3339") == 1_431_963_913_000_000
    assert written(1_431_963_913_000_000, "rfc3339") == "2015-05-18T15:45:13Z"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e9", " 1", "9" * 40, "٣", None])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "s-or-ms", "rfc3339"])
def test_what_is_no_time_is_none(text: str | None, unit: Any) -> None:
    """Nothing is guessed."""
    assert epoch_us(text, unit) is None


def test_a_checksum_of_the_body_is_signed() -> None:
    """PayPal's message as its own sample has it; the CRC-32 is decimal."""
    vector = VECTORS["paypal-signed-string"]
    headers = {name.lower(): [value] for name, value in vector["headers"].items()}
    source = Source(
        vector["body"].encode(), headers=headers, options=Chosen(public_key=vector["webhook_id"])
    )
    template = (
        "{header:paypal-transmission-id}|{header:paypal-transmission-time}|{option:public_key}|"
        "{crc32}"
    )

    assert render(template, source).decode() == vector["signed"]


def test_svix_signs_what_standard_webhooks_takes() -> None:
    """Its own library is the oracle."""
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime(2026, 1, 2, tzinfo=UTC)
    signature = Webhook(secret).sign("msg_1", at, '{"a":1}')
    at_us = int(at.timestamp()) * 1_000_000
    signing = Signing(secret=secret, message_id="msg_1", at_us=at_us)
    made = StandardWebhooks().sign(b'{"a":1}', signing)

    assert made.headers["webhook-signature"] == signature
    delivery = Delivery(tuple(made.headers.items()), made.body, at_us)
    assert reason(StandardWebhooks(), delivery, secret) is None


WISE = Rsa(signature=Place(header="x-signature-sha256", encoding="base64"))
NAMED = Rsa(signature=Place(header="x-sig", encoding="base64"), names=("*.paypal.com",))
DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def certificate(key: rsa.RSAPrivateKey, name: str) -> str:
    """A certificate for that name, valid the day before and after NOW."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    built = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW - DAY, NOW + DAY)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(private: rsa.RSAPrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(private: rsa.RSAPrivateKey) -> str:
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def sent(scheme: Rsa, private: rsa.RSAPrivateKey, at: datetime = NOW) -> Delivery:
    """Signed by the private key."""
    made = scheme.sign(b"{}", Signing(secret=pem(private), message_id="m", at_us=0))
    return Delivery(tuple(made.headers.items()), made.body, int(at.timestamp()) * 1_000_000)


def test_a_pinned_key_checks_what_its_private_half_signed(private: rsa.RSAPrivateKey) -> None:
    """The provider's public key is the endpoint's secret; it cannot sign."""
    assert reason(WISE, sent(WISE, private), public_pem(private)) is None
    assert reason(WISE, sent(WISE, private), pem(private)) is None
    with pytest.raises(ValueError, match="only the provider has the private key"):
        WISE.sign(b"{}", Signing(secret=public_pem(private), message_id="m", at_us=0))


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("messageverification.paypal.com", NOW, None),
        ("messageverification.paypal.com", NOW + 2 * DAY, "signature_invalid"),
        ("messageverification.paypal.com", NOW - 2 * DAY, "signature_invalid"),
    ],
)
def test_a_certificate_holds_while_it_is_valid(
    private: rsa.RSAPrivateKey, name: str, at: datetime, expected: str | None
) -> None:
    """By the time of the delivery."""
    assert reason(NAMED, sent(NAMED, private, at), certificate(private, name)) == expected


@pytest.mark.parametrize(
    "name", ["paypal.com", "paypal.com.evil.example", "a.b.paypal.com", "xpaypal.com", ""]
)
def test_a_certificate_for_another_name_is_none(private: rsa.RSAPrivateKey, name: str) -> None:
    """It is refused where it is configured."""
    with pytest.raises(ValueError, match="paypal"):
        NAMED.key(certificate(private, name or "evil.example"))


def test_a_key_that_proves_nothing_is_refused(private: rsa.RSAPrivateKey) -> None:
    """A bare key where a certificate is asked for, a short one, another kind, no key at all."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="a certificate for"):
        NAMED.key(public_pem(private))
    with pytest.raises(ValueError, match="2048 bits"):
        WISE.key(public_pem(short))
    with pytest.raises(ValueError, match="no elliptic curve key"):
        Ecdsa(signature=Place(header="x")).key(public_pem(private))
    for text in ("", "secret", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(ValueError, match="PEM"):
            WISE.key(text)


@pytest.mark.parametrize(
    ("scheme", "header", "value", "expected"),
    [
        (Token(header="verif-hash"), "verif-hash", "s3cret", None),
        (Token(header="verif-hash"), "verif-hash", "S3CRET", "secret_invalid"),
        (Token(header="verif-hash"), "other", "s3cret", "signature_missing"),
        (Token(header="a", word="Bearer"), "a", "bearer s3cret", None),
        (Token(header="a", word="Bearer"), "a", "s3cret", "secret_invalid"),
        (Token(header="a", word="Bearer"), "a", "Bearer s3cret x", "secret_invalid"),
    ],
)
def test_a_token_is_the_secret_itself(
    scheme: Token, header: str, value: str, expected: str | None
) -> None:
    """Behind its word, where it has one."""
    assert reason(scheme, Delivery(((header, value),), b"", 0), "s3cret") == expected


def test_basic_authentication_is_both_parts() -> None:
    """In their one spelling."""
    text = base64.b64encode(b"user:pass:word").decode()

    assert reason(Basic(), Delivery((("authorization", f"Basic {text}"),), b"", 0),
                  "user:pass:word") is None  # fmt: skip
    for other in (text.rstrip("="), text + "=", base64.b64encode(b"user:pass").decode()):
        delivery = Delivery((("authorization", f"Basic {other}"),), b"", 0)
        assert reason(Basic(), delivery, "user:pass:word") == "secret_invalid"
    for text in ("user", ":password", "user:", ""):
        with pytest.raises(ValueError, match="user:password"):
            Basic().key(text)


@pytest.mark.parametrize(
    "template", ["{", "}", "{nothing}", "[{body}", "{body}]", "{header:}", "[[{body}]]", "{body"]
)
def test_a_template_that_cannot_be_is_refused(template: str) -> None:
    """With words that say what there is."""
    with pytest.raises(ValueError, match=r"."):
        groups(template)


def test_text_in_a_template_is_only_text() -> None:
    """Braces and brackets of the request are never read as a template."""
    source = Source(b"{body}[x]", headers={"a": ["{crc32}"]})

    assert render("{=[}{header:a}{=]}/{body}", source) == b"[{crc32}]/{body}[x]"


def test_an_item_takes_its_exact_bytes_along() -> None:
    """And what it may keep of the envelope, as long as that is short."""
    body = b'{"live": "false", "big": "%s", "x": [ {"a":1.50} , {"a": 2}]}' % (b"y" * 300)

    assert items_at(body, "/x/*") == [b'{"a":1.50}', b'{"a": 2}']
    kept = one_item(body, "/x/*", b'{"a":1.50}', ("/live", "/big", "/none"))
    assert kept == b'{"x":[{"a":1.50}],"live":"false"}'


@pytest.mark.parametrize(
    ("scheme", "problem"),
    [
        (Hmac(signature=Place()), "exactly one of header, field, form"),
        (Hmac(signature=Place(header="a", field="/b")), "exactly one of"),
        (Hmac(signature=Place(header="a b")), "no name of a header"),
        (Hmac(signature=Place(field="a")), "no JSON pointer"),
        (Hmac(signature=Place(header="a", label="v1")), "label and joint"),
        (Hmac(signature=Place(field="/a", repeats=True)), "repeats"),
        (Hmac(signature=Place(header="a"), signed="x"), "nothing of the request"),
        (Hmac(signature=Place(header="a"), time="header:t"), "not signed proves nothing"),
        (Hmac(signature=Place(header="a"), tolerance_secs=5), "no time is signed"),
        (Hmac(signature=Place(header="a"), signed="{nothing}"), "is no expression"),
        (Hash(signature=Place(header="a")), "{key}"),
        (Rsa(signature=Place(header="a"), names=("a.*.com",)), "first label"),
        (Token(header="a b"), "no name of a header"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_a_scheme_that_proves_nothing_is_told(scheme: Scheme, problem: str) -> None:
    """Before anything is verified with it."""
    assert any(problem in each for each in scheme.problems())


def test_every_described_scheme_is_sound() -> None:
    """Those of this file."""
    for scheme in (ADYEN, BRAINTREE, SQUARE, MIDTRANS, MERCADO, WISE, NAMED, StandardWebhooks()):
        assert isinstance(scheme, Signed)
        assert list(scheme.problems()) == []
