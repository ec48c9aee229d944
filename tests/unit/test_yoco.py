"""Yoco: three signed headers, three types of event, and amounts in cents."""

import base64
import hashlib
import hmac
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.event import STATUSES, Links
from hookmill.core.parse import Number
from hookmill.core.resource import TERMINAL_RANK, Change
from hookmill.local.stories import yoco as told
from hookmill.providers.pack import Draft, Terms
from hookmill.providers.registry import PACKS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "yoco"
CASES = sorted(
    path.name.removesuffix(".expected.json") for path in FIXTURES.glob("*.expected.json")
)
VECTORS = json.loads((FIXTURES / "vectors.json").read_text())
TEXT = json.loads((FIXTURES / "secrets.json").read_text())["secrets"][0]["text"]
SAMPLE = (FIXTURES / "payment_succeeded.json").read_bytes()

PACK = PACKS["yoco"]
OPTIONS = PACK.options()
MAIN = Secret("main", base64.b64decode(TEXT.removeprefix("whsec_")))
TERMS = Terms(secrets=[MAIN], tolerance_secs=PACK.tolerance_secs, options=OPTIONS)
NOW_SECS = 1_763_888_400
NOW_US = NOW_SECS * 1_000_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = ["id", "type", "createdDate", "payload", "amount", "currency", "paymentId", "status",
        "mode", "metadata", "checkoutId"]  # fmt: skip


def mac(message: bytes, key: bytes = MAIN.key) -> str:
    """The signature made without the pack, so that the tests do not lean on what they test."""
    return "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def delivery(
    body: bytes = SAMPLE,
    *,
    message_id: str = "msg_1",
    at: str = str(NOW_SECS),
    signature: str | None = None,
    now_us: int = NOW_US,
) -> Delivery:
    """A delivery signed rightly, unless the signature is given."""
    if signature is None:
        signed = f"{message_id}.{at}.".encode("utf-8", "surrogateescape") + body
        signature = mac(signed)
    pairs = (
        ("webhook-id", message_id),
        ("webhook-timestamp", at),
        ("webhook-signature", signature),
    )
    return Delivery(pairs, body, now_us)


def without(name: str, given_delivery: Delivery) -> Delivery:
    kept = tuple(pair for pair in given_delivery.headers if pair[0] != name)
    return Delivery(kept, given_delivery.body, given_delivery.received_at_us)


def refusal(given_delivery: Delivery, terms: Terms = TERMS) -> Reason:
    with pytest.raises(Refused) as refused:
        PACK.verify(given_delivery, terms)
    return refused.value.reason


def changed(**payload: Any) -> dict[str, Any]:
    """The published sample with other values in its payload."""
    fields: dict[str, Any] = json.loads(SAMPLE)
    fields["payload"].update(payload)
    return fields


def drafted(fields: Any) -> Draft:
    return PACK.normalize(json.dumps(fields).encode(), OPTIONS)


@pytest.mark.parametrize("case", CASES)
def test_a_documented_delivery_becomes_what_its_fixture_says(case: str) -> None:
    """Verified, identified and normalized, from the exact bytes."""
    body = (FIXTURES / f"{case}.json").read_bytes()
    headers = json.loads((FIXTURES / f"{case}.headers.json").read_text())
    expected = json.loads((FIXTURES / f"{case}.expected.json").read_text())
    now_us = int(headers["webhook-timestamp"]) * 1_000_000
    given_delivery = Delivery(tuple(headers.items()), body, now_us)

    assert PACK.verify(given_delivery, TERMS) == MAIN
    assert (Item(body, **expected["item"]),) == PACK.identify(given_delivery)
    if expected["draft"] == {"unparseable": True}:
        with pytest.raises(UnparseableBody):
            PACK.normalize(body, OPTIONS)
    else:
        draft = PACK.normalize(body, OPTIONS)
        assert expected["draft"] == json.loads(msgspec.json.encode(draft))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_vector_is_verified_and_made(vector: dict[str, Any]) -> None:
    """With its own secret, and with no other."""
    headers, body = vector["headers"], vector["body"].encode()
    at_us = int(headers["webhook-timestamp"]) * 1_000_000
    given_delivery = Delivery(tuple(headers.items()), body, at_us)
    terms = Terms(secrets=[Secret("its own", PACK.key(vector["secret"]))])
    signed = PACK.sign(
        body, secret=vector["secret"], message_id=headers["webhook-id"], at_us=at_us,
        options=OPTIONS,
    )  # fmt: skip

    assert PACK.verify(given_delivery, terms).name == "its own"
    assert refusal(given_delivery, Terms(secrets=[Secret("x", b"x")])) == "signature_invalid"
    assert signed.headers["webhook-signature"] in headers["webhook-signature"].split(" ")


