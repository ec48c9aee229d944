"""Every pack under fire: requests of any shape, and good ones bent a little in every place.

A pack answers with a secret or a refusal, an item or more, a draft or `UnparseableBody`; any
other exception would be a request that nobody answers, or a record that stops for a defect.
"""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hookmill.config import options
from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Refused, UnparseableBody
from hookmill.core.event import STATUSES, decode
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.parse import parse_json
from hookmill.core.record import Output, Record
from hookmill.providers import pay3
from hookmill.providers.endpoint import Endpoint, build
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS
from hookmill.providers.schemes.signed import Signed
from hookmill.stages import headers
from hookmill.stages.accept import accept
from hookmill.stages.normalize import Normalize
from hookmill.stages.route import Route
from support.alone import decide, read

BUSY = [HealthCheck.too_slow]  # the machine may have other work
TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
FUZZ = settings(
    max_examples=80 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)
DEEP = settings(FUZZ, max_examples=200 * TIMES)
ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
NOW_US = 1_731_684_727_123_456
SECRET_TEXT = "whsec_" + "q" * 64
EACH_PACK = pytest.mark.parametrize("name", sorted(PACKS))

SEEDS = ("yoco", "rehive", "pay3", "echezona")
SCHEME = {"header": "X-Signature", "algorithm": "hmac-sha512", "encoding": "hex",
          "prefix": "sha512=", "signed": "{timestamp}.{body}", "timestamp_header": "X-Time",
          "amount_unit": "major"}  # fmt: skip


@cache
def endpoint(name: str) -> Endpoint:
    """An endpoint of that provider; where it has options, with all of them."""
    chosen: dict[str, Any] = SCHEME if name == "echezona" else dict(PACKS[name].example_options)
    return build(name, options.Endpoint(provider=name, options=chosen))


@cache
def secret(name: str) -> Secret:
    """The one that signs."""
    return Secret("main", PACKS[name].key(secret_text(name)))


@cache
def secret_text(name: str) -> str:
    """Of the seeds a fixed one, of any other what its scheme takes."""
    return SECRET_TEXT if name in SEEDS else PACKS[name].example_secret("main")


def terms(name: str, *others: Secret) -> Terms:
    """A live secret, perhaps among others."""
    tolerance_secs = 300 if name == "echezona" else endpoint(name).tolerance_secs
    return Terms(secrets=[*others, secret(name)], tolerance_secs=tolerance_secs,
                 options=endpoint(name).options)  # fmt: skip


def signed(name: str, body: bytes, *, at_us: int = NOW_US) -> Delivery:
    """A request as the provider sends it."""
    request = PACKS[name].sign(body, secret=secret_text(name), message_id="msg_1", at_us=at_us,
                               options=endpoint(name).options)  # fmt: skip
    return Delivery(tuple(request.headers.items()), request.body, NOW_US, request.query)


@cache
def bodies(name: str) -> list[bytes]:
    """The fixtures' bodies; of a token the claims, so that they can be signed anew."""
    found = []
    folder = FIXTURES / name
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.txt")]):
        if path.name.count(".") == 1 and path.stem not in ("secrets", "vectors"):
            body = path.read_bytes()
            found.append(body if name != "pay3" else _claims(body))
    return [body for body in found if _signable(name, body)]


def _signable(name: str, body: bytes) -> bool:
    """Whether the provider could send it: where fields are signed, they must be in it."""
    try:
        signed(name, body)
    except (Refused, UnparseableBody, ValueError):
        return False
    return True


def _claims(body: bytes) -> bytes:
    """The claims in a token; a body that holds none stands for them itself."""
    try:
        return pay3._claims(body)
    except UnparseableBody:
        return body


