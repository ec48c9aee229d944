"""Echezona: a signature scheme that the operator describes, and events named in two ways."""

import base64
import hashlib
import hmac
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
from hookmill.core.event import STATUSES, Links
from hookmill.core.money import Money
from hookmill.core.resource import merge
from hookmill.local.stories import echezona as told
from hookmill.providers.echezona import DECIMALS, EVENTS, Echezona, EchezonaOptions
from hookmill.providers.pack import Terms

FIXTURES = Path(__file__).parents[1] / "fixtures" / "echezona"
CASES = sorted(
    path.name.removesuffix(".expected.json") for path in FIXTURES.glob("*.expected.json")
)
SETUP = json.loads((FIXTURES / "secrets.json").read_text())
TEXT = SETUP["secrets"][0]["text"]

NOW_US = 1_763_888_400_000_000
NOW_SECS = NOW_US // 1_000_000
PACK = Echezona()
MAIN = Secret("main", TEXT.encode())
BODY = b'{"event":"payment.success","data":{"transaction_id":"1"}}'
HASHES = {"hmac-sha256": "sha256", "hmac-sha384": "sha384", "hmac-sha512": "sha512"}


def options(**changes: Any) -> EchezonaOptions:
    chosen = msgspec.convert(SETUP["options"] | changes, EchezonaOptions)
    PACK.check_options(chosen)
    return chosen


def timed(**changes: Any) -> EchezonaOptions:
    return options(signed="{timestamp}.{body}", timestamp_header="X-Echezona-Time", **changes)


PLAIN = options()


def digest(message: bytes, name: str = "sha512", key: str = TEXT) -> bytes:
    return hmac.new(key.encode(), message, name).digest()


def refusal(
    headers: Any, chosen: Any = PLAIN, body: bytes = BODY, tolerance_secs: int | None = None,
    secrets: tuple[Secret, ...] = (MAIN,),
) -> str | None:  # fmt: skip
    """The reason, or None where the delivery is taken."""
    pairs = tuple(headers.items()) if isinstance(headers, dict) else tuple(headers)
    terms = Terms(secrets=secrets, tolerance_secs=tolerance_secs, options=chosen)
    try:
        PACK.verify(Delivery(pairs, body, NOW_US), terms)
    except Refused as refused:
        return refused.reason.value
    return None


def event(word: str, **data: Any) -> bytes:
    return json.dumps({"event": word, "data": data}).encode()


def item(body: bytes) -> Item:
    (found,) = PACK.identify(Delivery((), body, NOW_US))
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_documented_delivery_becomes_what_its_fixture_says(case: str) -> None:
    """Verified, identified and normalized, from the exact bytes."""
    body = (FIXTURES / f"{case}.json").read_bytes()
    headers = json.loads((FIXTURES / f"{case}.headers.json").read_text())
    expected = json.loads((FIXTURES / f"{case}.expected.json").read_text())
    given_delivery = Delivery(tuple(headers.items()), body, NOW_US)

    assert PACK.verify(given_delivery, Terms(secrets=[MAIN], options=PLAIN)) == MAIN
    assert (Item(body, **expected["item"]),) == PACK.identify(given_delivery)
    if expected["draft"] == {"unparseable": True}:
        with pytest.raises(UnparseableBody):
            PACK.normalize(body, PLAIN)
    else:
        assert expected["draft"] == json.loads(msgspec.json.encode(PACK.normalize(body, PLAIN)))


@pytest.mark.parametrize(
    ("word", "kind", "status", "rank", "row"),
    [
        ("payment.success", "payment", "succeeded", 5, 1),
        ("charge.success", "payment", "succeeded", 5, 1),
        ("payment.failed", "payment", "failed", 5, 2),
        ("charge.failed", "payment", "failed", 5, 2),
        ("refund.processed", "refund", "succeeded", 5, 3),
        ("transfer.success", "transfer", "succeeded", 5, 4),
        ("subscription.renew", "subscription", "renewed", 0, 5),
    ],
)
def test_every_row_of_the_table(word: str, kind: str, status: str, rank: int, row: int) -> None:
    """The event decides; a transaction id may be text or a number."""
    draft = PACK.normalize(event(word, transaction_id=77, amount=5000, currency="NGN"), PLAIN)
    (change,) = draft.changes

    assert (draft.kind, draft.status, draft.subject) == (kind, status, "77")
    assert (change.kind, change.status, change.resource_id) == (kind, status, "77")
    assert (change.rank, change.row, change.time_us) == (rank, row, 0)
    assert draft.links == Links(payment=None if kind == "transfer" else "77")
    assert (draft.mode, draft.occurred_at, draft.amount, draft.failure) == (None,) * 4


