"""Each part that is signed: altered, dropped, doubled, exchanged with another, cut."""

import base64
import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec.structs import replace

from hookmill.core.delivery import Delivery
from hookmill.core.errors import Reason, UnparseableBody
from hookmill.core.parse import exact_number, parse_json
from hookmill.local.kit.alteration import (
    ANY,
    BODY_BITS_MAX,
    STATIC,
    TOKEN,
    Case,
    flips,
    with_body,
    with_header,
)
from hookmill.local.kit.specimen import LIVE, Bench
from hookmill.local.stories.story import Step
from hookmill.providers.schemes.items import placed_items, set_at
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import Part, parts_of, pointed, text_of
from hookmill.providers.schemes.token import Token
from hookmill.providers.terms import Signing


def part_cases(bench: Bench, step: Step) -> Iterator[Case]:
    """Of a signed message, part by part."""
    scheme = bench.pack.scheme(bench.options)
    assert isinstance(scheme, Signed)
    good = bench.delivery(step)
    parts = list(dict.fromkeys(parts_of(scheme.signed)))
    for part in parts:
        match part.kind:
            case "header":
                yield from _header_cases(good, part.name.lower())
            case "query":
                yield from _query_cases(good, part.name)
            case "param":
                yield from _param_cases(scheme, good, part.name)
            case "field":
                yield from _field_cases(scheme, good, part, parts)
            case "form":
                yield from _form_cases(good, part.name)
            case "body" | "crc32" | "body_hash":
                yield from body_cases(good, ANY)
            case _:
                pass
    yield from _exchanged(good, [part.name.lower() for part in parts if part.kind == "header"])
    for name, value in scheme.require.items():
        for what, values in (("absent", ()), ("another", (value + "x",)), ("twice", (value, value)),
                             ("empty", ("",))):  # fmt: skip
            yield Case("signed parts", f"{name} {what}", with_header(good, name.lower(), *values))


