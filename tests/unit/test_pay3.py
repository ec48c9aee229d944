"""Pay3: tokens, the table of statuses, and what an order's events are called."""

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
from hookmill.core.resource import merge
from hookmill.local.stories import pay3 as told
from hookmill.providers.pack import Terms
from hookmill.providers.pay3 import Pay3

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pay3"
CASES = sorted(
    path.name.removesuffix(".expected.json") for path in FIXTURES.glob("*.expected.json")
)
REFUSED = sorted(
    path.name.removesuffix(".expected.json") for path in FIXTURES.glob("refused/*.expected.json")
)
VECTORS = json.loads((FIXTURES / "vectors.json").read_text())
TEXT = json.loads((FIXTURES / "secrets.json").read_text())["secrets"][0]["text"]

NOW_US = 1_763_888_400_000_000
NOW_SECS = NOW_US // 1_000_000
PACK = Pay3()
MAIN = Secret("main", TEXT.encode())
TERMS = Terms(secrets=[MAIN], options=PACK.options())
HEADER = {"alg": "HS384"}
ORDER = {"orderType": "CHECKOUT", "orderId": "o1", "orderStatus": "COMPLETED"}


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims: Any, header: Any = HEADER, key: str = TEXT, digest: str = "sha384") -> str:
    """A token made without PyJWT, so that the tests do not lean on what they test."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.new(key.encode(), signed.encode(), digest).digest())}"


def envelope(payload: Any) -> bytes:
    return json.dumps({"payload": payload}).encode()


def delivery(body: bytes) -> Delivery:
    return Delivery((("content-type", "application/json"),), body, NOW_US)


def verified(payload: Any, terms: Terms = TERMS) -> str:
    return PACK.verify(delivery(envelope(payload)), terms).name


def refusal(body: bytes, terms: Terms = TERMS) -> Reason:
    with pytest.raises(Refused) as refused:
        PACK.verify(delivery(body), terms)
    return refused.value.reason


def drafted(claims: Any) -> Any:
    return PACK.normalize(envelope(token(claims)), PACK.options())


def item(claims: Any) -> Item:
    (found,) = PACK.identify(delivery(envelope(token(claims))))
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_documented_delivery_becomes_what_its_fixture_says(case: str) -> None:
    """Verified, identified and normalized, from the exact bytes."""
    body = (FIXTURES / f"{case}.json").read_bytes()
    headers = json.loads((FIXTURES / f"{case}.headers.json").read_text())
    expected = json.loads((FIXTURES / f"{case}.expected.json").read_text())
    given_delivery = Delivery(tuple(headers.items()), body, NOW_US)

    assert PACK.verify(given_delivery, TERMS) == MAIN
    assert (Item(body, **expected["item"]),) == PACK.identify(given_delivery)
    if expected["draft"] == {"unparseable": True}:
        with pytest.raises(UnparseableBody):
            PACK.normalize(body, PACK.options())
    else:
        draft = PACK.normalize(body, PACK.options())
        assert expected["draft"] == json.loads(msgspec.json.encode(draft))


@pytest.mark.parametrize("case", REFUSED)
def test_a_delivery_that_proves_nothing_is_refused(case: str) -> None:
    """The sample of Pay3's page among them: its copies lost the case of the signature."""
    body = (FIXTURES / "refused" / f"{case}.json").read_bytes()
    expected = json.loads((FIXTURES / "refused" / f"{case}.expected.json").read_text())

    assert expected == {"refused": refusal(body)}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_vector_is_verified(vector: dict[str, str]) -> None:
    """With its own secret, and with no other."""
    terms = Terms(secrets=[Secret("its own", vector["key_text"].encode())])

    assert verified(vector["jwt"], terms) == "its own"
    assert refusal(envelope(vector["jwt"]), Terms(secrets=[Secret("x", b"x")])) == "token_invalid"