@pytest.mark.parametrize(
    ("word", "kind", "status", "row"),
    [
        ("payment.succeeded", "payment", "succeeded", 1),
        ("refund.succeeded", "refund", "succeeded", 2),
        ("refund.failed", "refund", "failed", 3),
    ],
)
@pytest.mark.parametrize("payload_status", ["succeeded", "failed", None, 5, "other"])
def test_the_type_decides(word: str, kind: str, status: str, row: int, payload_status: Any) -> None:
    """Yoco's pages say so; the payload's own status is only kept."""
    draft = drafted({**changed(status=payload_status), "type": word})

    assert (draft.kind, draft.status) == (kind, status)
    assert draft.changes == (
        Change(kind, "p_bx4bY9JA6r4UwAKFyAjHY2bE", status, TERMINAL_RANK, row=row),
    )
    assert PACK.events[word] == f"{kind}.{status}"
    assert status in STATUSES[kind]


@pytest.mark.parametrize(
    "word", ["payment.failed", "Payment.Succeeded", "payment", "", None, 7, ["payment.succeeded"]]
)
def test_an_unknown_type_is_kept(word: Any) -> None:
    """Kept, with what could be read of it."""
    draft = drafted({**changed(), "type": word})

    assert (draft.kind, draft.status, draft.changes) == ("other", "unrecognized", ())
    assert draft.amount is None
    assert draft.provider_event.amount == "900"
    assert draft.metadata == {"checkoutId": "ch_9LVKD8GnAj7f39DFbn4F16bE"}


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("-900", "-900"),
        ("900.5", "900.5"),
        ("1" + "0" * 38, "1" + "0" * 38),
        ("null", None),
        ('"900"', "900"),
        ("true", None),
        ("[900]", None),
        ("1e999", "1e999"),
    ],
)
def test_an_odd_amount_makes_an_unrecognized_event(figure: str, text: str | None) -> None:
    """The figure stays as it was sent, never rounded."""
    body = SAMPLE.replace(b'"amount":900', b'"amount":' + figure.encode())
    draft = PACK.normalize(body, OPTIONS)

    assert (draft.kind, draft.status, draft.amount) == ("other", "unrecognized", None)
    assert draft.provider_event.amount == text


@pytest.mark.parametrize("figure", ["900", "900.0", "9e2", "9.00E+2"])
def test_the_same_number_is_the_same_amount(figure: str) -> None:
    """JSON knows one 900, however it is written."""
    draft = PACK.normalize(SAMPLE.replace(b":900,", b":" + figure.encode() + b","), OPTIONS)

    assert draft.amount is not None
    assert (draft.amount.minor, draft.amount.exponent) == ("900", 2)
    assert draft.provider_event.amount == figure


@pytest.mark.parametrize("currency", [None, "", 5.5, ["ZAR"], True])
def test_an_amount_without_a_currency_is_none(currency: Any) -> None:
    """900 of nothing is no money."""
    assert drafted(changed(currency=currency)).status == "unrecognized"


@pytest.mark.parametrize("mode", ["LIVE", "", 1, ["live"], {}])
def test_a_third_mode_is_not_taken_for_money(mode: Any) -> None:
    """An event of neither mode must not reach what books live money."""
    draft = drafted(changed(mode=mode))

    assert (draft.status, draft.mode) == ("unrecognized", None)


@pytest.mark.parametrize(
    ("word", "payload", "subject", "links"),
    [
        ("payment.succeeded", {"id": "p_1", "paymentId": "x"}, "p_1", Links(payment="p_1")),
        ("refund.failed", {"id": "r_1", "paymentId": "p_1"}, "p_1",
         Links(payment="p_1", refund="r_1")),
        ("refund.failed", {"id": "r_1", "paymentId": ""}, "r_1", Links(refund="r_1")),
        ("payout.paid", {"id": "o_1"}, "o_1", Links()),
        ("payout.paid", {}, None, Links()),
        ("payment.succeeded", {"id": {}, "metadata": {"checkoutId": 5}}, None,
         Links(checkout="5")),
    ],
)  # fmt: skip
def test_the_subject_is_the_payment(
    word: str, payload: dict[str, Any], subject: str | None, links: Links
) -> None:
    """The ingress and normalize agree on it."""
    body = json.dumps({"id": "evt_1", "type": word, "payload": payload}).encode()
    draft = PACK.normalize(body, OPTIONS)

    assert PACK.identify(delivery(body)) == (Item(body, "evt_1", word, subject),)
    assert (draft.subject, draft.links) == (subject, links)


