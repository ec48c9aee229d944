"""Authentic deliveries changed in every way that an attacker, a proxy or a mistake could."""

import base64
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from hookmill.core.delivery import Delivery
from hookmill.core.errors import Reason
from hookmill.local.kit.specimen import AT_US, LIVE, Bench
from hookmill.local.stories.story import Step
from hookmill.providers.schemes.asymmetric import Asymmetric
from hookmill.providers.schemes.encoding import decoded, encoded
from hookmill.providers.schemes.mac import Hmac
from hookmill.providers.schemes.moments import written
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import expression_part

SIGNATURE = frozenset(
    {Reason.SIGNATURE_INVALID, Reason.SIGNATURE_MISSING, Reason.MALFORMED_ENVELOPE}
)
TIME = frozenset({Reason.TIMESTAMP_OUT_OF_TOLERANCE})
ANY = SIGNATURE | TIME | {Reason.TIMESTAMP_MISSING}
TOKEN = frozenset({Reason.TOKEN_INVALID, Reason.TOKEN_ALGORITHM, Reason.MALFORMED_ENVELOPE})
STATIC = frozenset({Reason.SECRET_INVALID, Reason.SIGNATURE_MISSING})
BODY_BITS_MAX = 4096
"""How many bits of a body are flipped, spread over it."""


class Case(NamedTuple):
    """A delivery, and what must become of it: taken, or refused for one of the reasons."""

    group: str
    what: str
    delivery: Delivery
    taken: bool = False
    reasons: frozenset[Reason] = ANY


def with_header(delivery: Delivery, name: str, *values: str) -> Delivery:
    """With that header having those values: none, one, or several."""
    kept = [pair for pair in delivery.headers if pair[0] != name]
    return replace(delivery, headers=(*kept, *((name, value) for value in values)))


def with_body(delivery: Delivery, body: bytes) -> Delivery:
    """With another body."""
    return replace(delivery, body=body)


def with_text(delivery: Delivery, old: str, new: str) -> Delivery:
    """With a text exchanged wherever it stands: in headers, in the body, in the query."""
    headers = tuple((name, value.replace(old, new)) for name, value in delivery.headers)
    body = delivery.body.replace(old.encode(), new.encode("utf-8", "surrogateescape"))
    return replace(delivery, headers=headers, body=body)


def flips(raw: bytes, most: int | None = None) -> Iterator[bytes]:
    """The bytes with each bit flipped; where there are too many, with some spread over them."""
    bits = len(raw) * 8
    stride = 1 if most is None or bits <= most else bits // most + 1
    for bit in range(0, bits, stride):
        place = bit // 8
        yield raw[:place] + bytes([raw[place] ^ 1 << bit % 8]) + raw[place + 1 :]


def signature_cases(bench: Bench, step: Step) -> Iterator[Case]:
    """Of a signed message: the signature itself, its spelling, its place among others."""
    scheme = bench.pack.scheme(bench.options)
    assert isinstance(scheme, Signed)
    good = bench.delivery(step)
    [text, *_] = scheme.offered(good, bench.options)
    raw = decoded(text, scheme.signature.encoding) or b""
    for number, flipped in enumerate(flips(raw)):
        changed = encoded(flipped, scheme.signature.encoding)
        yield Case("signature bits", f"bit {number} of the signature flipped",
                   with_text(good, text, changed), reasons=SIGNATURE)  # fmt: skip
    for what, spelled in _misspelled(raw, text, scheme):
        if scheme.signature.separator in (" ", "\t") and spelled.strip() == text:
            continue  # what separates entries may stand beside one
        yield Case("encodings", what, with_text(good, text, spelled), reasons=SIGNATURE)
    if scheme.signature.encoding == "hex":
        yield Case("encodings", "hex in upper case", with_text(good, text, text.upper()), True)
    yield from _wrong_algorithms(bench, step, scheme, good, text)
    yield from _placed(scheme, good, text)