def test_the_vector_of_jwt_io_is_authentic_but_no_order() -> None:
    """Its claims name no order: kept as unrecognized, under the hash of the claims."""
    body = envelope(VECTORS[0]["jwt"])
    claims = base64.urlsafe_b64decode(VECTORS[0]["jwt"].split(".")[1] + "==")
    draft = PACK.normalize(body, PACK.options())
    (found,) = PACK.identify(delivery(body))

    assert (draft.kind, draft.status, draft.changes) == ("other", "unrecognized", ())
    assert found == Item(body, hashlib.sha256(claims).hexdigest())


# order status, payment status, payment becomes, payout becomes, rank (payment, payout), row
PENDING = ("payment.pending", "transfer.pending", (2, 2))
SUCCEEDED = ("payment.succeeded", "transfer.succeeded", (5, 5))
FAILED = ("payment.failed", "transfer.failed", (5, 5))
ROWS: list[tuple[str, str | None, str, str, tuple[int, int], int]] = [
    ("CREATED", None, "payment.created", "transfer.pending", (1, 2), 1),
    ("CREATED", "NEVER_HEARD_OF", "payment.created", "transfer.pending", (1, 2), 1),
    ("ORDER_STARTED", None, *PENDING, 2),
    ("ORDER_PAYMENT_AWAITING", None, *PENDING, 3),
    ("ORDER_PAYMENT_PROCESSING", None, *PENDING, 4),
    ("ORDER_PAYMENT_INITIATED", None, *PENDING, 5),
    ("ORDER_PAYMENT_INITIATED", "AWAITING_APPROVAL", *PENDING, 5),
    ("ABANDONED", None, "payment.expired", "transfer.failed", (4, 4), 6),
    ("ABANDONED", "MAX_RETRIES_REACHED", "payment.expired", "transfer.failed", (4, 4), 6),
    ("COMPLETED", None, *SUCCEEDED, 7),
    ("COMPLETED", "", *SUCCEEDED, 7),
    ("COMPLETED", "SUCCESS", *SUCCEEDED, 7),
    ("completed", "Completed", *SUCCEEDED, 7),
    ("COMPLETED", "UNDER_PAID", *SUCCEEDED, 8),
    ("COMPLETED", "OVER_PAID", "payment.overpaid", "transfer.succeeded", (5, 5), 9),
    ("FAILED", None, *FAILED, 11),
    ("FAILED", "DECLINED", *FAILED, 11),
    ("FAILED", "NEVER_HEARD_OF", *FAILED, 11),
    ("FAILED", "CANCELED", "payment.cancelled", "transfer.failed", (5, 5), 12),
    ("FAILED", "UNDER_PAID", *FAILED, 13),
    ("FAILED", "REFUND_INITIATED", "refund.pending", "transfer.failed", (2, 5), 14),
    ("FAILED", "REFUNDED", "refund.succeeded", "transfer.reversed", (5, 5), 15),
    ("FAILED", "REFUND_FAILED", "refund.failed", "transfer.failed", (5, 5), 16),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}/{row[1]}")
@pytest.mark.parametrize("order_type", ["CHECKOUT", "CRYPTO", "FIAT", "fiat", "PAYOUT", "payout"])
def test_every_row_of_the_table(order_type: str, row: tuple[Any, ...]) -> None:
    """A payment, its refund or a payout, each with its rank and its row."""
    status, paid, payment, transfer, ranks, number = row
    draft = drafted({"orderType": order_type, "orderId": 17, "orderStatus": status,
                     "paymentStatus": paid})  # fmt: skip
    payout = order_type.upper() == "PAYOUT"
    resource = f"{order_type.upper()}:17"

    assert f"{draft.kind}.{draft.status}" == (transfer if payout else payment)
    own, *others = draft.changes
    assert (own.kind, own.status, own.resource_id) == (draft.kind, draft.status, resource)
    assert (own.rank, own.row, own.time_us) == (ranks[payout], number, 0)
    assert draft.subject == "17"
    assert draft.links == Links(order="17", payment=resource)
    assert draft.provider_event.status == (f"{status}/{paid}" if paid else status)
    refunded = [(each.kind, each.resource_id, each.status, each.rank) for each in others]
    assert refunded == ([("payment", resource, "failed", 5)] if draft.kind == "refund" else [])