def test_numbers_in_the_metadata_keep_their_digits() -> None:
    """A float would lose some of them."""
    body = SAMPLE.replace(b'"checkoutId":', b'"rate":0.10000000000000000001,"checkoutId":')
    draft = PACK.normalize(body, OPTIONS)

    assert draft.metadata["rate"] == Number("0.10000000000000000001")


@pytest.mark.parametrize(
    ("headers", "event_id"),
    [
        ((("webhook-id", "msg_1"),), "msg_1"),
        ((("webhook-id", "msg_1"), ("webhook-id", "msg_2")), hashlib.sha256(b"{").hexdigest()),
        ((), hashlib.sha256(b"{").hexdigest()),
    ],
)
def test_an_unreadable_body_is_called_by_its_header(
    headers: tuple[tuple[str, str], ...], event_id: str
) -> None:
    """Where even that is missing, by its hash."""
    assert PACK.identify(Delivery(headers, b"{", NOW_US)) == (Item(b"{", event_id),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("webhook-id", "signature_missing"),
        ("webhook-signature", "signature_missing"),
        ("webhook-timestamp", "timestamp_missing"),
    ],
)
def test_every_header_must_be_there(name: str, reason: str) -> None:
    """Absent, empty, or (but for the signature) sent twice."""
    whole = delivery()
    bare = without(name, whole)
    value = whole.header(name) or ""
    twice = Delivery((*whole.headers, (name, value)), whole.body, NOW_US)

    assert refusal(bare) == reason
    assert refusal(Delivery((*bare.headers, (name, "")), whole.body, NOW_US)) == reason
    if name != "webhook-signature":
        assert refusal(twice) == reason


def test_a_missing_signature_is_told_before_a_missing_time() -> None:
    """The order of the checks is fixed, so the answers are."""
    bare = without("webhook-timestamp", without("webhook-id", delivery()))

    assert refusal(bare) == "signature_missing"


def test_repeated_signature_headers_are_one_list() -> None:
    """A list may be split over several lines of the same header."""
    whole = delivery()
    wrong = ("webhook-signature", mac(b"another"))

    assert PACK.verify(Delivery((wrong, *whole.headers), SAMPLE, NOW_US), TERMS) == MAIN
    assert refusal(Delivery((wrong, *without(wrong[0], whole).headers), SAMPLE, NOW_US)) == (
        "signature_invalid"
    )


@pytest.mark.parametrize(
    "at",
    ["", "x", "1718466715.5", "-1", "+1718466715", " 1718466715", "1718466715 ", "1_000",
     "٣", "\uff11\uff17", "1e9", "0x10", "9" * 16, "9" * 5000, "1718466715\n", "\ud800"],
)  # fmt: skip
def test_a_time_that_is_no_whole_number_is_out_of_tolerance(at: str) -> None:
    """Whatever its signature."""
    expected = "timestamp_missing" if not at else "timestamp_out_of_tolerance"

    assert refusal(delivery(at=at, signature="v1,AAAA")) == expected


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("tolerance_secs", [1, 180, 300, None])
def test_the_edge_of_the_tolerance_belongs_to_it(side: int, tolerance_secs: int | None) -> None:
    """Both ways; a microsecond further is too far. Without terms, the pack's own 3 minutes."""
    edge_us = side * (180 if tolerance_secs is None else tolerance_secs) * 1_000_000
    terms = Terms(secrets=[MAIN], tolerance_secs=tolerance_secs)

    assert PACK.verify(delivery(now_us=NOW_US + edge_us), terms) == MAIN
    assert refusal(delivery(now_us=NOW_US + edge_us + side), terms) == "timestamp_out_of_tolerance"


def test_a_forgery_is_not_told_that_its_time_is_wrong() -> None:
    """The time is judged once the signature fits."""
    far_us = NOW_US + 10**12

    assert refusal(delivery(signature=mac(b"x"), now_us=far_us)) == "signature_invalid"
    assert refusal(delivery(now_us=far_us)) == "timestamp_out_of_tolerance"


RIGHT = mac(f"msg_1.{NOW_SECS}.".encode() + SAMPLE)


