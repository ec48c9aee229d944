"""The small readers under fire: JSON, figures, times, ids, tokens, signatures, kept formats."""

import base64
import hashlib
import hmac
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.ids import bounded, resource_key, subject_key
from hookmill.core.money import DIGITS_MAX, whole_units
from hookmill.core.parse import (
    DEPTH_MAX,
    Number,
    as_object,
    as_text,
    exact_number,
    figure_text,
    parse_json,
    parse_object,
)
from hookmill.core.record import Record
from hookmill.core.resource import decode_state
from hookmill.core.times import from_epoch_us, from_rfc3339
from hookmill.kafka.changelog import Mark
from hookmill.kafka.store import Bookmark, RocksStore
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS
from hookmill.stages import headers
from hookmill.stages.dedup import Dedup, decode_seen
from support.alone import read

BUSY = [HealthCheck.too_slow]  # the machine may have other work
TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
FUZZ = settings(
    max_examples=200 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)
NOW_US = 1_731_684_727_123_456

DIGITS = st.text("0123456789", min_size=1, max_size=45)
FIGURES = st.builds(
    lambda sign, whole, part, power: sign + (whole.lstrip("0") or "0") + part + power,
    st.sampled_from(["", "-"]),
    DIGITS,
    st.just("") | DIGITS.map(lambda text: "." + text),
    st.just("") | st.builds(lambda mark, power: f"{mark}{power}", st.sampled_from("eE"),
                            st.integers(-60, 60) | st.integers(-10**5, 10**5)),
)  # fmt: skip
"""Every way to write a number in JSON."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.text(max_size=6)
    | FIGURES.map(lambda text: parse_json(text.encode())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner,
                                                                max_size=4),
    max_leaves=15,
)  # fmt: skip
"""JSON values as we hold them: no float among them."""


@FUZZ
@given(VALUES)
def test_a_value_comes_through_json_unchanged(value: Any) -> None:
    """Every digit of every number, also beyond 64 bits."""
    raw = msgspec.json.encode(value, enc_hook=exact_number)

    assert parse_json(raw) == value
    assert parse_json(b"\xef\xbb\xbf" + raw) == value


@FUZZ
@given(
    st.binary(max_size=60)
    | st.text('[]{}",:0123456789.eE-+ truefalsn\\u\ud800', max_size=60).map(
        lambda t: t.encode("utf-8", "replace")
    )
)
@example(b'"\\ud800"')
@example(b'"\xed\xa0\x80"')
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b"1e" + b"9" * 5_000)
@example(b"-")
def test_json_is_read_as_the_standard_library_reads_it_or_refused(body: bytes) -> None:
    """UnparseableBody and nothing else; what is taken is JSON, in strict UTF-8, without NaN."""
    try:
        value = parse_json(body)
    except UnparseableBody:
        return
    text = body.removeprefix(b"\xef\xbb\xbf").decode()
    theirs = json.loads(text, parse_float=Number, parse_constant=pytest.fail)

    assert _plain(value) == _plain(theirs)


def _plain(value: Any) -> Any:
    """With every number as its text; -0 is 0."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return repr(value)


@FUZZ
@given(st.integers(1, 2 * DEPTH_MAX), st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]),
       st.binary(max_size=3))  # fmt: skip
def test_depth_has_one_limit(depth: int, brackets: tuple[bytes, bytes], tail: bytes) -> None:
    """The same for lists and objects, whoever calls from how deep."""
    opening, closing = brackets
    body = opening * depth + b"1" + closing * depth
    if depth > DEPTH_MAX:
        with pytest.raises(UnparseableBody):
            parse_json(body + tail)
    else:
        assert parse_json(body) is not None