@pytest.mark.parametrize(
    ("status", "paid", "direction"),
    [
        ("COMPLETED", "UNDER_PAID", "under"),
        ("FAILED", "UNDER_PAID", "under"),
        ("COMPLETED", "OVER_PAID", "over"),
        ("COMPLETED", "SUCCESS", None),
    ],
)
def test_only_the_direction_of_a_discrepancy_is_told(
    status: str, paid: str, direction: str | None
) -> None:
    """The webhook carries no amounts."""
    draft = drafted({**ORDER, "orderStatus": status, "paymentStatus": paid})

    assert (draft.discrepancy and draft.discrepancy.direction) == direction
    assert draft.discrepancy is None or draft.discrepancy.amount is None
    assert draft.amount is None


@pytest.mark.parametrize("order_type", ["CHECKOUT", "PAYOUT"])
@pytest.mark.parametrize("paid", ["REVIEW_CREATED", "REVIEW_SUBMITTED"])
def test_a_review_after_completion_is_for_a_person(order_type: str, paid: str) -> None:
    """It is no second success and changes no state."""
    draft = drafted({**ORDER, "orderType": order_type, "paymentStatus": paid})

    assert (draft.kind, draft.status, draft.changes) == ("other", "review", ())


@pytest.mark.parametrize(
    "change",
    [
        {"orderStatus": "PAUSED"},
        {"orderStatus": None},
        {"orderStatus": ["COMPLETED"]},
        {"orderType": "GIFT_CARD"},
        {"orderType": None},
        {"orderType": {"a": 1}},
        {"orderId": None},
        {"orderId": ""},
        {"orderId": 1.5},
        {"paymentStatus": "REVIEW_IN_PROGRESS"},
        {"paymentStatus": "DECLINED"},
        {"paymentStatus": ["SUCCESS"]},
        {"paymentStatus": False},
        {"type": "pay3-sdk-sendtxn-status"},
        {"type": ["pay3-sdk-transaction-status"]},
        {"data": None},
        {"data": [ORDER]},
    ],
    ids=str,
)
def test_what_no_row_fits_is_kept_as_unrecognized(change: dict[str, Any]) -> None:
    """Unknown words and wrong types never become money, and never raise."""
    draft = drafted({**ORDER, **change})

    assert (draft.kind, draft.status, draft.changes) == ("other", "unrecognized", ())


def test_flat_and_wrapped_claims_tell_of_the_same_resource() -> None:
    """The two shapes in Pay3's documents meet in one state."""
    flat = drafted(ORDER)
    wrapped = drafted({"requestId": "r", "data": ORDER, "type": "pay3-sdk-transaction-status"})

    assert flat.changes == wrapped.changes
    assert (flat.metadata, wrapped.metadata) == ({}, {"requestId": "r"})


def test_two_legs_of_one_order_are_two_payments_of_one_subject() -> None:
    """A fiat and a crypto transaction of an order: two events, two resources, one order."""
    fiat, crypto = ({**ORDER, "orderType": kind} for kind in ("CHECKOUT", "CRYPTO"))

    assert item(fiat).event_id != item(crypto).event_id
    assert item(fiat).subject == item(crypto).subject == "o1"
    assert drafted(fiat).changes[0].resource_id != drafted(crypto).changes[0].resource_id


def test_each_status_of_an_order_is_an_event_of_its_own() -> None:
    """The same status told again is the same event."""
    paid = {**ORDER, "paymentStatus": "SUCCESS"}

    assert item(ORDER).event_id == "CHECKOUT:o1:COMPLETED:"
    assert item(paid).event_id == "CHECKOUT:o1:COMPLETED:SUCCESS"
    assert item(paid).event_id == item({**paid, "error": {"code": 1}}).event_id


