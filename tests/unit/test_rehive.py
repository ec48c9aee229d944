"""Rehive: a static secret, twelve statuses of an invoice, and what its quotes say was paid."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.event import STATUSES as OURS
from hookmill.core.event import Discrepancy
from hookmill.core.money import Money
from hookmill.core.resource import Change, encode_state, merge
from hookmill.local.stories import rehive as told
from hookmill.providers.pack import Draft, Terms
from hookmill.providers.rehive import Rehive

FIXTURES = Path(__file__).parents[1] / "fixtures" / "rehive"
CASES = sorted(
    path.name.removesuffix(".expected.json") for path in FIXTURES.glob("*.expected.json")
)
TEXT = json.loads((FIXTURES / "secrets.json").read_text())["secrets"][0]["text"]
SAMPLE = json.loads((FIXTURES / "overpaid_as_in_quotes_md.json").read_bytes())["data"]

PACK = Rehive()
OPTIONS = PACK.options()
MAIN = Secret("main", TEXT.encode())
TERMS = Terms(secrets=[MAIN], options=OPTIONS)
NOW_US = 1_763_888_400_000_000
USD = {"code": "USD", "divisibility": 2}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def delivery(authorization: str | None = f"Secret {TEXT}", body: bytes = b"{}") -> Delivery:
    headers = () if authorization is None else (("authorization", authorization),)
    return Delivery(headers, body, NOW_US)


def refusal(given_delivery: Delivery, terms: Terms = TERMS) -> Reason:
    with pytest.raises(Refused) as refused:
        PACK.verify(given_delivery, terms)
    return refused.value.reason


def quote(name: Any = "card", amount: Any = 200, paid: Any = 200, currency: Any = USD) -> Any:
    processor = {"unique_string_name": name}
    return {
        "payment_processor": processor, "currency": currency, "amount": amount, "total_paid": paid,
    }  # fmt: skip


def invoice(**changes: Any) -> dict[str, Any]:
    """The published invoice with other values."""
    return {**SAMPLE, **changes}


def encoded(data: Any, **envelope: Any) -> bytes:
    return json.dumps({**envelope, "data": data}).encode()


def drafted(data: Any, **envelope: Any) -> Draft:
    return PACK.normalize(encoded(data, **envelope), OPTIONS)


def item(body: bytes) -> Item:
    (found,) = PACK.identify(delivery(body=body))
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_documented_delivery_becomes_what_its_fixture_says(case: str) -> None:
    """Verified, identified and normalized, from the exact bytes.

    The sample as Rehive publishes it is no JSON (curly quotes, a comment, a trailing comma); with
    these repaired, and nothing else touched, it is the second of the samples.
    """
    body = (FIXTURES / f"{case}.json").read_bytes()
    headers = json.loads((FIXTURES / f"{case}.headers.json").read_text())
    expected = json.loads((FIXTURES / f"{case}.expected.json").read_text())
    given_delivery = Delivery(tuple(headers.items()), body, NOW_US)

    assert PACK.verify(given_delivery, TERMS) == MAIN
    assert (Item(body, **expected["item"]),) == PACK.identify(given_delivery)
    if expected["draft"] == {"unparseable": True}:
        with pytest.raises(UnparseableBody):
            PACK.normalize(body, OPTIONS)
    else:
        draft = PACK.normalize(body, OPTIONS)
        assert expected["draft"] == json.loads(msgspec.json.encode(draft))


@pytest.mark.parametrize(
    ("theirs", "ours", "rank", "row"),
    [
        ("draft", "created", 1, 1),
        ("initiated", "created", 1, 1),
        ("processing", "pending", 2, 2),
        ("received", "pending", 2, 3),
        ("underpaid", "underpaid", 4, 4),
        ("paid", "succeeded", 5, 5),
        ("late", "succeeded", 5, 6),
        ("complete", "succeeded", 5, 7),
        ("overpaid", "overpaid", 5, 8),
        ("expired", "expired", 5, 9),
        ("failed", "failed", 5, 10),
        ("cancelled", "cancelled", 5, 11),
    ],
)
@pytest.mark.parametrize(
    "event",
    [
        None,
        "",
        "request.create",
        "service_payment_requests.request.create",
        "service_payment_requests.request.update",
    ],
)
def test_every_row_of_the_table(
    theirs: str, ours: str, rank: int, row: int, event: str | None
) -> None:
    """Bare or in the envelope, the status decides."""
    draft = drafted(invoice(status=theirs), id=1, event=event)

    assert (draft.kind, draft.status) == ("payment", ours)
    assert draft.changes == (
        Change("payment", SAMPLE["id"], ours, rank, SAMPLE["updated"] * 1000, row),
    )
    assert PACK.events[theirs] == f"payment.{ours}"
    assert ours in OURS["payment"]


@pytest.mark.parametrize("status", ["Paid", "success", "", None, 5, ["paid"], {}])
def test_an_unknown_status_is_kept(status: Any) -> None:
    """Kept, with what could be read of it."""
    draft = drafted(invoice(status=status, metadata={"cart": 7}))

    assert (draft.kind, draft.status, draft.changes) == ("other", "unrecognized", ())
    assert (draft.links.order, draft.metadata) == ("123456789", {"cart": 7})
    assert draft.provider_event.amount == "200"


@pytest.mark.parametrize(
    "event",
    [
        "service_payment_requests.quote.create",
        "service_payment_requests.otp.create",
        "service_payment_requests.payer_reminder",
        "service_payment_requests.payer_requested",
        "transaction.update",
        "other.request.update",
        "request.deleted",
        7,
        ["request.update"],
        False,
    ],
)
def test_an_event_about_something_else_is_kept_without_its_content(event: Any) -> None:
    """One of them may carry a one-time password; none of its data travels on."""
    draft = drafted(invoice(otp="932114", metadata={"otp": "932114"}), event=event)

    assert (draft.kind, draft.status, draft.metadata) == ("other", "unrecognized", {})
    assert b"932114" not in msgspec.json.encode(draft)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("-200", "-200"),
        ("200.5", "200.5"),
        ("1" + "0" * 38, "1" + "0" * 38),
        ("null", None),
        ('"200"', "200"),
        ("true", None),
        ("{}", None),
    ],
)
def test_an_odd_amount_makes_an_unrecognized_event(figure: str, text: str | None) -> None:
    """The figure stays as it was sent, never rounded."""
    body = encoded(invoice()).replace(
        b'"request_amount": 200', b'"request_amount":%b' % figure.encode()
    )
    draft = PACK.normalize(body, OPTIONS)

    assert (draft.kind, draft.status, draft.amount) == ("other", "unrecognized", None)
    assert draft.provider_event.amount == text


@pytest.mark.parametrize(
    ("currency", "expected"),
    [
        ({"code": "USD", "divisibility": 2}, Money("200", "USD", 2)),
        ({"code": "JPY", "divisibility": 0}, Money("200", "JPY", 0)),
        ({"code": "ETH", "divisibility": 18}, Money("200", "ETH", 18)),
        ({"code": "USD"}, Money("200", "USD", None)),
        ({"code": "USD", "divisibility": "2"}, Money("200", "USD", None)),
        ({"code": "USD", "divisibility": -2}, Money("200", "USD", None)),
        ({"code": "USD", "divisibility": 10**30}, Money("200", "USD", None)),
        ({"divisibility": 2}, None),
        ("USD", None),
        (None, None),
    ],
)
def test_a_currency_says_its_own_decimals(currency: Any, expected: Money | None) -> None:
    """Nobody else does; and without a code it is no money."""
    draft = drafted(invoice(request_currency=currency))

    assert draft.amount == expected
    assert (draft.kind == "payment") == (expected is not None)


CARD, COIN, WIRE = quote("card", paid=1), quote("coin", paid=2), quote("wire", paid=0)


@pytest.mark.parametrize(
    ("primary", "quotes", "paid"),
    [
        ({"unique_string_name": "coin"}, [CARD, COIN], "2"),
        ("coin", [CARD, COIN], "2"),
        ({"unique_string_name": "wire"}, [CARD, WIRE], "0"),
        (None, [CARD], "1"),
        ("", [CARD], "1"),
        ("gone", [CARD], "1"),
        ("gone", [CARD, WIRE], "1"),
        (None, [CARD, WIRE], "1"),
        (None, [CARD, COIN], None),
        (None, [WIRE, WIRE], None),
        ("wire", [WIRE, CARD, quote("wire", paid=3)], "3"),
        ("card", [CARD, CARD], None),
        ("card", [], None),
        ("card", None, None),
        ("card", {"payment_processor": "card"}, None),
        ("card", ["card", None, CARD], "1"),
        ({"unique_string_name": ["card"]}, [CARD, WIRE], "1"),
        (None, [quote(None, paid=4), quote("card", paid=0)], "4"),
        ("card", [quote("card", paid="1")], None),
        ("card", [quote("card", paid=0.5)], None),
        ("card", [quote("card", currency=None)], None),
        ("card", [{}], None),
    ],
)
@pytest.mark.parametrize("key", ["primary_payment_processor", "Primary_payment_processor"])
def test_what_was_paid_is_in_the_quote_of_the_primary_processor(
    primary: Any, quotes: Any, paid: str | None, key: str
) -> None:
    """Without one: the only quote, or the only one with money on it, or none."""
    data = invoice(status="paid", payment_processor_quotes=quotes)
    data.pop("primary_payment_processor")
    draft = drafted({**data, key: primary})

    assert draft.amount_paid == (None if paid is None else Money(paid, "USD", 2))
    assert (draft.kind, draft.discrepancy) == ("payment", None)


@pytest.mark.parametrize(
    ("status", "asked", "paid", "direction", "off"),
    [
        ("underpaid", 200, 150, "under", "50"),
        ("underpaid", 200, 0, "under", "200"),
        ("overpaid", 200, 400, "over", "200"),
        ("expired", 200, 150, "under", "50"),
        ("failed", 200, 250, "over", "50"),
        ("cancelled", 200, 1, "under", "199"),
        ("expired", 200, 0, None, None),
        ("cancelled", 200, 200, None, None),
        ("overpaid", 200, 200, None, None),
        ("overpaid", 200, None, None, None),
        ("overpaid", None, 200, None, None),
        ("underpaid", 200.5, 100, None, None),
        ("paid", 200, 400, None, None),
        ("late", 200, 400, None, None),
        ("processing", 200, 100, None, None),
        ("underpaid", 25 * 10**20, 24 * 10**20, "under", str(10**20)),
    ],
)
def test_the_discrepancy_is_within_the_quote(
    status: str, asked: Any, paid: Any, direction: Any, off: str | None
) -> None:
    """In the quote's currency; the invoice asks for 200 USD all along."""
    coin = {"code": "ETH", "divisibility": 18}
    draft = drafted(
        invoice(status=status, payment_processor_quotes=[quote("coin", asked, paid, coin)])
    )
    expected = Discrepancy(direction, Money(off, "ETH", 18)) if off else None

    assert draft.discrepancy == expected
    assert draft.amount == Money("200", "USD", 2)