@pytest.mark.parametrize("word", ["payment.refunded", "Payment.Success", "", "dispute.opened"])
def test_an_unknown_event_is_kept(word: str) -> None:
    """The published list is open, and its words are matched as they are written."""
    draft = PACK.normalize(event(word, transaction_id="77", status="success"), PLAIN)

    assert (draft.kind, draft.status, draft.changes) == ("other", "unrecognized", ())
    assert (draft.subject, draft.provider_event.status) == ("77", "success")


@pytest.mark.parametrize(
    ("word", "status", "believed"),
    [
        ("payment.success", "success", True),
        ("payment.success", "SUCCESS", True),
        ("payment.success", None, True),
        ("payment.success", "00", True),
        ("payment.success", "failed", False),
        ("payment.success", "Declined", False),
        ("payment.success", "pending", False),
        ("payment.success", ["success"], False),
        ("payment.failed", "failed", True),
        ("payment.failed", "success", False),
        ("payment.failed", "pending", False),
        ("refund.processed", "processed", True),
        ("refund.processed", "failed", False),
        ("transfer.success", "reversed", False),
        ("subscription.renew", "failed", False),
    ],
)
def test_a_status_that_contradicts_its_event_stops_both(
    word: str, status: Any, believed: bool
) -> None:
    """A word we don't know contradicts nothing: the event decides."""
    draft = PACK.normalize(event(word, transaction_id="1", status=status), PLAIN)

    assert (draft.kind != "other") == believed
    assert bool(draft.changes) == believed