def test_claims_without_an_order_are_called_by_their_hash() -> None:
    """Log-ins name no order; so two of them with other claims are two events."""
    login = {"data": {"isLoggedIn": True, "address": "0xab"}, "type": "pay3-sdk-login-status"}
    draft = drafted(login)

    assert item(login).event_id == hashlib.sha256(json.dumps(login).encode()).hexdigest()
    assert item(login).subject is None
    assert (draft.kind, draft.status, draft.metadata) == ("other", "login", {})


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"code": 7001, "message": "m"}, ("7001", "m")),
        ({"code": "E1", "message": None}, ("E1", None)),
        ({"code": True, "message": []}, None),
        ({}, None),
        ("text", None),
        (None, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("inside", [True, False])
def test_an_error_is_told_as_it_was_given(
    error: Any, failure: tuple[str | None, str | None] | None, inside: bool
) -> None:
    """Beside `data` or in it; a number is written out."""
    order = {**ORDER, "orderStatus": "FAILED"}
    draft = drafted(
        {"data": {**order, "error": error}} if inside else {"data": order, "error": error}
    )

    assert (draft.failure and (draft.failure.code, draft.failure.message)) == failure


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (["ABANDONED", "COMPLETED"], "succeeded"),
        (["CREATED", "ORDER_PAYMENT_PROCESSING", "COMPLETED"], "succeeded"),
        (["CREATED", "ABANDONED", "FAILED"], "failed"),
    ],
)
def test_completed_and_failed_win_in_any_order(path: list[str], end: str) -> None:
    """A time-out is not the last word."""
    for order in (path, path[::-1]):
        state = None
        for status in order:
            (change,) = drafted({**ORDER, "orderStatus": status}).changes
            state = merge(state, change, status).state

        assert state is not None
        assert (end, False) == (state.status, state.conflict)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "HS256"}, "token_algorithm"),
        ({"alg": "HS512"}, "token_algorithm"),
        ({"alg": "RS256", "jku": "https://evil.example/keys"}, "token_algorithm"),
        ({"alg": "none"}, "token_algorithm"),
        ({"alg": "None", "kid": 5}, "token_algorithm"),
        ({"alg": "hs384"}, "token_algorithm"),
        ({"alg": ["HS384"]}, "token_algorithm"),
        ({"alg": None}, "token_algorithm"),
        ({}, "token_algorithm"),
        ({"alg": "none", "crit": ["b64"], "b64": False}, "token_algorithm"),
        ({"alg": "HS384", "crit": ["exp"]}, "token_invalid"),
        ({"alg": "HS384", "crit": []}, "token_invalid"),
        ({"alg": "HS384", "crit": ["b64"], "b64": False}, "token_invalid"),
        ({"alg": "HS384", "b64": False}, "token_invalid"),
        ({"alg": "HS384", "kid": ["../../key"]}, "token_invalid"),
        ([], "token_invalid"),
        ("HS384", "token_invalid"),
        (b"not json", "token_invalid"),
        (b"", "token_invalid"),
        (b"\xff\xfe", "token_invalid"),
        (b"[" * 100_000, "token_invalid"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_only_hs384_counts_whatever_the_header_says(header: Any, reason: str, digest: str) -> None:
    """Even where the secret itself made the MAC."""
    assert refusal(envelope(token(ORDER, header, digest=digest))) == reason


def test_a_detached_payload_is_no_token() -> None:
    """RFC 7797 lets the payload be left out; Pay3's never is."""
    header = {"alg": "HS384", "b64": False, "crit": ["b64"]}
    signed = f"{part(header)}."
    mac = hmac.new(TEXT.encode(), signed.encode(), "sha384").digest()

    assert refusal(envelope(f"{signed}.{part(mac)}")) == "token_invalid"


def test_harmless_header_fields_change_nothing() -> None:
    """`kid`, `jku` and `x5u` are never followed."""
    header = {"alg": "HS384", "typ": "JWT", "kid": "a", "jku": "https://evil.example", "x5u": 1}

    assert verified(token(ORDER, header)) == "main"


@pytest.mark.parametrize(
    "claims",
    [
        b"",
        b"null",
        b"[1]",
        b"\xff",
        {"sub": 5, "aud": ["x"], "iss": 7, "jti": 1, "iat": NOW_SECS + 60, "nbf": NOW_SECS + 60},
        {"exp": NOW_SECS + 1},
        {"exp": str(NOW_SECS - 1)},
        {"exp": True},
        {"exp": None},
    ],
    ids=str,
)
def test_authentic_claims_are_taken_whatever_they_are(claims: Any) -> None:
    """Of the registered claims only a numeric `exp` counts."""
    assert verified(token(claims)) == "main"


@pytest.mark.parametrize(
    ("exp", "live"),
    [
        (str(NOW_SECS), False),
        (f"{NOW_SECS}.000001", True),
        (f"{NOW_SECS - 1}.999999", False),
        ("0", False),
        ("-1", False),
        ("9" * 400, True),
        ("1e300", True),
        ("1e-300", False),
        ("1e99999999999999999999", False),
    ],
)
def test_a_token_that_expired_is_invalid(exp: str, live: bool) -> None:
    """Against the time of receipt, to the microsecond; an absurd figure counts as expired."""
    payload = token(f'{{"exp":{exp}}}'.encode())

    if live:
        assert verified(payload) == "main"
    else:
        assert refusal(envelope(payload)) == "token_invalid"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"{}", b'{"payload":null}', b'{"payload":1}', b"\xff",
     b'{"Payload":"x"}', b'{"payload":["x"]}', b"[" * 100_000, b'{"payload":"x"'],
    ids=lambda body: str(body)[:30],
)  # fmt: skip
def test_a_body_without_a_token_is_malformed(body: bytes) -> None:
    """Verification itself must read the envelope."""
    assert refusal(body) == "malformed_envelope"