@pytest.mark.parametrize(
    ("envelope", "data", "event_id"),
    [
        ({"id": "e1"}, {"id": "i", "status": "paid", "updated": 5}, "e1"),
        ({"id": 12}, {"id": "i"}, "12"),
        ({}, {"id": "i", "status": "paid", "updated": 5}, "i:paid:5"),
        ({"id": ""}, {"id": 7, "status": "paid", "updated": 5.0}, "7:paid:5"),
        ({"id": True}, {"id": "i", "status": "paid", "updated": 5}, "i:paid:5"),
        ({}, {"id": "i", "status": "paid", "updated": 0}, None),
        ({}, {"id": "i", "status": "paid"}, None),
        ({}, {"id": "i", "status": "paid", "updated": "5"}, None),
        ({}, {"id": "i", "status": None, "updated": 5}, None),
        ({}, {"status": "paid", "updated": 5}, None),
        ({}, None, None),
        ({}, [], None),
    ],
)
def test_an_event_is_called_by_the_envelope_or_by_what_it_says(
    envelope: dict[str, Any], data: Any, event_id: str | None
) -> None:
    """Where `updated` can't tell two apart, by the hash of the exact body."""
    body = encoded(data, **envelope)
    found = item(body)
    subject = as_text(data.get("id")) if isinstance(data, dict) else None

    assert found.event_id == (event_id or hashlib.sha256(body).hexdigest())
    assert (found.event_type, found.subject) == ("", subject)


