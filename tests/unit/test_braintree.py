"""Braintree: the published challenge, what its own library takes and refuses, XML that is safe."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.local.conformance import trial_options
from hookmill.providers.keys import verify_hmac
from hookmill.providers.pack import Answer, Draft, Terms
from hookmill.providers.packs.braintree import xml_value
from hookmill.providers.registry import PACKS

PACK = PACKS["braintree"]
FOLDER = Path(__file__).parents[1] / "fixtures"
PUBLIC, PRIVATE = "integration_public_key", "integration_private_key"
OTHER = "another_private_key"
[CHALLENGE] = [
    each
    for each in json.loads((FOLDER / "vectors.json").read_bytes())
    if each["name"] == "braintree-challenge"
]


def terms(*privates: str, public: str = PUBLIC) -> Terms:
    """The private keys as live secrets, under that public key or keys."""
    secrets = [Secret(text, PACK.key(text)) for text in privates or (PRIVATE,)]
    return Terms(secrets=secrets, options=trial_options(PACK, {"public_key": public}))


def signature(payload: str, *, private: str = PRIVATE, public: str = PUBLIC) -> str:
    """As Braintree makes it: of exactly that payload."""
    request = PACK.sign(
        urlencode({"bt_payload": payload}).encode(), secret=private, message_id="m", at_us=0,
        options=trial_options(PACK, {"public_key": public}),
    )  # fmt: skip
    [pair] = [each for each in request.body.decode().split("&") if each.startswith("bt_signature")]
    return pair.partition("=")[2].replace("%7C", "|")


def reason(form: str, said: Terms | None = None) -> Reason | None:
    """Why a form is refused; None if it is taken."""
    try:
        PACK.verify(Delivery((), form.encode(), 0), said or terms())
    except Refused as error:
        return error.reason
    return None


def form(payload: str, signed: str) -> str:
    """The body."""
    return urlencode({"bt_signature": signed, "bt_payload": payload})


def asked(query: str, said: Terms | None = None) -> Answer | None:
    """What a GET with that query is answered."""
    return PACK.handshake(Delivery((), b"", 0, query), "GET", said or terms())


def draft(xml: str, **options: str) -> Draft:
    """What a notification becomes."""
    payload = base64.b64encode(xml.encode()).decode()
    chosen = trial_options(PACK, options)
    return PACK.normalize(urlencode({"bt_payload": payload}).encode(), chosen)


def test_the_published_challenge_is_answered() -> None:
    """The test vector of their own library."""
    found = asked(f"bt_challenge={CHALLENGE['signed']}")

    assert found == Answer(status=200, body=CHALLENGE["expect"], content_type="text/plain")
    assert "GET" in PACK.handshake_methods


@pytest.mark.parametrize("query", ["", "challenge=20f9f8ed05f77439fe955c977e4c8a53", "x=1"])
def test_without_a_challenge_a_get_is_no_handshake(query: str) -> None:
    """So it is answered as any other wrong method."""
    assert asked(query) is None


@pytest.mark.parametrize(
    "challenge",
    ["", "bad challenge", "a" * 19, "a" * 33, "A" * 20, "g" * 20, "a" * 20 + "%0A",
     "a" * 20 + "&bt_challenge=" + "b" * 20],
)  # fmt: skip
def test_a_challenge_that_is_none_is_refused(challenge: str) -> None:
    """20 to 32 hexadecimal digits, once: nothing else is ever signed."""
    with pytest.raises(Refused) as refused:
        asked(f"bt_challenge={challenge}")

    assert refused.value.reason is Reason.MALFORMED_ENVELOPE


def test_what_the_handshake_signs_is_no_notification() -> None:
    """Anybody can ask for it: else a payload of hexadecimal digits could be forged."""
    challenge = "ab" * 12
    found = asked(f"bt_challenge={challenge}")
    assert found is not None

    assert reason(form(challenge, found.body)) is Reason.SIGNATURE_INVALID
    assert reason(form(challenge + "\n", found.body)) is Reason.SIGNATURE_INVALID
    assert reason(form("QQ==" * 6, signature("QQ==" * 6))) is None


def test_the_key_is_the_sha1_of_the_private_key() -> None:
    """The vector of their library's test_crypto.py."""
    secret = Secret("main", PACK.key("secretKey"))
    mac = bytes.fromhex("d503d7a1a6adba1e6474e9ff2c4167f9dfdf4247")

    assert verify_hmac(b"hello world", candidates=[mac], secrets=[secret], algorithm="sha1")


@given(st.binary(min_size=30, max_size=300))
def test_a_line_end_behind_the_payload_may_be_lost(raw: bytes) -> None:
    """Signed with it and sent without, or both with, or both without; not the other way round."""
    bare = base64.encodebytes(raw).decode().rstrip("\n")
    whole = bare + "\n"

    assert reason(form(whole, signature(whole))) is None
    assert reason(form(bare, signature(whole))) is None
    assert reason(form(bare, signature(bare))) is None
    assert reason(form(whole, signature(bare))) is Reason.SIGNATURE_INVALID
    assert reason(form(bare, signature(whole + "\n"))) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("odd", ["~* invalid! *~", "QQ==\r\n", "QQ-_", "QQ== ", "QQ\t==", "Qé=="])
def test_a_payload_of_other_letters_is_refused_however_it_is_signed(odd: str) -> None:
    """Their library refuses it before it looks at the signature."""
    assert reason(form(odd, signature(odd))) is Reason.SIGNATURE_INVALID