def _misspelled(raw: bytes, text: str, scheme: Signed) -> Iterator[tuple[str, str]]:
    yield "an empty signature", ""
    yield "one byte less", encoded(raw[:-1], scheme.signature.encoding)
    yield "one byte less at the front", encoded(raw[1:], scheme.signature.encoding)
    yield "one byte more", encoded(raw + b"\0", scheme.signature.encoding)
    yield "only its first half", encoded(raw[: len(raw) // 2], scheme.signature.encoding)
    yield "all zeros", encoded(bytes(len(raw)), scheme.signature.encoding)
    yield "a space before it", " " + text
    yield "a space behind it", text + " "
    yield "a space inside it", text[:4] + " " + text[4:]
    yield "a tab behind it", text + "\t"
    yield "a letter more", text + "A"
    yield "a letter less", text[:-1]
    if scheme.signature.encoding == "hex":
        yield "0x before it", "0x" + text
        yield "base64 for hex", base64.b64encode(raw).decode()
    else:
        yield "hex for base64", raw.hex()
        if text.endswith("="):
            yield "without its padding", text.rstrip("=")
        yield "with more padding", text + "="
        other = text.replace("+", "-").replace("/", "_")
        if other != text:
            yield "the other alphabet", other
    prefix = scheme.signature.prefix
    if prefix:
        yield "its prefix twice", prefix + text


def _wrong_algorithms(
    bench: Bench, step: Step, scheme: Signed, good: Delivery, text: str
) -> Iterator[Case]:
    group = "algorithm confusion"
    if isinstance(scheme, Asymmetric):
        key = bench.pack.key(bench.texts[LIVE], bench.options)
        pem = bench.texts[LIVE].encode()
        for what, secret in (("its DER", key), ("its PEM", pem)):
            confused = Hmac(signature=scheme.signature, signed=scheme.signed)
            made = confused.made_by(scheme.source(good, bench.options), secret)
            changed = encoded(made, scheme.signature.encoding)
            yield Case(group, f"an HMAC by {what} for the signature",
                       with_text(good, text, changed), reasons=SIGNATURE)  # fmt: skip
        for digest in ("sha256", "sha384", "sha512"):
            if digest != scheme.digest:
                hashed = replace(scheme, digest=digest)
                yield from _signed_by(group, f"signed with {digest}", hashed, bench, step)
    elif hasattr(scheme, "algorithm"):
        for algorithm in ("sha1", "sha256", "sha384", "sha512"):
            if algorithm != scheme.algorithm:
                other = replace(scheme, algorithm=algorithm)
                yield from _signed_by(group, f"signed with {algorithm}", other, bench, step)


def _signed_by(group: str, what: str, other: Signed, bench: Bench, step: Step) -> Iterator[Case]:
    good = bench.delivery(step)
    scheme = bench.pack.scheme(bench.options)
    assert isinstance(scheme, Signed)
    if scheme.each:
        return
    [text, *_] = scheme.offered(good, bench.options)
    made = other.made(scheme.source(good, bench.options), bench.texts[LIVE])
    changed = encoded(made, scheme.signature.encoding)
    yield Case(group, what, with_text(good, text, changed), reasons=SIGNATURE)


def _placed(scheme: Signed, good: Delivery, text: str) -> Iterator[Case]:
    """The signature's header alone: absent, empty, twice; entries among others."""
    place = scheme.signature
    if place.header is None:
        without = with_text(good, text, "")
        yield Case("repetition", "no signature in the body", without, reasons=SIGNATURE)
        return
    name = place.header.lower()
    value = good.header(name) or ""
    wrong = value.replace(text, encoded(bytes(len(text) // 2), place.encoding))
    missing = frozenset({Reason.SIGNATURE_MISSING})
    yield Case("truncation", f"{name} absent", with_header(good, name), reasons=missing)
    yield Case("truncation", f"{name} empty", with_header(good, name, ""), reasons=ANY)
    for what, values in (("twice", (value, value)), ("after a wrong one", (wrong, value)),
                         ("before a wrong one", (value, wrong))):  # fmt: skip
        several = with_header(good, name, *values)
        taken = place.repeats and not _params_clash(scheme)
        yield Case("repetition", f"{name} {what}", several, taken, reasons=ANY)
    if place.prefix:
        bare = with_header(good, name, value.replace(place.prefix, ""))
        yield Case("encodings", "without its prefix", bare, place.prefix_optional, SIGNATURE)
        odd = with_header(good, name, value.replace(place.prefix, place.prefix.swapcase() + "x"))
        yield Case("encodings", "with another prefix", odd, reasons=SIGNATURE)
    if place.label and "{" not in place.label:
        yield from _labelled(scheme, good, name, value, wrong, text)


def _params_clash(scheme: Signed) -> bool:
    """Whether a header sent twice brings a signed parameter twice."""
    return "{param:" in scheme.signed


def _labelled(
    scheme: Signed, good: Delivery, name: str, value: str, wrong: str, text: str
) -> Iterator[Case]:
    place = scheme.signature
    own = f"{place.label}{place.joint}{place.prefix}{text}"
    bad = f"{place.label}{place.joint}{place.prefix}{encoded(bytes(32), place.encoding)}"
    other = f"zz{place.label}{place.joint}{place.prefix}{text}"
    if place.separator:
        yield Case("repetition", "a wrong entry before the good one",
                   with_header(good, name, value.replace(own, place.separator.join((bad, own)))),
                   True)  # fmt: skip
        yield Case("repetition", "a wrong entry behind the good one",
                   with_header(good, name, value.replace(own, place.separator.join((own, bad)))),
                   True)  # fmt: skip
        yield Case("repetition", "an entry of another version beside it",
                   with_header(good, name, place.separator.join((value, other))), True)  # fmt: skip
    yield Case("algorithm confusion", "only under another version",
               with_header(good, name, value.replace(own, other)), reasons=ANY)  # fmt: skip
    bare = with_header(good, name, value.replace(own, text))
    yield Case("encodings", "without its label", bare, reasons=ANY)


def time_cases(bench: Bench, step: Step) -> Iterator[Case]:
    """At the very edges of the tolerance, and one microsecond beyond them."""
    tolerance_secs = bench.tolerance_secs
    if tolerance_secs is None:
        return
    good = bench.delivery(step)
    yield from _moved(bench, good)
    edge_us = tolerance_secs * 1_000_000
    for sign, word in ((1, "old"), (-1, "in the future")):
        at = replace(good, received_at_us=AT_US + sign * edge_us)
        beyond = replace(good, received_at_us=AT_US + sign * (edge_us + 1))
        far = replace(good, received_at_us=AT_US + sign * edge_us * 1000)
        yield Case("times", f"{tolerance_secs} s {word}", at, taken=True)
        yield Case("times", f"a microsecond more than {tolerance_secs} s {word}", beyond,
                   reasons=TIME)  # fmt: skip
        yield Case("times", f"far {word}", far, reasons=TIME)
        forged = bench.delivery(step, by="a forger")
        late = replace(forged, received_at_us=AT_US + sign * edge_us * 2)
        yield Case("times", f"a forgery {word}", late, reasons=SIGNATURE)


def _moved(bench: Bench, good: Delivery) -> Iterator[Case]:
    """Another time that is near enough: only the signature can tell."""
    scheme = bench.pack.scheme(bench.options)
    if not isinstance(scheme, Signed):
        return
    part = expression_part(scheme.time)
    for secs in (-1, 1):
        old = written(AT_US, scheme.time_unit)
        new = written(AT_US + secs * 1_000_000, scheme.time_unit)
        moved = good
        if part.kind in ("header", "param"):
            name = part.name if part.kind == "header" else scheme.signature.header or ""
            value = good.header(name.lower()) or ""
            moved = with_header(good, name.lower(), value.replace(old, new))
        elif part.kind == "query":
            moved = replace(good, query=good.query.replace(old, new))
        elif part.kind in ("field", "form"):
            moved = with_body(good, good.body.replace(old.encode(), new.encode()))
        if moved != good:
            yield Case("times", f"the time moved by {secs} s", moved, reasons=SIGNATURE)