@FUZZ
@given(VALUES | st.binary(max_size=5) | st.floats())
def test_the_readers_of_a_field_never_raise(value: Any) -> None:
    """Each answers with its own type or with nothing; a float is no figure anywhere."""
    assert isinstance(as_object(value), dict)
    assert as_text(value) is None or (isinstance(as_text(value), str) and as_text(value))
    assert figure_text(value) is None or isinstance(figure_text(value), str)
    units = whole_units(value)
    assert units is None or (type(units) is int and 0 <= units < 10**DIGITS_MAX)
    assert from_rfc3339(value) is None or isinstance(value, str)
    if isinstance(value, float):
        assert (as_text(value), figure_text(value), units) == (None, None, None)


@FUZZ
@given(FIGURES)
@example("1e99999")
@example("0e99999")
@example("0." + "0" * 5_000 + "1")
@example("1" + "0" * 38)
@example("-0.0")
def test_whole_units_are_exact(text: str) -> None:
    """A whole figure that fits is its very value, however it is written; any other is none."""
    exact = Decimal(text)
    fits = exact.is_zero() or (exact > 0 and exact.adjusted() < DIGITS_MAX and _is_whole(exact))
    units = whole_units(parse_json(text.encode()))

    if units is None:
        assert (
            not fits or len(text.lower().partition("e")[2]) > 4
        )  # exponents of more digits are not read
    else:
        assert fits
        assert units == exact


def _is_whole(value: Decimal) -> bool:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return exponent >= 0 or (not any(digits[exponent:]) and len(digits) > -exponent)


@FUZZ
@given(st.integers(-(10**18), 10**18) | st.integers(-(10**40), 10**40))
def test_a_time_of_an_epoch_is_its_own_text(epoch_us: int) -> None:
    """Twenty-seven characters, which are read back as themselves; none outside the calendar."""
    text = from_epoch_us(epoch_us)

    if text is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
        assert from_rfc3339(text) == text
    else:
        assert not -62_135_596_800 <= epoch_us // 1_000_000 < 253_402_300_800


@FUZZ
@given(
    st.text("0123456789-:TtZz+. ٣", max_size=32)
    | st.builds(
        lambda at, cut, put: at.isoformat()[:cut] + put + at.isoformat()[cut:],
        st.datetimes(timezones=st.just(UTC)), st.integers(0, 32),
        st.sampled_from(["", "", "0", "Z", "+23:59", "-24:00", ".", ".1234567890123", "٣", " "]),
    )
)  # fmt: skip
@example("9999-12-31T23:59:59-23:59")
@example("0001-01-01T00:00:00+23:59")
@example("0000-01-01T00:00:00Z")
@example("2024-12-31T23:59:60Z")
@example("2024-02-30T00:00:00Z")
@example("2024-01-01T24:00:00Z")
@example("2024-01-01T00:00:00+99:99")
@example("2024-01-01T00:00:00Z".translate({ord("0"): 0x660, ord("2"): 0x662}))
def test_a_providers_time_is_one_or_none(text: str) -> None:
    """Never an error, and what comes out is a real time of ours."""
    found = from_rfc3339(text)

    if found is not None:
        assert len(found) == 27
        assert datetime.fromisoformat(found).tzinfo is not None
        assert from_rfc3339(found) == found


ANY_TEXT = st.text(max_size=300) | st.text(
    st.characters(exclude_categories=()) | st.just("\ud800"), max_size=90
) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape"))  # fmt: skip


@FUZZ
@given(ANY_TEXT, ANY_TEXT)
@example("\ud83d\ude00", "😀")
@example("a" * 257, "a" * 258)
@example("%7C", "|")
def test_bounded_ids_are_short_and_different(one: str, other: str) -> None:
    """Clean UTF-8 of at most 768 bytes; two texts never become one; nothing stays nothing."""
    short = bounded(one)

    assert len(short.encode()) <= 768
    assert (short == "") is (one == "")
    assert (short == bounded(other)) is (one == other)
    assert subject_key("e", one).count(b"|") == 1
    assert resource_key("e", "live", "payment", one).count(b"|") == 3


@FUZZ
@given(st.lists(st.tuples(st.sampled_from([headers.ENDPOINT, headers.EVENT_ID,
                                           headers.EVENT_TYPE, "x"]), st.binary(max_size=30)),
                max_size=6))  # fmt: skip