def body_cases(good: Delivery, reasons: frozenset[Reason]) -> Iterator[Case]:
    """A body that is signed whole."""
    body = good.body
    for number, flipped in enumerate(flips(body, BODY_BITS_MAX)):
        yield Case("body bits", f"flip {number} of the body", with_body(good, flipped),
                   reasons=reasons)  # fmt: skip
    for what, changed in (
        ("empty", b""), ("without its first byte", body[1:]), ("without its last", body[:-1]),
        ("half", body[: len(body) // 2]), ("twice", body + body),
        ("with a space behind", body + b" "),
        ("with a line's end behind", body + b"\n"), ("with a space before", b" " + body),
        ("with a byte order mark", b"\xef\xbb\xbf" + body), ("written anew", _rewritten(body)),
        ("with a key more", body[:1] + b'"zz":1,' + body[1:]),
    ):  # fmt: skip
        if changed != body:
            yield Case("truncation", f"the body {what}", with_body(good, changed), reasons=reasons)


def _rewritten(body: bytes) -> bytes:
    """The same JSON otherwise spaced: what a parser between us and the provider would make."""
    try:
        return msgspec.json.format(msgspec.json.encode(parse_json(body), enc_hook=exact_number),
                                   indent=3)  # fmt: skip
    except (UnparseableBody, msgspec.MsgspecError):
        return body + b" "


def _header_cases(good: Delivery, name: str) -> Iterator[Case]:
    value = good.header(name) or ""
    for number, flipped in enumerate(flips(value.encode())):
        text = flipped.decode("utf-8", "surrogateescape")
        yield Case("signed parts", f"flip {number} of {name}", with_header(good, name, text))
    for what, values in (("absent", ()), ("empty", ("",)), ("twice", (value, value)),
                         ("cut", (value[:-1],)), ("longer", (value + "0",)),
                         ("with a space before", (" " + value,)),
                         ("after another", ("other", value))):  # fmt: skip
        yield Case("signed parts", f"{name} {what}", with_header(good, name, *values))


def _exchanged(good: Delivery, names: list[str]) -> Iterator[Case]:
    for one, other in itertools.pairwise(names):
        a, b = good.header(one) or "", good.header(other) or ""
        if a != b:
            changed = with_header(with_header(good, one, b), other, a)
            yield Case("signed parts", f"{one} and {other} exchanged", changed)


def _query_cases(good: Delivery, name: str) -> Iterator[Case]:
    pairs = parse_qsl(good.query, keep_blank_values=True)
    rest = [pair for pair in pairs if pair[0] != name]
    value = dict(pairs).get(name, "")
    for what, changed in (("altered", [(name, value + "0")]), ("absent", []),
                          ("empty", [(name, "")]),
                          ("twice", [(name, value), (name, value)]),
                          ("another", [(name, value[::-1] + "x")])):  # fmt: skip
        query = urlencode([*rest, *changed])
        yield Case("signed parts", f"parameter {name} {what}", replace(good, query=query))


def _param_cases(scheme: Signed, good: Delivery, name: str) -> Iterator[Case]:
    place = scheme.signature
    assert place.header is not None
    header = place.header.lower()
    value = good.header(header) or ""
    [entry] = [each for each in value.split(place.separator) if each.startswith(name + place.joint)]
    for what, entries in (
        ("altered", [entry + "0"]), ("cut", [entry[:-1]]), ("absent", []),
        ("empty", [name + place.joint]), ("twice", [entry, entry]),
        ("after another", [f"{name}{place.joint}1", entry]), ("with a letter", [entry + "x"]),
        ("signed", [f"{name}{place.joint}-{entry[len(name) + 1:]}"]),
    ):  # fmt: skip
        others = [each for each in value.split(place.separator) if each != entry]
        changed = place.separator.join([*entries, *others])
        yield Case("signed parts", f"{name} in {header} {what}", with_header(good, header, changed))


def _field_cases(scheme: Signed, good: Delivery, part: Part, parts: list[Part]) -> Iterator[Case]:
    where = [""]
    if scheme.each:
        where = [pointer for pointer, _ in placed_items(good.body, scheme.each)]
    for base in where:
        pointer = base + part.name
        value = pointed(parse_json(good.body), pointer)
        text = text_of(value)
        if text is None:
            more: Any = "x"
            yield Case("signed parts", f"{pointer} added", _set(good, pointer, more))
            continue
        for what, new in (("altered", _other(value)), ("emptied", ""), ("null", None),
                          ("a list", [value])):  # fmt: skip
            if text_of(new) != text and not (part.optional and not text and not new):
                yield Case("signed parts", f"{pointer} {what}", _set(good, pointer, new))
        for other in parts:
            if other.kind == "field" and other != part:
                theirs = pointed(parse_json(good.body), base + other.name)
                if text_of(theirs) not in (None, text):
                    changed = _set(_set(good, pointer, theirs), base + other.name, value)
                    yield Case("signed parts", f"{pointer} and {other.name} exchanged", changed)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{text_of(value)}0"


def _set(good: Delivery, pointer: str, new: Any) -> Delivery:
    value = parse_json(good.body)
    set_at(value, pointer, new)
    return with_body(good, msgspec.json.encode(value, enc_hook=exact_number))


def _form_cases(good: Delivery, name: str) -> Iterator[Case]:
    pairs = parse_qsl(good.body.decode("latin-1"), keep_blank_values=True)
    rest = [pair for pair in pairs if pair[0] != name]
    value = dict(pairs).get(name, "")
    for what, changed in (("altered", [(name, value + "0")]), ("cut", [(name, value[:-1])]),
                          ("absent", []), ("empty", [(name, "")]),
                          ("twice", [(name, value), (name, value)]),
                          ("reversed", [(name, value[::-1])])):  # fmt: skip
        body = urlencode([*rest, *changed]).encode()
        yield Case("signed parts", f"form field {name} {what}", with_body(good, body))


def token_cases(bench: Bench, step: Step) -> Iterator[Case]:
    """Of a static credential."""
    scheme = bench.pack.scheme(bench.options)
    assert isinstance(scheme, Token)
    good, name = bench.delivery(step), scheme.header.lower()
    value = good.header(name) or ""
    credential = value.removeprefix(scheme.word).strip()
    front = value.removesuffix(credential)
    for number, flipped in enumerate(flips(credential.encode())):
        text = flipped.decode("utf-8", "surrogateescape")
        yield Case("credential bits", f"flip {number} of the credential",
                   with_header(good, name, front + text), reasons=STATIC)  # fmt: skip
    for what, values in (
        ("absent", ()), ("empty", ("",)), ("twice", (value, value)), ("cut", (value[:-1],)),
        ("longer", (value + "x",)), ("halved", (value[: len(value) // 2],)),
        ("with a word more", (value + " x",)), ("with a word before", ("x " + value,)),
        ("only its word", (scheme.word or "x",)),
        ("swapped in case", (front + credential.swapcase(),)), ("after another", ("x", value)),
    ):  # fmt: skip
        yield Case("credential", f"{name} {what}", with_header(good, name, *values), reasons=STATIC)
    if scheme.word:
        upper = with_header(good, name, f"{scheme.word.upper()} {credential}")
        yield Case("credential", "its word in upper case", upper, True)
        for word in ("Bearer2", scheme.word + "s"):
            yield Case("credential", f"the word {word}",
                       with_header(good, name, f"{word} {credential}"), reasons=STATIC)  # fmt: skip
        yield Case("credential", "without its word", with_header(good, name, credential),
                   reasons=STATIC)  # fmt: skip
    elsewhere = with_header(with_header(good, name), "x-elsewhere", value)
    yield Case("credential", "in another header", elsewhere, reasons=STATIC)


def jwt_cases(bench: Bench, step: Step) -> Iterator[Case]:
    """Of a token in the body."""
    scheme = bench.pack.scheme(bench.options)
    assert isinstance(scheme, Jwt)
    good = bench.delivery(step)
    token = scheme.token(good.body)
    header, claims, signature = token.split(".")
    for number, flipped in enumerate(flips(token.encode())):
        if flipped.isascii() and flipped.decode().isprintable() and b'"' not in flipped:
            text = flipped.decode().replace("\\", "/")
            if text != token:
                yield Case("signature bits", f"flip {number} of the token",
                           _token(good, scheme, text), reasons=TOKEN)  # fmt: skip
    for what, text in (
        ("nothing", ""), ("two parts", f"{header}.{claims}"), ("four parts", f"{token}.x"),
        ("no signature", f"{header}.{claims}."), ("no claims", f"{header}..{signature}"),
        ("exchanged parts", f"{claims}.{header}.{signature}"), ("a space before", " " + token),
        ("no signature under `none`", _b64('{"alg":"none"}') + f".{claims}."),
        ("its signature under `none`", _b64('{"alg":"none"}') + f".{claims}.{signature}"),
    ):  # fmt: skip
        yield Case("algorithm confusion", f"a token of {what}", _token(good, scheme, text),
                   reasons=TOKEN)  # fmt: skip
    for algorithm in ("HS256", "HS384", "HS512"):
        if algorithm != scheme.algorithm:
            signing = Signing(secret=bench.texts[LIVE], message_id=step.message_id, at_us=0)
            other = replace(scheme, algorithm=algorithm)
            made = other.token(other.sign(step.body, signing).body)
            yield Case("algorithm confusion", f"signed with {algorithm}",
                       _token(good, scheme, made),
                       reasons=frozenset({Reason.TOKEN_ALGORITHM}))  # fmt: skip
    for what, body in (
        ("nothing", b""),
        ("a list", b"[]"),
        ("no token", b"{}"),
        ("cut", good.body[:-1]),
    ):
        yield Case("truncation", f"a body of {what}", with_body(good, body),
                   reasons=frozenset({Reason.MALFORMED_ENVELOPE}))  # fmt: skip


def _token(good: Delivery, scheme: Jwt, text: str) -> Delivery:
    value: dict[str, Any] = {}
    set_at(value, scheme.field, text)
    return with_body(good, msgspec.json.encode(value))


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