@pytest.mark.parametrize(
    "payload",
    ["", ".", "..", "...", "x", "a.b.c", "é.é.é", "\x00", " ", part(HEADER), f"{part(HEADER)}.",
     f"{part(HEADER)}..", token(ORDER) + ".", token(ORDER) + "=", "." + token(ORDER),
     token(ORDER) + "\n", " " + token(ORDER), token(ORDER).replace(".", "..", 1)],
    ids=lambda payload: repr(payload)[:30],
)  # fmt: skip
def test_a_string_that_is_no_token_is_invalid(payload: str) -> None:
    """Nothing is trimmed or mended."""
    assert refusal(envelope(payload)) == "token_invalid"


def test_every_live_secret_may_have_signed() -> None:
    """Rotation needs no deploy: the name of the one that fits is told."""
    secrets = [Secret("2026-11", b"new"), Secret("2026-05", b"old")]
    terms = Terms(secrets=secrets)

    assert verified(token(ORDER, key="new"), terms) == "2026-11"
    assert verified(token(ORDER, key="old"), terms) == "2026-05"
    assert refusal(envelope(token(ORDER, key="older")), terms) == "token_invalid"
    assert refusal(envelope(token(ORDER)), Terms(secrets=[])) == "token_invalid"


def test_a_public_key_is_no_secret() -> None:
    """Refused at start, as an empty one is: anyone could sign with it."""
    pem = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
    for text in ("", "whsec_", pem, '{"kty":"oct","k":"YQ"}'):
        with pytest.raises(ValueError, match="secret"):
            PACK.key(text)

    assert PACK.key("short") == b"short"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_never_accepted(data: st.DataObject) -> None:
    """Whichever bit of the token changes, the delivery is refused."""
    payload = token({**ORDER, "paymentStatus": "SUCCESS"}).encode()
    position = data.draw(st.integers(0, len(payload) - 1))
    changed = bytearray(payload)
    changed[position] ^= 1 << data.draw(st.integers(0, 6))
    reason = refusal(envelope(changed.decode("ascii")))

    assert reason in {"token_invalid", "token_algorithm"}
    if position >= payload.index(b"."):
        assert reason == "token_invalid"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=200))