def test_a_record_with_any_headers_has_a_key_or_is_set_aside(pairs: list[Any]) -> None:
    """Undecodable bytes, repetitions and missing names included."""
    record = Record("webhooks-raw", 0, 0, 0, b"", b"", tuple(pairs))
    task = read(Dedup({}, default_window_secs=1, to="unique"), record)

    assert headers.dedup_key(record).count(b"|") >= 2
    assert task.state_keys == ((task.key,) if task.key else ())
    assert (task.key is None) is not (
        bool(record.header(headers.ENDPOINT)) and bool(record.header(headers.EVENT_ID))
    )


@FUZZ
@given(st.binary(max_size=80) | VALUES.map(lambda value: msgspec.json.encode(
    value, enc_hook=exact_number)))  # fmt: skip
def test_what_is_kept_is_read_or_refused(value: bytes) -> None:
    """Sightings, states and marks of any bytes: the one error that the engine waits for."""
    for decoded in (decode_seen, decode_state, lambda raw: msgspec.json.decode(raw, type=Mark)):
        try:
            decoded(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


@given(st.lists(st.binary(max_size=40), min_size=5, max_size=20))
@settings(
    max_examples=3 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)
def test_a_store_with_any_bookmark_answers(values: list[bytes]) -> None:
    """None where it can't be read; then the engine makes the store anew."""
    with tempfile.TemporaryDirectory() as folder:
        store = RocksStore(Path(folder) / "store")
        for value in [*values, b"{}", b"\xff", msgspec.json.encode(Bookmark(1, "i", 2))]:
            store._db.put(b"\x00bookmark", value)
            found = store.bookmark()
        store.close()

    assert found == Bookmark(1, "i", 2)


# Standard Webhooks headers, and tokens whose signature is right and whose header is not.

YOCO, PAY3 = PACKS["yoco"], PACKS["pay3"]
YOCO_KEY, PAY3_KEY = b"k" * 32, b"s" * 48
SIGNED = ("webhook-id", "webhook-timestamp")


@FUZZ
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.lists(st.sampled_from(["v1,", "v1,AAAA", "v2,x", "v1", ",", "v1a,é", "v1,\udcff", ""]),
             max_size=5),
    st.integers(0, 5),
    st.lists(st.sampled_from(SIGNED), max_size=1),
)  # fmt: skip
def test_a_right_signature_is_found_among_any_others(
    message_id: str, others: list[str], place: int, repeated: list[str]
) -> None:
    """In one header or in several; not where the id or the time stands there twice."""
    at = str(NOW_US // 1_000_000)
    message = b".".join((message_id.encode(), at.encode(), b"{}"))
    mac = base64.b64encode(hmac.digest(YOCO_KEY, message, "sha256")).decode()
    entries = [*others[:place], f"v1,{mac}", *others[place:]]
    pairs = [("webhook-id", message_id), ("webhook-timestamp", at)]
    pairs += [pair for pair in pairs if pair[0] in repeated]
    terms = Terms(secrets=[Secret("main", YOCO_KEY)])
    for given_entries in ([" ".join(entries)], entries):
        named = [("webhook-signature", entry) for entry in given_entries]
        delivery = Delivery((*pairs, *named), b"{}", NOW_US)
        if repeated:
            with pytest.raises(Refused):
                YOCO.verify(delivery, terms)
        else:
            assert YOCO.verify(delivery, terms).name == "main"


def token(header: bytes, claims: bytes) -> str:
    """A token whose MAC is right whatever its parts hold."""
    parts = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    mac = base64.urlsafe_b64encode(hmac.digest(PAY3_KEY, parts, hashlib.sha384)).rstrip(b"=")
    return (parts + b"." + mac).decode()


def refusal_of(body: bytes) -> Reason | None:
    """Why the pack refuses the body; None where it takes it."""
    try:
        PAY3.verify(Delivery((), body, NOW_US), Terms(secrets=[Secret("main", PAY3_KEY)]))
    except Refused as refused:
        return refused.reason
    return None


HEADER_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.sampled_from(["HS384", "hs384", "none", "HS256", "RS256", "exp", "b64", "x" * 9_000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=2),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "zip", "jwk", "cty", "exp"])
TOKEN_HEADERS = (
    st.dictionaries(NAMES, HEADER_VALUES, max_size=4).map(
        lambda value: json.dumps({"alg": "HS384", **value}).encode())
    | st.binary(max_size=20)
    | st.sampled_from([b'{"alg":"HS384","alg":"none"}', b'{"alg":"none","alg":"HS384"}',
                       b'{"alg":"HS384","x":' + b"[" * 90 + b"]" * 90 + b"}",
                       b'{"alg":"HS384","x":' + b"[" * 9_000, b'{"alg":"HS384","kid":1e9999}',
                       b'{"alg":"HS384","n":' + b"9" * 4_000 + b"}",
                       b'{"alg":"HS384","n":' + b"9" * 9_000 + b"}",
                       b'\xef\xbb\xbf{"alg":"HS384"}', b'{"alg":"HS384","x":"\\udc00"}'])
)  # fmt: skip