NUMBERS = st.sampled_from(
    ["0", "-0", "-1", "1.50", "900.0", "9e2", "1e-400", "1E+400", "9" * 38, "9" * 39, "9" * 4299,
     "18446744073709551616", "-9223372036854775809", "1e99999999999999999999", "0.1",
     "1700000000000", "253402300800000", "99999999999999999999"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["", " ", "paid", "overpaid", "expired", "succeeded", "payment.succeeded", "refund.succeeded",
     "charge.success", "subscription.renew", "refund.processed", "COMPLETED", "FAILED",
     "REFUNDED", "PAYOUT", "checkout", "ZAR", "NGN", "UGX", "BTC", "live", "test", "|", "%",
     "a|b", "\x00", "\x7f\r\n", "ﬀ", "İ", "٣", "x" * 300, "é" * 200, "🦀", "9.00", "1e5",
     "2024-06-15T15:51:55.260284Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60Z",
     "pay3-sdk-transaction-status", "pay3-sdk-login-status", "request.update", "otp.create"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | WORDS | st.text(max_size=8)
).map(lambda value: json.dumps(value)) | NUMBERS


def _pairs(values: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> Any:
    return st.lists(st.tuples(keys, values), max_size=6).map(
        lambda pairs: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"
    )


def texts_of_json(name: str) -> st.SearchStrategy[str]:
    """JSON of any shape, in the pack's own keys as often as not; keys may come twice."""
    keys = st.sampled_from(sorted(keys_of(name))) | WORDS
    return st.recursive(
        SCALARS,
        lambda inner: (
            _pairs(inner, keys)
            | st.lists(inner, max_size=3).map(lambda values: "[" + ",".join(values) + "]")
        ),
        max_leaves=12,
    )


@cache
def keys_of(name: str) -> frozenset[str]:
    """Every key in the fixtures of a provider."""
    found: set[str] = set()
    waiting: list[Any] = []
    for body in bodies(name):
        try:
            waiting.append(parse_json(body))
        except UnparseableBody:
            continue
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.update(node)
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return frozenset(found)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else []
    for key, child in [*children, *(enumerate(value) if isinstance(value, list) else [])]:
        yield from _places(child, (*path, key))


@st.composite
def bent_json(draw: st.DrawFn, name: str) -> bytes:
    """A real body with some of its values exchanged for others, or left out."""
    try:
        value = json.loads(draw(st.sampled_from(bodies(name))))
    except ValueError:
        return b"{"
    marked = {}
    for number in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(list(_places(value))[1:] or [("data",)]))
        node = value
        try:
            for key in above:
                node = node[key]
            node[last] = f"\x01{number}"
        except (TypeError, LookupError):
            continue
        marked[json.dumps(f"\x01{number}")] = draw(SCALARS | texts_of_json(name))
    text = json.dumps(value)
    for mark, other in marked.items():
        text = text.replace(mark, other)
    return text.encode()


@st.composite
def bent_bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """The bytes cut, flipped, doubled or spliced somewhere."""
    place = draw(st.integers(0, max(0, len(body) - 1)))
    how = draw(st.sampled_from(["cut", "flip", "insert", "double", "drop"]))
    match how:
        case "cut":
            return body[:place]
        case "flip":
            bit = 1 << draw(st.integers(0, 7))
            return body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :] if body else b"x"
        case "insert":
            more = draw(st.binary(min_size=1, max_size=4) | st.just(b"[" * 200))
            return body[:place] + more + body[place:]
        case "double":
            return body[:place] + body
        case _:
            return body[:place] + body[place + 1 :]


def any_body(name: str) -> st.SearchStrategy[bytes]:
    """Bytes, JSON of any shape, bent fixtures."""
    return st.one_of(
        st.binary(max_size=60),
        texts_of_json(name).map(lambda text: text.encode("utf-8", "replace")),
        bent_json(name),
        bent_json(name),  # more often than the others: most of it is recognized
        bent_json(name),
        st.sampled_from(bodies(name)).flatmap(bent_bytes),
        st.sampled_from([b"[" * 5000, b'{"a":' * 150 + b"1" + b"}" * 150, b"\xef\xbb\xbf{}",
                         b'{"id":"\xed\xa0\x80"}', b'{"id":"\\ud800x"}', b"{}" * 2]),
    )  # fmt: skip


def on_the_wire(name: str, body: bytes) -> bytes:
    """The body as it is delivered; a token for the provider that sends claims in one."""
    return signed(name, body).body if _signable(name, body) else body


ODD_TEXT = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.binary(max_size=20).map(lambda raw: raw.decode("latin-1")),
    st.text("v1,= AQab09.\t", max_size=30),
    st.sampled_from(["\ud800", "\udcff", "9" * 20, "-1", "1e9", "٣", "²", "NaN", "0x10", "1_0",
                     "Secret \udcff", "v1,", ",", "sha512=", "sha512=" + "0" * 128, " 5 ",
                     "A" * 70_000]),
)  # fmt: skip
NAMES = st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "authorization",
                         "x-signature", "x-time", "content-type", "traceparent"])  # fmt: skip


def verdict(name: str, delivery: Delivery, *others: Secret) -> Secret | None:
    """The secret, or None for a refusal; any other exception is a defect."""
    try:
        return PACKS[name].verify(delivery, terms(name, *others))
    except Refused:
        return None