def as_text(value: Any) -> str | None:
    return None if value is None else str(value)


@pytest.mark.parametrize(
    ("updated", "occurred_at", "time_us"),
    [
        (1596795408826, "2020-08-07T10:16:48.826000Z", 1596795408826000),
        (0, None, 0),
        (None, None, 0),
        ("1596795408826", None, 0),
        (-5, None, 0),
        (10**30, None, 0),
    ],
)
def test_the_time_of_the_last_change_orders_equal_ranks(
    updated: Any, occurred_at: str | None, time_us: int
) -> None:
    """One that no calendar has orders nothing, and can still be kept."""
    draft = drafted(invoice(updated=updated))
    (change,) = draft.changes

    assert (draft.occurred_at, change.time_us) == (occurred_at, time_us)
    assert encode_state(merge(None, change, "e").state)


@pytest.mark.parametrize("value", [None, [], "{}", 5])
def test_metadata_is_always_an_object(value: Any) -> None:
    """The pages show null; the sample shows objects as text elsewhere."""
    assert drafted(invoice(metadata=value, user=value)).metadata == {}


def test_nothing_says_live_or_test() -> None:
    """That is the endpoint's to say."""
    assert drafted(invoice()).mode is None


@pytest.mark.parametrize(
    "authorization",
    [f"Secret {TEXT}", f"secret {TEXT}", f"SECRET {TEXT}", f"Secret  {TEXT}", f"Secret {TEXT} "],
)
def test_the_scheme_is_matched_in_any_case(authorization: str) -> None:
    """As RFC 9110 has it; how many spaces follow does not matter."""
    assert PACK.verify(delivery(authorization), TERMS) == MAIN