def test_odd_bytes_are_refused_and_never_raise(body: bytes, text: str) -> None:
    """Nothing but Refused leaves verify, and identify answers for anything."""
    assert refusal(body) in Reason
    assert refusal(envelope(text)) in Reason
    for each in (body, envelope(text)):
        (found,) = PACK.identify(delivery(each))
        assert found.body == each


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["COMPLETED", "FAILED", "CHECKOUT", "UNDER_PAID"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = ("orderType", "orderId", "orderStatus", "paymentStatus", "error", "data", "type",
          "requestId", "offerId")  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_normalize_answers_for_any_claims(changes: dict[str, Any], wrapped: bool) -> None:
    """Whatever the fields hold, a known type comes out, and it names the subject it was kept by."""
    order = {**ORDER, **changes}
    claims = {"data": order, "type": "pay3-sdk-transaction-status"} if wrapped else order
    draft = drafted(claims)

    assert draft.status in STATUSES[draft.kind]
    assert item(claims).subject == draft.subject
    assert (draft.changes == ()) == (draft.kind == "other")


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_normalize_raises_nothing_but_unparseable_body(value: Any) -> None:
    """Claims that are no object are set aside, later."""
    if isinstance(value, dict):
        assert drafted(value).kind == "other"
    else:
        with pytest.raises(UnparseableBody):
            drafted(value)


def test_the_simulator_signs_as_pay3_does() -> None:
    """No `typ` in the header, the claims byte for byte, the envelope around them."""
    claims = b'{"orderType":"FIAT", "orderId":"1"}'
    request = PACK.sign(claims, secret=TEXT, message_id="m", at_us=NOW_US, options=PACK.options())
    payload = json.loads(request.body)["payload"]

    assert payload == token(claims, b'{"alg":"HS384"}')
    assert request.headers == {"content-type": "application/json"}


def test_the_evidence_lies_in_the_body() -> None:
    """No header proves anything."""
    assert PACK.evidence(delivery(b"{}"), PACK.options()) == {"scheme": "body"}


@pytest.mark.parametrize("seed", range(60))
def test_a_story_becomes_what_it_says(seed: int) -> None:
    """Every step is verified, is an event of its own, and has the type it promises."""
    story = told.stories(random.Random(seed), NOW_US)
    keys = set()
    for step in story:
        request = PACK.sign(step.body, secret=TEXT, message_id=step.message_id, at_us=NOW_US,
                            options=PACK.options())  # fmt: skip
        sent = Delivery(tuple(request.headers.items()), request.body, NOW_US)
        draft = PACK.normalize(request.body, PACK.options())
        (found,) = PACK.identify(sent)
        keys.add((found.event_id, found.event_type))

        assert PACK.verify(sent, TERMS) == MAIN
        assert step.becomes == f"{draft.kind}.{draft.status}"
    assert len(keys) == len(story) == len({step.message_id for step in story})
    assert story == told.stories(random.Random(seed), NOW_US)


def test_the_pack_tells_what_it_maps() -> None:
    """For people: their words and ours."""
    assert PACK.events["COMPLETED"] == "payment.succeeded"
    assert PACK.events["FAILED/REFUNDED"] == "refund.succeeded"
    assert PACK.events["PAYOUT FAILED/REFUNDED"] == "transfer.reversed"
    assert len(PACK.retry_delays_secs) == 10
    for ours in PACK.events.values():
        kind, status = ours.split(".")
        assert status in STATUSES[kind]