@pytest.mark.parametrize(
    ("signature", "fits"),
    [
        (RIGHT, True),
        (f"v2,{RIGHT[3:]} {RIGHT}", True),
        (f"v1,%%% v1 v1, , v1a,x  {RIGHT} {mac(b'x')}", True),
        (RIGHT.replace("v1", "v2"), False),
        (RIGHT.replace("v1", "v1a"), False),
        (RIGHT.replace("v1", "V1"), False),
        (RIGHT[3:], False),
        (RIGHT.rstrip("="), False),
        (RIGHT + "=", False),
        (RIGHT + "\n", False),
        ("v1,", False),
        ("v1", False),
        ("v1,ü", False),
        ("v1,\udcff", False),
        ("v1," + hmac.new(MAIN.key, SAMPLE, "sha256").hexdigest(), False),
        (mac(f"msg_1.{NOW_SECS}.".encode() + SAMPLE, TEXT.encode()), False),
    ],
)
def test_every_v1_entry_is_tried(signature: str, fits: bool) -> None:
    """Other versions, other encodings and the undecoded secret prove nothing."""
    given_delivery = delivery(signature=signature)

    if fits:
        assert PACK.verify(given_delivery, TERMS) == MAIN
    else:
        assert refusal(given_delivery) == "signature_invalid"


def test_a_signature_has_one_spelling() -> None:
    """The last letter's spare bits carry nothing; other letters for the same bytes don't count."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same_bytes = RIGHT[:-2] + letters[letters.index(RIGHT[-2]) + 1] + "="

    assert base64.b64decode(same_bytes[3:]) == base64.b64decode(RIGHT[3:])
    assert refusal(delivery(signature=same_bytes)) == "signature_invalid"


def test_every_live_secret_may_have_signed() -> None:
    """While a secret is rotated, both work; the one that matched is named."""
    old, new = Secret("old", MAIN.key), Secret("new", b"n" * 24)
    both = Terms(secrets=[new, old], tolerance_secs=180)

    assert PACK.verify(delivery(), both) == old
    assert refusal(delivery(), Terms(secrets=[new], tolerance_secs=180)) == "signature_invalid"
    assert refusal(delivery(), Terms(secrets=[], tolerance_secs=180)) == "signature_invalid"


def test_an_id_of_odd_bytes_is_signed_as_it_came() -> None:
    """aiohttp hands on bytes that are no UTF-8 as surrogates; one that is no byte fits nothing."""
    assert PACK.verify(delivery(message_id="msg_\udcff"), TERMS) == MAIN
    assert refusal(delivery(message_id="msg_\ud800", signature=RIGHT)) == "signature_invalid"


def test_the_evidence_is_what_was_signed() -> None:
    """Anyone with the secret can verify again."""
    whole = delivery()

    assert PACK.evidence(whole, OPTIONS) == {name: [value] for name, value in whole.headers}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_never_accepted(data: st.DataObject) -> None:
    """In the body, the id, the time or the signature."""
    whole = delivery()
    parts = {**dict(whole.headers), "body": SAMPLE.decode()}
    name = data.draw(st.sampled_from(sorted(parts)))
    place = data.draw(st.integers(0, len(parts[name]) - 1))
    bit = 1 << data.draw(st.integers(0, 6))
    text = parts[name]
    parts[name] = text[:place] + chr(ord(text[place]) ^ bit) + text[place + 1 :]
    body = parts.pop("body").encode()
    no_number = not (parts["webhook-timestamp"].isascii() and parts["webhook-timestamp"].isdigit())
    expected = "timestamp_out_of_tolerance" if no_number else "signature_invalid"

    assert refusal(Delivery(tuple(parts.items()), body, NOW_US)) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
            st.text(max_size=40)
            | st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
            | st.text("v1, AQ=", max_size=60)
            | st.integers().map(str),
        ),
        max_size=6,
    ),
    st.binary(max_size=40),
)
def test_odd_headers_are_refused_and_never_raise(
    headers: list[tuple[str, str]], body: bytes
) -> None:
    """Whatever the bytes; and what is not verified can still be named."""
    given_delivery = Delivery(tuple(headers), body, NOW_US)

    assert refusal(given_delivery) in PACK_REASONS
    assert len(PACK.identify(given_delivery)) == 1


PACK_REASONS = {
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_INVALID,
    Reason.TIMESTAMP_MISSING,
    Reason.TIMESTAMP_OUT_OF_TOLERANCE,
}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.text("abcXYZ019_-", min_size=1, max_size=30),
       st.binary(min_size=24, max_size=64), st.integers(0, 4_000_000_000))  # fmt: skip
def test_what_we_sign_the_reference_library_signs_alike(
    body: bytes, message_id: str, key: bytes, at: int
) -> None:
    """The simulator's requests are those of Standard Webhooks; and the pack takes them."""
    secret = "whsec_" + base64.b64encode(key).decode()
    at_us = at * 1_000_000
    request = PACK.sign(body, secret=secret, message_id=message_id, at_us=at_us, options=OPTIONS)
    terms = Terms(secrets=[Secret("main", PACK.key(secret))], tolerance_secs=0)

    assert PACK.verify(Delivery(tuple(request.headers.items()), body, at_us), terms).name == "main"
    assert request.headers["webhook-timestamp"] == str(at)
    if body.isascii():
        reference = standardwebhooks.Webhook(secret)
        when = datetime.fromtimestamp(at, tz=UTC)
        assert request.headers["webhook-signature"] == reference.sign(
            message_id, when, body.decode()
        )