@pytest.mark.parametrize(
    ("data", "reference"),
    [
        ({"transaction_id": "t", "reference": "r"}, "t"),
        ({"transaction_id": None, "reference": "r"}, "r"),
        ({"transaction_id": "", "reference": "r"}, "r"),
        ({"transaction_id": {}, "reference": 5}, "5"),
        ({"transaction_id": True}, None),
        ({"transaction_id": 1.5}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_transaction_is_named_in_one_of_two_fields(
    data: dict[str, Any], reference: str | None
) -> None:
    """`transaction_id` in the docs, `reference` in the plugin; without either nothing is known."""
    body = event("payment.success", **data)
    draft = PACK.normalize(body, PLAIN)

    assert item(body).subject == draft.subject == reference
    assert (draft.kind == "payment") == (reference is not None)
    expected = f"payment.success:{reference}" if reference else hashlib.sha256(body).hexdigest()
    assert item(body).event_id == expected


@pytest.mark.parametrize("word", ["refund.processed", "subscription.renew"])
def test_what_may_happen_again_is_told_apart_by_its_body(word: str) -> None:
    """A second partial refund is not a redelivery of the first; a redelivery is."""
    first, second = (event(word, transaction_id="1", amount=n) for n in (100, 200))

    assert item(first).event_id == f"{word}:1:{hashlib.sha256(first).hexdigest()}"
    assert item(first).event_id != item(second).event_id
    assert item(first).subject == item(second).subject == "1"


def test_both_names_of_a_payment_make_one_resource() -> None:
    """Should `payment.success` and `charge.success` both come, the state knows one success."""
    bodies = (event("payment.success", transaction_id="1"), event("charge.success", reference="1"))
    state = None
    for body in bodies:
        (change,) = PACK.normalize(body, PLAIN).changes
        state = merge(state, change, item(body).event_id).state

    assert state is not None
    assert not state.conflict
    assert state.status == "succeeded"


@pytest.mark.parametrize("metadata", [None, [], [{"name": "order_id", "value": "9"}], "x", 5])
def test_metadata_is_always_an_object(metadata: Any) -> None:
    """Echezona's own requests carry a list of names and values; here it is left aside."""
    draft = PACK.normalize(event("payment.success", transaction_id="1", metadata=metadata), PLAIN)

    assert (draft.metadata, draft.links.order) == ({}, None)


@pytest.mark.parametrize(
    ("amount", "currency", "unit", "minor", "exponent"),
    [
        ("5000", "NGN", None, None, 2),
        ("5000", "NGN", "minor", "5000", 2),
        ("5000", "NGN", "major", "500000", 2),
        ('"5000"', "NGN", "minor", "5000", 2),
        ('"5000"', "NGN", "major", "500000", 2),
        ('"49.99"', "NGN", "major", "4999", 2),
        ("49.99", "NGN", "major", "4999", 2),
        ("49.9", "GHS", "major", "4990", 2),
        ("0.1", "USD", "major", "10", 2),
        ("1.15", "EUR", "major", "115", 2),
        ("5e3", "ZAR", "major", "500000", 2),
        ("49.990", "KES", "major", "4999", 2),
        ("49.999", "NGN", "major", None, 2),
        ("49.99", "NGN", "minor", None, 2),
        ("50.00", "GBP", "minor", "50", 2),
        ("5000", "UGX", "minor", "5000", 0),
        ("5000", "UGX", "major", "5000", 0),
        ("5000.5", "UGX", "major", None, 0),
        ("5000", "ngn", "minor", "5000", 2),
        ("5000", "JPY", "minor", None, 0),
        ("5000", "", "minor", None, 0),
        ("0", "NGN", "major", "0", 2),
        ("-5000", "NGN", "minor", None, 2),
        ('"-5000"', "NGN", "minor", None, 2),
        ('"5e3"', "NGN", "minor", None, 2),
        ('" 5000"', "NGN", "minor", None, 2),
        ('"5,000"', "NGN", "minor", None, 2),
        ('"\u0665"', "NGN", "minor", None, 2),
        ('"5000\\n"', "NGN", "minor", None, 2),
        ("true", "NGN", "minor", None, 2),
        ("null", "NGN", "minor", None, 2),
        ("[5000]", "NGN", "minor", None, 2),
        ("9" * 38, "NGN", "minor", "9" * 38, 2),
        ("9" * 36, "NGN", "major", "9" * 36 + "00", 2),
        ("9" * 37, "NGN", "major", None, 2),
        ("9" * 4000, "NGN", "major", None, 2),
        ("1e999", "NGN", "major", None, 2),
        ("1e99999999999", "NGN", "major", None, 2),
    ],
    ids=lambda value: str(value)[:12],
)
def test_an_amount_is_read_only_as_the_options_say(
    amount: str, currency: str, unit: str | None, minor: str | None, exponent: int
) -> None:
    """Docs and plugin contradict each other on the unit, so there is no default; it is exact."""
    chosen = options(amount_unit=unit) if unit else PLAIN
    body = (
        f'{{"event":"payment.success","data":{{"transaction_id":"1","amount":{amount},'
        f'"currency":"{currency}"}}}}'
    ).encode()
    draft = PACK.normalize(body, chosen)

    assert draft.kind == "payment"
    assert draft.amount == (minor and Money(minor, currency.upper(), exponent))


def test_the_figure_stays_as_it_was_sent() -> None:
    """Whatever the unit is."""
    draft = PACK.normalize(b'{"event":"payment.success","data":{"amount":49.90}}', PLAIN)

    assert draft.provider_event.amount == "49.90"


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha512=", "v1,"])
def test_every_scheme_one_can_describe(algorithm: str, encoding: str, prefix: str) -> None:
    """Header, algorithm, encoding, prefix; signed by hand, and by the simulator alike."""
    chosen = options(header="X-Sig", algorithm=algorithm, encoding=encoding, prefix=prefix)
    raw = digest(BODY, HASHES[algorithm])
    text = prefix + (raw.hex() if encoding == "hex" else base64.b64encode(raw).decode())
    request = PACK.sign(BODY, secret=TEXT, message_id="m", at_us=NOW_US, options=chosen)

    assert refusal({"x-sig": text}, chosen) is None
    assert request.headers == {"content-type": "application/json", "x-sig": text}
    assert request.body == BODY
    assert refusal({"x-other": text}, chosen) == "signature_missing"
    if prefix:
        assert refusal({"x-sig": text.removeprefix(prefix)}, chosen) == "signature_invalid"
        assert refusal({"x-sig": text.upper()}, chosen) == "signature_invalid"


@pytest.mark.parametrize("word", ["body", "{body}"])
def test_the_body_is_signed_by_default(word: str) -> None:
    """Said as a word or as a template."""
    assert refusal({"x-echezona-signature": digest(BODY).hex()}, options(signed=word)) is None


def test_hex_may_be_in_capitals_and_base64_may_not() -> None:
    """The case of base64 is part of the signature."""
    raw = digest(BODY)
    coded = base64.b64encode(raw).decode()

    assert refusal({"x-echezona-signature": raw.hex().upper()}) is None
    chosen = options(encoding="base64")
    assert refusal({"x-echezona-signature": coded}, chosen) is None
    assert refusal({"x-echezona-signature": coded.swapcase()}, chosen) == "signature_invalid"


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize(
    "value",
    ["", " ", "00", "zz", "é", "\udcff", "=", "====", "\x00", "0" * 128, "A" * 88,
     digest(BODY).hex() + "0", digest(BODY).hex()[:-2], " " + digest(BODY).hex(),
     digest(BODY).hex(" "), base64.b64encode(digest(BODY)).decode() + "\n",
     base64.b64encode(digest(BODY)).decode().rstrip("="), digest(BODY, "sha256").hex(),
     "\u0660" * 128],
    ids=lambda value: ascii(value)[:24],
)  # fmt: skip
def test_a_signature_that_does_not_fit_is_invalid(encoding: str, value: str) -> None:
    """Odd characters among it; nothing is trimmed or mended."""
    headers = {"x-echezona-signature": value}

    assert refusal(headers, options(encoding=encoding)) == "signature_invalid"


def test_a_repeated_header_is_ambiguous() -> None:
    """Two signatures are none, even if one fits."""
    good = ("x-echezona-signature", digest(BODY).hex())

    assert refusal([good]) is None
    assert refusal([good, good]) == "signature_missing"
    assert refusal([]) == "signature_missing"


def test_every_live_secret_may_have_signed() -> None:
    """Rotation needs no deploy."""
    secrets = (Secret("new", b"n"), Secret("old", b"o"))
    terms = Terms(secrets=secrets, options=PLAIN)
    for secret in secrets:
        text = digest(BODY, key=secret.key.decode()).hex()
        sent = Delivery((("x-echezona-signature", text),), BODY, NOW_US)

        assert PACK.verify(sent, terms) == secret
    text = digest(BODY).hex()
    assert refusal({"x-echezona-signature": text}, secrets=secrets) == "signature_invalid"
    assert refusal({"x-echezona-signature": text}, secrets=()) == "signature_invalid"


@pytest.mark.parametrize(
    ("offset_secs", "reason"),
    [
        (0, None),
        (180, None),
        (-180, None),
        (181, "timestamp_out_of_tolerance"),
        (-181, "timestamp_out_of_tolerance"),
    ],
)
def test_a_signed_time_is_held_to_the_tolerance(offset_secs: int, reason: str | None) -> None:
    """To the second, both ways; only if a tolerance is set."""
    at = str(NOW_SECS + offset_secs)
    headers = {
        "x-echezona-signature": digest(at.encode() + b"." + BODY).hex(),
        "x-echezona-time": at,
    }

    assert refusal(headers, timed(), tolerance_secs=180) == reason
    assert refusal(headers, timed()) is None
    headers["x-echezona-time"] = str(NOW_SECS + 1_000_000)
    assert refusal(headers, timed(), tolerance_secs=180) == "signature_invalid"


@pytest.mark.parametrize(
    "at", ["", "x", "1.5", f"{NOW_SECS}.0", f" {NOW_SECS}", f"+{NOW_SECS}", "9" * 5000, "١٢",
           f"{NOW_SECS}\n", "\udcff", f"{NOW_US}"]
)  # fmt: skip
def test_a_time_that_is_no_whole_number_is_out_of_tolerance(at: str) -> None:
    """With a good signature; without one nothing of it is told."""
    signed = at.encode("utf-8", "surrogateescape") + b"." + BODY
    headers = {"x-echezona-signature": digest(signed).hex(), "x-echezona-time": at}
    forged = {"x-echezona-signature": "00" * 64, "x-echezona-time": at}

    assert refusal(headers, timed(), tolerance_secs=180) == "timestamp_out_of_tolerance"
    assert refusal(forged, timed(), tolerance_secs=180) == "signature_invalid"


def test_a_signed_time_must_be_there() -> None:
    """Exactly once."""
    at = ("x-echezona-time", str(NOW_SECS))
    good = ("x-echezona-signature", digest(at[1].encode() + b"." + BODY).hex())

    assert refusal([good, at], timed()) is None
    assert refusal([good], timed()) == "timestamp_missing"
    assert refusal([good, at, at], timed()) == "timestamp_missing"
    assert refusal([at], timed()) == "signature_missing"


def test_braces_in_the_body_are_no_placeholders() -> None:
    """The template is filled once; what it is filled with is only bytes."""
    body = b"{timestamp}{body}{0}%s\xff"
    request = PACK.sign(body, secret=TEXT, message_id="m", at_us=NOW_US, options=timed())
    expected = digest(str(NOW_SECS).encode() + b"." + body).hex()

    assert expected == request.headers["x-echezona-signature"]
    assert refusal(request.headers, timed(), body, tolerance_secs=1) is None


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({}, "header, algorithm, encoding"),
        ({"algorithm": "hmac-sha512", "encoding": "hex"}, "set header"),
        ({"header": "", "algorithm": "hmac-sha512", "encoding": "hex"}, "set header"),
        ({"header": "x-s", "encoding": "hex"}, "set algorithm"),
        ({"header": "x-s", "algorithm": "hmac-sha512"}, "set encoding"),
        ({"header": "x s"}, "no name of a header"),
        ({"timestamp_header": "x:t", "signed": "{timestamp}{body}"}, "no name of a header"),
        ({"signed": ""}, "{body} once"),
        ({"signed": "{timestamp}", "timestamp_header": "x-t"}, "{body} once"),
        ({"signed": "{body}{body}"}, "{body} once"),
        ({"signed": "{timestamp}{timestamp}{body}", "timestamp_header": "x-t"}, "{body} once"),
        ({"signed": "{id}.{body}"}, "in braces"),
        ({"signed": "{timestamp}.{body}"}, "timestamp_header"),
        ({"timestamp_header": "x-t"}, "proves nothing"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_incomplete_scheme_does_not_start(chosen: dict[str, str], says: str) -> None:
    """And it is said what to configure, and why."""
    whole = chosen if "set" in says or not chosen else SETUP["options"] | chosen
    built = msgspec.convert(whole, EchezonaOptions)
    with pytest.raises(ValueError) as error:
        PACK.check_options(built)

    assert says in str(error.value)


def test_what_is_missing_is_explained() -> None:
    """Echezona publishes no scheme: the operator must ask, and hookmill guesses none."""
    with pytest.raises(ValueError, match=r"publishes no signature scheme.*x-echezona-signature"):
        PACK.check_options(EchezonaOptions())


@pytest.mark.parametrize(
    "wrong", [{"algorithm": "hmac-md5"}, {"encoding": "rot13"}, {"amount_unit": "kobo"}, {"x": 1}]
)
def test_an_unknown_choice_is_an_error(wrong: dict[str, Any]) -> None:
    """As is an unknown option."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(SETUP["options"] | wrong, EchezonaOptions)


@pytest.mark.parametrize("chosen", [None, EchezonaOptions()])
def test_without_a_scheme_nothing_is_accepted(chosen: EchezonaOptions | None) -> None:
    """Should the check at start ever be forgotten."""
    headers = {"x-echezona-signature": digest(BODY).hex(), "": digest(BODY).hex()}

    assert refusal(headers, chosen) == "signature_invalid"


def test_the_evidence_is_the_headers_that_the_options_name() -> None:
    """Every repetition of them, and nothing else."""
    sent = Delivery(
        (("x-echezona-signature", "s"), ("x-echezona-time", "1"), ("authorization", "a")), b"", 0
    )

    assert PACK.evidence(sent, PLAIN) == {"x-echezona-signature": ["s"]}
    assert PACK.evidence(sent, timed()) == {
        "x-echezona-signature": ["s"],
        "x-echezona-time": ["1"],
    }


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_never_accepted(data: st.DataObject) -> None:
    """In the body, the time or the signature; hex may change its case, and nothing else."""
    encoding = data.draw(st.sampled_from(["hex", "base64"]))
    chosen = timed(algorithm="hmac-sha256", encoding=encoding)
    request = PACK.sign(BODY, secret=TEXT, message_id="m", at_us=NOW_US, options=chosen)
    where = data.draw(st.sampled_from(["x-echezona-signature", "x-echezona-time", "body"]))
    headers, body = dict(request.headers), bytearray(request.body)
    target = body if where == "body" else bytearray(headers[where].encode())
    bit = data.draw(st.integers(0, 7 if where == "body" else 6))
    position = data.draw(st.integers(0, len(target) - 1))
    before = target.decode()
    target[position] ^= 1 << bit
    if where != "body":
        headers[where] = target.decode()
    same = where != "body" and encoding == "hex" and headers[where].lower() == before

    assert (refusal(headers, chosen, bytes(body)) is None) == same
    assert same or refusal(headers, chosen, bytes(body)) == "signature_invalid"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=90) | st.text("0123456789abcdefABCDEF=", max_size=130), st.text(),
       st.binary(max_size=60), st.sampled_from(["hex", "base64"]))  # fmt: skip
def test_odd_values_are_refused_and_never_raise(
    signature: str, at: str, body: bytes, encoding: str
) -> None:
    """Nothing but Refused leaves verify, and identify answers for anything."""
    headers = {"x-echezona-signature": signature, "x-echezona-time": at}

    assert refusal(headers, timed(encoding=encoding), body, 180) in set(Reason)
    assert item(body).body == body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from([*EVENTS, *DECIMALS, "success", "failed", "5000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = ("transaction_id", "reference", "amount", "currency", "status", "metadata", "customer")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*EVENTS, "x"]) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON,
    st.sampled_from([None, "minor", "major"]),
)
def test_normalize_answers_for_any_object(word: Any, data: Any, unit: str | None) -> None:
    """Whatever the fields hold, a known type comes out, and it names the subject it was kept by."""
    body = json.dumps({"event": word, "data": data}).encode()
    draft = PACK.normalize(body, options(amount_unit=unit))

    assert draft.status in STATUSES[draft.kind]
    assert item(body).subject == draft.subject
    assert (draft.changes == ()) == (draft.kind == "other")
    assert draft.amount is None or (unit is not None and draft.kind != "other")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_normalize_raises_nothing_but_unparseable_body(body: bytes) -> None:
    """A body that is no object is set aside, later."""
    try:
        draft = PACK.normalize(body, PLAIN)
    except UnparseableBody:
        assert item(body) == Item(body, hashlib.sha256(body).hexdigest())
    else:
        assert draft.kind == "other"


@pytest.mark.parametrize("seed", range(40))
def test_a_story_becomes_what_it_says(seed: int) -> None:
    """Every step is verified, is an event of its own, and has the type it promises."""
    story = told.stories(random.Random(seed), NOW_US)
    keys = set()
    for step in story:
        request = PACK.sign(step.body, secret=TEXT, message_id=step.message_id, at_us=NOW_US,
                            options=PLAIN)  # fmt: skip
        draft = PACK.normalize(request.body, PLAIN)
        found = item(request.body)
        keys.add((found.event_id, found.event_type))

        assert refusal(request.headers, body=request.body) is None
        assert step.becomes == f"{draft.kind}.{draft.status}"
    assert len(keys) == len(story) == len({step.message_id for step in story})
    assert story == told.stories(random.Random(seed), NOW_US)