@pytest.mark.parametrize(
    "authorization",
    [
        "Secret",
        "Secret ",
        " ",
        TEXT,
        f"Bearer {TEXT}",
        f"Basic {TEXT}",
        f"Secret{TEXT}",
        f"Secret\t{TEXT}",
        f"Secret {TEXT} {TEXT}",
        f"Secret x {TEXT}",
        f"Secret {TEXT}, Secret {TEXT}",
        f"Secret {TEXT}x",
        f"Secret {TEXT[:-1]}",
        f"Secret {TEXT.upper()}",
        "Secret YOUR_SECRET",
        "Secret \udcff",
        "Secret " + chr(0xD800),
        "Secret ü",
    ],
)
def test_another_scheme_or_secret_is_invalid(authorization: str) -> None:
    """Whatever stands in the header instead."""
    assert refusal(delivery(authorization)) == "secret_invalid"


def test_without_the_header_nothing_proves_the_sender() -> None:
    """Absent, empty or sent twice. Rehive makes the secret optional; we demand it."""
    twice = (("authorization", f"Secret {TEXT}"), ("authorization", f"Secret {TEXT}"))

    assert refusal(delivery(None)) == "signature_missing"
    assert refusal(delivery("")) == "signature_missing"
    assert refusal(Delivery(twice, b"{}", NOW_US)) == "signature_missing"


def test_every_live_secret_is_taken() -> None:
    """While a secret is rotated, both work; the one that matched is named."""
    new = Secret("new", b"another")
    both = Terms(secrets=[new, MAIN])

    assert PACK.verify(delivery(), both) == MAIN
    assert PACK.verify(delivery("Secret another"), both) == new
    assert refusal(delivery(), Terms(secrets=[new])) == "secret_invalid"
    assert refusal(delivery(), Terms(secrets=[])) == "secret_invalid"


@pytest.mark.parametrize("text", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "x", "ключ=", "whsec_"])
def test_a_secret_is_its_text(text: str) -> None:
    """Never base64, whatever it looks like; and it is found again in the header."""
    key = PACK.key(text)
    request = PACK.sign(b"{}", secret=text, message_id="m", at_us=NOW_US, options=OPTIONS)
    given_delivery = Delivery(tuple(request.headers.items()), request.body, NOW_US)

    assert key == text.encode()
    assert PACK.verify(given_delivery, Terms(secrets=[Secret("s", key)])).name == "s"


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty"), ("two words", "space"), ("x\n", "space"), ("\tx", "space")]
)
def test_a_secret_that_cannot_travel_does_not_start(text: str, says: str) -> None:
    """It would refuse everything, later, without a word."""
    with pytest.raises(ValueError, match=says):
        PACK.key(text)