@FUZZ
@given(TOKEN_HEADERS, st.binary(max_size=20) | st.just(b"{}"))
def test_a_token_with_any_header_is_taken_or_refused(header: bytes, claims: bytes) -> None:
    """Even one that the secret signed: only HS384, and no extension that we don't know."""
    body = msgspec.json.encode({"payload": token(header, claims)})
    reason = refusal_of(body)
    assert reason in (None, Reason.TOKEN_INVALID, Reason.TOKEN_ALGORITHM)
    if reason is None:
        fields = parse_object(header)
        assert fields["alg"] == "HS384"
        assert "crit" not in fields


@FUZZ
@given(FIGURES | st.sampled_from(['"1700000000"', '"x"', "null", "true", "[]", "1e" + "9" * 30,
                                  "-1e" + "9" * 30, "9" * 4_299, "1e-" + "9" * 30]))  # fmt: skip
def test_a_time_of_expiry_is_any_figure(expiry: str) -> None:
    """It has come or it has not; no figure is an error."""
    claims = f'{{"exp":{expiry}}}'.encode()
    body = msgspec.json.encode({"payload": token(b'{"alg":"HS384"}', claims)})
    reason = refusal_of(body)
    assert reason in (None, Reason.TOKEN_INVALID)
    figure = expiry[0] in "-0123456789" and "9" * 30 not in expiry
    if figure:
        assert (reason is None) is (Decimal(expiry) > Decimal(NOW_US).scaleb(-6))


@FUZZ
@given(st.text("abcXYZ019-_+/=. \n\x00é\ud800", max_size=40), st.integers(0, 3))
def test_a_body_with_any_token_is_refused(text: str, dots: int) -> None:
    """Nothing of it is base64, or JSON, or signed; nobody raises over it."""
    whole = text + "." * dots
    assume("\ud800" not in whole)
    body = msgspec.json.encode({"payload": whole})
    with pytest.raises(Refused):
        PAY3.verify(Delivery((), body, NOW_US), Terms(secrets=[Secret("main", PAY3_KEY)]))
    assert len(PAY3.identify(Delivery((), body, NOW_US))) == 1
    with pytest.raises(UnparseableBody):
        PAY3.normalize(body, None)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_a_secret_of_any_text_is_a_key_or_no_secret(name: str) -> None:
    """ValueError says why; nothing else is raised, and no key is empty."""

    @FUZZ
    @given(
        st.text(max_size=30)
        | st.text("whsec_AQab=+/ ", max_size=20)
        | st.text(max_size=20).map(lambda text: "whsec_" + text)
        | st.sampled_from(["-----BEGIN PUBLIC KEY-----", '{"kty":"oct","k":"AA"}'])
    )
    def keyed(text: str) -> None:
        said = ""
        try:
            key = PACKS[name].key(text)
        except ValueError as error:
            key, said = b"", str(error)

        assert bool(key) is not bool(said)

    keyed()