@EACH_PACK
def test_any_request_at_all_is_refused(name: str) -> None:
    """Whoever has no secret is never taken, and never raises anything but a refusal."""

    @FUZZ
    @given(st.lists(st.tuples(NAMES, ODD_TEXT), max_size=6), any_body(name))
    def refused(pairs: list[tuple[str, str]], body: bytes) -> None:
        assert verdict(name, Delivery(tuple(pairs), body, NOW_US)) is None

    refused()


@EACH_PACK
def test_a_bent_body_is_not_taken_for_the_one_that_was_signed(name: str) -> None:
    """Not one byte of it; where the body is not signed it is never looked at."""

    @FUZZ
    @given(st.data())
    def bent(data: st.DataObject) -> None:
        good = signed(name, data.draw(st.sampled_from(bodies(name))))
        body = data.draw(bent_bytes(good.body))
        found = verdict(name, Delivery(good.headers, body, NOW_US))
        if PACKS[name].scheme(endpoint(name).options).static:
            assert found == secret(name)
        elif found is not None and PACKS[name].signs_body:
            assert _token(body) == _token(good.body)

    bent()


def _token(body: bytes) -> Any:
    """What of a body is signed: all of it, or the token in it."""
    try:
        value = parse_json(body)
    except UnparseableBody:
        return body
    return value.get("payload", body) if isinstance(value, dict) else body


@EACH_PACK
def test_a_bent_header_is_not_taken(name: str) -> None:
    """Another value, a flipped letter, a repetition, a header that is missing."""

    @FUZZ
    @given(st.data())
    def bent(data: st.DataObject) -> None:
        good = signed(name, bodies(name)[0])
        places = [n for n, (key, _) in enumerate(good.headers) if key != "content-type"]
        if not places or (name not in SEEDS and _in_the_body(name)):  # the proof lies in the body
            more = data.draw(st.lists(st.tuples(NAMES, ODD_TEXT), max_size=3))
            assert verdict(name, Delivery(tuple(more), good.body, NOW_US)) == secret(name)
            return
        place = data.draw(st.sampled_from(places))
        key, value = good.headers[place]
        other = data.draw(ODD_TEXT | _bent_text(value))
        pairs = list(good.headers)
        repeated = data.draw(st.booleans())
        pairs[place : place + 1] = [(key, value), (key, other)] if repeated else [(key, other)]
        found = verdict(name, Delivery(tuple(pairs), good.body, NOW_US))
        if found is not None:
            assert _same(name, key, value, other, repeated=repeated)

    bent()


def _in_the_body(name: str) -> bool:
    scheme = PACKS[name].scheme(endpoint(name).options)
    return isinstance(scheme, Signed) and scheme.signature.header is None


def _bent_text(value: str) -> st.SearchStrategy[str]:
    return bent_bytes(value.encode()).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


def _same(name: str, key: str, value: str, other: str, *, repeated: bool) -> bool:
    """What may differ: one good signature among several; case and spaces of a scheme or of hex."""
    scheme = PACKS[name].scheme(endpoint(name).options)
    if name not in SEEDS and isinstance(scheme, Signed):
        return _same_signature(scheme, key, value, other, repeated=repeated)
    if key == "webhook-signature":
        return repeated or value in other.split(" ")
    if repeated:
        return False
    if key == "authorization":
        scheme, *rest = other.split()
        return scheme.lower() == "secret" and rest == value.split()[1:]
    if key == "x-signature":
        return other.lower() == value.lower()
    return other == value


def _same_signature(scheme: Signed, key: str, value: str, other: str, *, repeated: bool) -> bool:
    """As the scheme describes it: which headers count, and what may stand beside a signature."""
    place = scheme.signature
    if key not in scheme.evidence_headers:
        return True  # no proof of anything
    if key != (place.header or "").lower():
        return other == value and not repeated
    if repeated and place.repeats:
        return True
    if place.separator and not repeated:
        wanted = {each.lower() for each in value.split(place.separator)}
        return wanted <= {each.lower() for each in other.split(place.separator)}
    bare = value.removeprefix(place.prefix) if place.prefix_optional else value
    return not repeated and other.lower() in (value.lower(), bare.lower())