def test_only_the_pair_of_our_public_key_counts() -> None:
    """Others may stand beside it; ours with another's signature is none."""
    payload = "QUJD" * 10
    good = signature(payload)
    mac = good.partition("|")[2]

    assert reason(form(payload, f"other|{'0' * 40}&{good}")) is None
    assert reason(form(payload, f"{good}&other|{'0' * 40}")) is None
    assert reason(form(payload, f"other|{mac}")) is Reason.SIGNATURE_INVALID
    assert reason(form(payload, mac)) is Reason.SIGNATURE_INVALID
    assert reason(form(payload, "bad_stuff")) is Reason.SIGNATURE_INVALID
    assert reason(form(payload, "")) is Reason.SIGNATURE_MISSING
    assert reason(urlencode({"bt_payload": payload})) is Reason.SIGNATURE_MISSING
    assert reason(urlencode({"bt_signature": good})) is Reason.SIGNATURE_MISSING
    assert reason(form(payload, good) + f"&bt_payload={payload}") is Reason.SIGNATURE_MISSING


def test_a_key_pair_is_changed_without_a_gap() -> None:
    """With both pairs known, deliveries of either are taken; the first answers challenges."""
    both = terms(OTHER, PRIVATE, public=f"new_key, {PUBLIC}")
    payload = "QUJD" * 10
    old, new = signature(payload), signature(payload, private=OTHER, public="new_key")

    assert reason(form(payload, old), both) is None
    assert reason(form(payload, new), both) is None
    assert reason(form(payload, f"{old}&{new}"), both) is None
    assert reason(form(payload, new)) is Reason.SIGNATURE_INVALID
    found = asked(f"bt_challenge={CHALLENGE['signed']}", both)
    assert found is not None
    assert found.body.startswith("new_key|")
    assert found.body[8:] != CHALLENGE["expect"].partition("|")[2]


@pytest.mark.parametrize("public", ["", " ", "a|b", "a&b", "a,,b", "a b"])
def test_a_public_key_that_is_none_is_told(public: str) -> None:
    """At the start, not with the first delivery."""
    with pytest.raises(ValueError, match="public_key"):
        PACK.check_options(trial_options(PACK, {"public_key": public}))


@pytest.mark.parametrize(("given_", "minor"), [("", None), ("EUR", "1000"), ("JPY", "10")])
def test_the_endpoint_may_say_the_currency(given_: str, minor: str | None) -> None:
    """Of notifications that name none; without it the amount is not told, and the event counts."""
    xml = """<notification><timestamp type="datetime">2026-11-25T12:30:00Z</timestamp>
      <kind>local_payment_completed</kind><subject><local-payment><payment-id>P</payment-id>
      <transaction><id>1</id><status>authorizing</status><amount>10.00</amount></transaction>
      </local-payment></subject></notification>"""
    found = draft(xml, **({"currency": given_} if given_ else {}))

    assert (found.kind, found.status) == ("payment", "authorized")
    assert (found.amount.minor if found.amount else None) == minor


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ("<a/>", None), ("<a></a>", None), ('<a nil="true"/>', None), ("<a> 1.50 </a>", "1.50"),
        ('<a type="integer">007</a>', "007"), ('<a type="boolean">true</a>', True),
        ('<a type="boolean">\n true\n</a>', True), ('<a type="boolean">no</a>', False),
        ('<a type="array"/>', []), ('<a type="array"><i>1</i><i>2</i></a>', ["1", "2"]),
        ("<a><b-c>1</b-c><d_e>2</d_e></a>", {"b_c": "1", "d_e": "2"}),
        ("<a>x&amp;y<!-- z --></a>", "x&y"), ("<a><![CDATA[<b>]]></a>", "<b>"),
        ("<a>mixed<b>1</b></a>", {"b": "1"}),
    ],
)  # fmt: skip
def test_xml_is_read_as_their_library_reads_it(xml: str, value: Any) -> None:
    """Names with underscores, arrays, nothing and truths; a figure keeps its text."""
    assert xml_value(xml.encode()) == ("a", value)


@pytest.mark.parametrize(
    "xml",
    [
        "", " ", "x", "<a>", "<a></b>", "<a/><b/>", "<a>&x;</a>", '<a b="1" b="2"/>',
        '<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY x "yyyy">]><a>&x;</a>',
        "<a>" * 101 + "</a>" * 101,
    ],
)  # fmt: skip
def test_xml_that_is_none_or_could_do_harm_is_set_aside(xml: str) -> None:
    """No document type, so no entity; no depth without an end."""
    with pytest.raises(UnparseableBody):
        xml_value(xml.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_xml_or_unparseable(raw: bytes) -> None:
    """Nothing else is raised."""
    try:
        name, _ = xml_value(b"<a>" + raw + b"</a>")
    except UnparseableBody:
        return
    assert name == "a"


def test_a_settlement_that_is_returned_later_counts_by_its_time() -> None:
    """The provider says to go by the timestamp, so the change carries it."""
    xml = """<notification><timestamp type="datetime">{at}</timestamp><kind>{kind}</kind><subject>
      <transaction><id>t</id><type>sale</type><amount>1.00</amount>
      <currency-iso-code>USD</currency-iso-code></transaction></subject></notification>"""
    settled = draft(xml.format(kind="transaction_settled", at="2026-11-25T12:00:00Z"))
    declined = draft(xml.format(kind="transaction_settlement_declined", at="2026-11-27T12:00:00Z"))

    [one], [other] = settled.changes, declined.changes
    assert (one.resource_id, one.status) == ("t", "succeeded")
    assert (other.resource_id, other.status) == ("t", "failed")
    assert (one.rank, one.time_us) < (other.rank, other.time_us)