def _mutated(data: st.DataObject, value: Any) -> Any:
    """The value with some of its parts replaced by anything."""
    if data.draw(st.integers(0, 9)) == 0:
        return data.draw(JSON)
    if isinstance(value, dict):
        return {key: _mutated(data, each) for key, each in value.items()}
    return value


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_normalize_answers_for_any_object(data: st.DataObject) -> None:
    """A mutated sample is what it was, or unrecognized; nothing else, and no error."""
    source = json.loads((FIXTURES / f"{data.draw(st.sampled_from(SAMPLES))}.json").read_bytes())
    fields = {key: _mutated(data, each) for key, each in source.items()}
    body = json.dumps(fields).encode()
    try:
        draft = PACK.normalize(body, OPTIONS)
    except UnparseableBody:
        return
    (found,) = PACK.identify(delivery(body))

    assert draft.status in STATUSES[draft.kind]
    assert (draft.kind == "other") == (draft.changes == ())
    assert found.subject == draft.subject
    assert found.event_type == (draft.provider_event.type or "")


SAMPLES = ["payment_succeeded", "refund_succeeded", "refund_failed"]


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON))
    .map(lambda value: json.dumps(value).encode())
)  # fmt: skip
def test_normalize_raises_nothing_but_unparseable_body(body: bytes) -> None:
    """And identify raises nothing at all."""
    assert len(PACK.identify(delivery(body))) == 1
    try:
        draft = PACK.normalize(body, OPTIONS)
    except UnparseableBody:
        return

    assert isinstance(draft.metadata, dict)


@pytest.mark.parametrize("seed", range(40))
def test_a_story_becomes_what_it_says(seed: int) -> None:
    """Each step is an event of its own, the same for the same seed."""
    story = told.stories(random.Random(seed), NOW_US)
    items, drafts = [], []
    for step in story:
        request = PACK.sign(
            step.body, secret=TEXT, message_id=step.message_id, at_us=NOW_US, options=OPTIONS
        )
        given_delivery = Delivery(tuple(request.headers.items()), request.body, NOW_US)
        assert PACK.verify(given_delivery, TERMS) == MAIN
        items += PACK.identify(given_delivery)
        drafts.append(PACK.normalize(request.body, OPTIONS))

    assert [step.becomes for step in story] == [f"{each.kind}.{each.status}" for each in drafts]
    assert len({(each.event_id, each.event_type) for each in items}) == len(story)
    assert len({each.subject for each in items}) == 1
    assert story == told.stories(random.Random(seed), NOW_US)


def test_the_stories_tell_every_path_in_both_modes() -> None:
    """Every row of the table, and the type that no page lists."""
    steps = [step for seed in range(200) for step in told.stories(random.Random(seed), NOW_US)]

    assert {step.becomes for step in steps} == {*PACK.events.values(), "other.unrecognized"}
    assert {PACK.normalize(step.body, OPTIONS).mode for step in steps} == {"live", "test"}


def test_the_parts_of_a_refund_make_the_whole() -> None:
    """No cent is lost between two partial refunds."""
    for seed in range(100):
        amounts = [
            int(json.loads(step.body)["payload"]["amount"])
            for step in told.stories(random.Random(seed), NOW_US)
        ]
        if len(amounts) == 3 and amounts[1] != amounts[0]:
            assert amounts[0] == amounts[1] + amounts[2]