@EACH_PACK
def test_what_was_signed_is_taken_at_its_time_alone(name: str) -> None:
    """By the secret that signed among others; a signed time may be so far off and no further."""

    @FUZZ
    @given(any_body(name), st.integers(-400, 400) | st.integers(-(10**9), 10**9))
    def taken(body: bytes, away_secs: int) -> None:
        if name not in SEEDS and not _signable(name, body):
            return
        at_us = NOW_US // 1_000_000 * 1_000_000
        delivery = msgspec.structs.replace(
            signed(name, body, at_us=at_us + away_secs * 1_000_000), received_at_us=at_us
        )
        limit_secs = terms(name).tolerance_secs
        found = verdict(name, delivery, _other(name))
        if limit_secs is not None:
            assert (found == secret(name)) is (abs(away_secs) <= limit_secs)
        else:
            assert found in (secret(name), None)  # a token may have expired by its claims

    taken()


@cache
def _other(name: str) -> Secret:
    """A live secret that did not sign."""
    return Secret("other", PACKS[name].key(PACKS[name].example_secret("another")))


@cache
def schema(kind: str) -> Draft202012Validator:
    """The schema of that kind's events."""
    return Draft202012Validator(
        json.loads((ROOT / "schemas" / f"event.{kind}.schema.json").read_bytes()),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def floats_in(value: Any) -> list[float]:
    """Every float in a value."""
    if isinstance(value, float):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [each for child in inner for each in floats_in(child)]


@EACH_PACK
def test_an_authentic_body_of_any_shape_goes_the_whole_way(name: str) -> None:
    """Identified, kept, normalized and routed, or set aside with a reason; never a defect."""
    stage = Normalize({name: endpoint(name)}, raw_topic="webhooks-raw", to="events-normalized")
    kinds = {kind: f"events-{kind}" for kind in STATUSES}

    @DEEP
    @given(any_body(name), st.lists(st.tuples(NAMES, ODD_TEXT), max_size=3))
    def goes(body: bytes, pairs: list[tuple[str, str]]) -> None:
        wire = on_the_wire(name, body)
        for each in (wire, body) if name == "pay3" else (wire,):
            delivery = Delivery(tuple(pairs), each, NOW_US)
            for output in _kept(name, delivery):
                record = Record(output.topic, 1, 7, NOW_US // 1000, output.key,
                                output.value or b"", output.headers)  # fmt: skip
                task = read(stage, record)
                outcome = decide(stage, task, {})
                if isinstance(outcome, DeadLetter):
                    assert outcome.reason == "unparseable_body"
                    continue
                assert isinstance(outcome, Forward)
                assert len(set(task.state_keys)) == len(task.state_keys)
                _check_event(outcome.outputs[0], kinds)

    goes()


def _kept(name: str, delivery: Delivery) -> list[Output]:
    """The raw records of a delivery, the same every time."""
    items = PACKS[name].identify(delivery)
    assert items
    assert items == PACKS[name].identify(delivery)
    for item in items:
        _check_item(item)
    one, other = (
        accept(delivery, delivery_id="d", endpoint=endpoint(name), secret=secret(name), to="raw",
               whole_to="whole") for _ in range(2)
    )  # fmt: skip
    assert one == other
    records = [each for each in one if each.topic == "raw"]
    assert len(records) == len(items)
    for output in records:
        record = Record("raw", 0, 0, 0, output.key, output.value or b"", output.headers)
        assert headers.dedup_key(record).count(b"|") == 2
        assert record.header(headers.EVENT_ID)
        assert len(output.key) <= len(name) + 1 + 3 * 256
        assert sum(len(value) for _, value in output.headers) < 256 * 1024
        msgspec.json.decode(dict(output.headers)[headers.SIGNED])
    return records


def _check_item(item: Item) -> None:
    assert item.event_id
    assert isinstance(item.event_type, str)
    assert item.subject is None or item.subject


def _check_event(output: Output, kinds: dict[str, str]) -> None:
    """Valid by its published schema, without a float, and readable for the next stage."""
    assert output.value is not None
    value = msgspec.json.Decoder(float_hook=str).decode(output.value)
    schema(value["kind"]).validate(value)
    event = decode(output.value)
    assert event.type == f"{event.kind}.{event.status}"
    assert floats_in(msgspec.to_builtins(event, enc_hook=str)) == []
    route = Route((), kind_topics=kinds, queues={})
    record = Record("events-normalized", 1, 7, 0, output.key, output.value, output.headers)
    assert isinstance(decide(route, read(route, record), {}), Forward)
    for header, text in output.headers:
        assert header.isascii()
        text.decode()