def test_the_credential_is_no_evidence() -> None:
    """It would let anyone who reads the topic post as Rehive."""
    assert PACK.evidence(delivery(), OPTIONS) == {"scheme": "static"}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_of_the_header_is_never_accepted(data: st.DataObject) -> None:
    """But for the case of the scheme."""
    right = f"Secret {TEXT}"
    place = data.draw(st.integers(0, len(right) - 1))
    bit = 1 << data.draw(st.integers(0, 6))
    wrong = right[:place] + chr(ord(right[place]) ^ bit) + right[place + 1 :]
    if wrong.lower().startswith("secret ") and wrong.endswith(f" {TEXT}"):
        assert PACK.verify(delivery(wrong), TERMS) == MAIN
    else:
        assert refusal(delivery(wrong)) == "secret_invalid"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(max_size=30)
        | st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
        | st.text("Secret ", max_size=30),
        max_size=2,
    ),
    st.binary(max_size=40),
)
def test_odd_headers_are_refused_and_never_raise(values: list[str], body: bytes) -> None:
    """Whatever the bytes."""
    headers = tuple(("authorization", value) for value in values)

    assert refusal(Delivery(headers, body, NOW_US)) in {"signature_missing", "secret_invalid"}


def _mutated(data: st.DataObject, value: Any) -> Any:
    """The value with some of its parts replaced by anything."""
    if data.draw(st.integers(0, 9)) == 0:
        return data.draw(JSON)
    if isinstance(value, dict):
        return {key: _mutated(data, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_mutated(data, each) for each in value]
    return value


BASE = invoice(
    request_currency=USD, user=None, available_payment_processors=None, primary_payment_processor={
        "unique_string_name": "card"}, payment_processor_quotes=[quote(), quote("coin")],
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([{}, {"id": 1, "event": "request.update"}]))
def test_normalize_answers_for_any_object(data: st.DataObject, envelope: dict[str, Any]) -> None:
    """A mutated invoice is a payment or unrecognized; nothing else, and no error."""
    status = data.draw(st.sampled_from(sorted(PACK.events)))
    fields = {**envelope, "data": {**BASE, "status": status}}
    body = json.dumps({key: _mutated(data, each) for key, each in fields.items()}).encode()
    try:
        draft = PACK.normalize(body, OPTIONS)
    except UnparseableBody:
        return
    found = item(body)

    assert draft.status in OURS[draft.kind]
    assert (draft.kind == "other") == (draft.changes == ())
    assert found.subject == draft.subject
    assert found.event_type == (draft.provider_event.type or "")
    assert all(encode_state(merge(None, change, "e").state) for change in draft.changes)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
       | JSON.map(encoded))  # fmt: skip
def test_normalize_raises_nothing_but_unparseable_body(body: bytes) -> None:
    """And identify raises nothing at all."""
    assert item(body).body == body
    try:
        draft = PACK.normalize(body, OPTIONS)
    except UnparseableBody:
        return

    assert isinstance(draft.metadata, dict)


@pytest.mark.parametrize("seed", range(60))
def test_a_story_becomes_what_it_says(seed: int) -> None:
    """Each step is an event of its own, the same for the same seed, none of them late."""
    story = told.stories(random.Random(seed), NOW_US)
    items, drafts, state = [], [], None
    for step in story:
        request = PACK.sign(
            step.body, secret=TEXT, message_id=step.message_id, at_us=NOW_US, options=OPTIONS
        )
        given_delivery = Delivery(tuple(request.headers.items()), request.body, NOW_US)
        assert PACK.verify(given_delivery, TERMS) == MAIN
        (found,) = PACK.identify(given_delivery)
        draft = PACK.normalize(request.body, OPTIONS)
        merged = merge(state, draft.changes[0], found.event_id)
        assert (merged.late, merged.state.conflict) == (False, False)
        state = merged.state
        items.append(found)
        drafts.append(draft)

    assert [step.becomes for step in story] == [f"{each.kind}.{each.status}" for each in drafts]
    assert len({(each.event_id, each.event_type) for each in items}) == len(story)
    assert len({each.subject for each in items}) == 1
    assert story == told.stories(random.Random(seed), NOW_US)


def test_the_stories_tell_every_path_in_both_shapes() -> None:
    """Every status of the table, bare and in the envelope, in dollars and in bitcoin."""
    bodies = [
        json.loads(step.body)
        for seed in range(300)
        for step in told.stories(random.Random(seed), NOW_US)
    ]
    currencies = {
        each["currency"]["code"]
        for body in bodies
        for each in body["data"]["payment_processor_quotes"]
    }

    assert {body["data"]["status"] for body in bodies} == set(PACK.events)
    assert {"id" in body for body in bodies} == {True, False}
    assert currencies == {"USD", "BTC"}
