"""The conformance kit notices a verifier with one thing wrong: a mutant of each scheme."""

import hmac
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.local.conformance import Conformance, examine
from hookmill.providers.declaration import Declaration
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.loading import declared
from hookmill.providers.pack import SignedRequest, Terms
from hookmill.providers.schemes.asymmetric import Rsa, _pinned
from hookmill.providers.schemes.encoding import decoded
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.mac import Hash, Hmac, StandardWebhooks
from hookmill.providers.schemes.scheme import Place, Scheme
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import Source
from hookmill.providers.schemes.token import Basic, Token

PACK = """
name = "trial"
title = "Trial"
verifies = "Whatever the test says."
sources = []
word = "/kind"
sends = { "query:n" = "{/id}" }
events = [{ word = "paid", becomes = "payment.succeeded" }]
verification = { scheme = "hmac", signature = { header = "x-signature" } }
options = { url = { about = "ours", required = true, example = "https://a.example/hook" } }

[default]
event_id = "{/kind}:{/id}"
resource = "/id"
status = "/status"

[[stories]]
name = "paid"
[[stories.steps]]
becomes = "payment.succeeded"
body = '''{"kind":"paid","id":"{{new}}","status":"ok","amount":{{amount}},"currency":"EUR"}'''
[[stories.steps]]
becomes = "payment.succeeded"
body = '''{"kind":"paid","id":"{{new}}","status":"ok","amount":{{part}},"currency":"EUR"}'''
"""
BASE = declared(PACK, "trial.toml")

BODY = Hmac(signature=Place(header="x-signature"))
TIMED = Hmac(
    signature=Place(header="x-signature", separator=",", joint="=", label="v1"),
    signed="{param:t}.{body}",
    time="param:t",
    tolerance_secs=60,
)
URL = Hmac(signature=Place(header="x-sign", encoding="base64"), signed="{option:url}{body}")
QUERY = Hmac(
    signature=Place(header="x-sign", separator=",", joint="=", label="v1"),
    signed="[id:{query:n};][request:{header:x-request};]ts:{param:ts};",
    time="param:ts",
    time_unit="s-or-ms",
)
FIELDS = Hmac(
    signature=Place(field="/signature", encoding="base64"),
    signed="{/id}:{/original?}:{/amount}:{/currency}:{/status}",
    key_form="hex",
)
HASHED = Hash(signature=Place(field="/signature"), signed="{/id}{/status}{/amount}{key}")
STANDARD = StandardWebhooks()
PINNED = Rsa(
    signature=Place(header="x-sign", encoding="base64"), require={"x-algo": "SHA256withRSA"}
)
TOKEN = Token(header="x-token")
WORD = Token(header="authorization", word="Secret")
BASIC = Basic()
JWT = Jwt(algorithm="HS256")
SOUND: dict[str, Scheme] = {
    "body": BODY, "timed": TIMED, "url": URL, "query": QUERY, "fields": FIELDS, "hash": HASHED,
    "standard": STANDARD, "rsa": PINNED, "token": TOKEN, "word": WORD, "basic": BASIC, "jwt": JWT,
}  # fmt: skip


class Verifying(DeclaredPack):
    """Signs by one scheme, verifies by another: its mutant."""

    def __init__(self, declaration: Declaration, mutant: Any) -> None:
        super().__init__(declaration)
        self.mutant = mutant

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        return self.mutant.verify(delivery, terms)  # type: ignore[no-any-return]


def tried(sound: Scheme, mutant: Any) -> Conformance:
    """What the kit says of a pack that signs soundly and verifies by the mutant."""
    return examine(Verifying(replace(BASE, verification=sound), mutant))


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_scheme_passes(name: str) -> None:
    """Else the kit would cry at everything."""
    found = tried(SOUND[name], SOUND[name])

    assert found.problems == []
    assert found.cases > 500


LEFT_OUT: list[tuple[str, Signed, str]] = [
    ("the time", TIMED, "{body}"),
    ("the body", TIMED, "{param:t}."),
    ("the address", QUERY, "[request:{header:x-request};]ts:{param:ts};"),
    ("the request id", QUERY, "[id:{query:n};]ts:{param:ts};"),
    ("the id", FIELDS, "{/original?}:{/amount}:{/currency}:{/status}"),
    ("an optional field", FIELDS, "{/id}:{/amount}:{/currency}:{/status}"),
    ("the amount", FIELDS, "{/id}:{/original?}:{/currency}:{/status}"),
    ("the currency", FIELDS, "{/id}:{/original?}:{/amount}:{/status}"),
    ("the status", HASHED, "{/id}{/amount}{key}"),
    ("the amount of a hash", HASHED, "{/id}{/status}{key}"),
    ("the message id", STANDARD, "{header:webhook-timestamp}.{body}"),
    ("the timestamp", STANDARD, "{header:webhook-id}.{body}"),
]


@pytest.mark.parametrize(("what", "sound", "signed"), LEFT_OUT, ids=lambda each: str(each)[:24])
def test_a_part_left_out_of_what_is_signed_is_noticed(
    what: str, sound: Signed, signed: str
) -> None:
    """By sender and receiver alike, so that authentic deliveries still fit: the worst mutant."""

    class Both(DeclaredPack):
        def scheme(self, options: Any) -> Scheme:
            return sound

        def verify(self, delivery: Delivery, terms: Terms) -> Secret:
            short = Hmac if isinstance(sound, Hmac) else type(sound)
            kept = {name: getattr(sound, name) for name in short.__struct_fields__}
            return short(**{**kept, "signed": signed}).verify(delivery, terms)

        def sign(self, body: bytes, **given: Any) -> SignedRequest:
            whole = super().sign(body, **given)
            short = Hmac if isinstance(sound, Hmac) else type(sound)
            kept = {name: getattr(sound, name) for name in short.__struct_fields__}
            other = short(**{**kept, "signed": signed})
            source = sound.source(
                Delivery(tuple(whole.headers.items()), whole.body, 0, whole.query),
                given["options"],
            )
            [old] = sound.offered(
                Delivery(tuple(whole.headers.items()), whole.body, 0, whole.query),
                given["options"],
            )
            made = other.made(source, given["secret"])
            new = made.hex() if sound.signature.encoding == "hex" else _base64(made)
            headers = {name: value.replace(old, new) for name, value in whole.headers.items()}
            return SignedRequest(
                headers, whole.body.replace(old.encode(), new.encode()), whole.query
            )

    found = examine(Both(replace(BASE, verification=sound)))

    assert found.problems != []


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


class FirstSecretOnly(Hmac, frozen=True, kw_only=True, tag="m1"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        return super().fitting(source, candidates, secrets[:1], at_us)


class LastSecretOnly(Hmac, frozen=True, kw_only=True, tag="m2"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        return super().fitting(source, candidates, secrets[-1:], at_us)


class FirstCandidateOnly(Hmac, frozen=True, kw_only=True, tag="m3"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        return super().fitting(source, candidates[:1], secrets, at_us)


class Prefix(Hmac, frozen=True, kw_only=True, tag="m4"):
    """Compares the first half."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        for secret in secrets:
            made = hmac.digest(secret.key, self.message(source), self.algorithm)
            for candidate in candidates:
                if hmac.compare_digest(made[:16], candidate[:16]):
                    return secret
        raise Refused(Reason.SIGNATURE_INVALID)


class EqualSigns(Hmac, frozen=True, kw_only=True, tag="m5"):
    """Compares with ==, which tells by its time how far it came."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        for secret in secrets:
            if hmac.digest(secret.key, self.message(source), self.algorithm) in candidates:
                return secret
        raise Refused(Reason.SIGNATURE_INVALID)


class NoTime(Hmac, frozen=True, kw_only=True, tag="m6"):
    def _check_time(self, source: Source, now_us: int, terms: Terms) -> None:
        return


class OnlyOld(Hmac, frozen=True, kw_only=True, tag="m7"):
    """Lets a time in the future pass."""

    def _check_time(self, source: Source, now_us: int, terms: Terms) -> None:
        moved = max(now_us, int(source.text(self.time) or 0) * 1_000_000)
        super()._check_time(source, moved, terms)


class Edge(Hmac, frozen=True, kw_only=True, tag="m8"):
    """Refuses at the very edge of the tolerance."""

    def _check_time(self, source: Source, now_us: int, terms: Terms) -> None:
        super()._check_time(
            source, now_us, replace(terms, tolerance_secs=(terms.tolerance_secs or 1) - 1)
        )


class Wider(Hmac, frozen=True, kw_only=True, tag="m9"):
    """A second more than it should."""

    def _check_time(self, source: Source, now_us: int, terms: Terms) -> None:
        super()._check_time(
            source, now_us, replace(terms, tolerance_secs=(terms.tolerance_secs or 0) + 1)
        )


class TimeFirst(Hmac, frozen=True, kw_only=True, tag="m10"):
    """Judges the time of a forgery."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        self._check_time(source, at_us, Terms(secrets=[]))
        return super().fitting(source, candidates, secrets, at_us)


class Loose(Hmac, frozen=True, kw_only=True, tag="m11"):
    """Takes a signature with spaces around it."""

    def _read(self, source: Source) -> list[str]:
        return [each.strip() for each in super()._read(source)]


class AnyVersion(Hmac, frozen=True, kw_only=True, tag="m12"):
    """Takes what stands under any label."""

    def _read(self, source: Source) -> list[str]:
        super()._read(source)
        return [value for values in source.params.values() for value in values]


def fields_of(scheme: Scheme) -> dict[str, Any]:
    return {name: getattr(scheme, name) for name in scheme.__struct_fields__}


@pytest.mark.parametrize(
    ("mutant", "sound"),
    [
        *((each, BODY) for each in (FirstSecretOnly, LastSecretOnly, Prefix, EqualSigns, Loose)),
        *((each, TIMED) for each in (FirstSecretOnly, LastSecretOnly, FirstCandidateOnly, Prefix,
                                     EqualSigns, NoTime, OnlyOld, Edge, Wider, TimeFirst, Loose,
                                     AnyVersion)),
        *((each, FIELDS) for each in (FirstSecretOnly, LastSecretOnly, Prefix, EqualSigns, Loose)),
        *((each, URL) for each in (FirstSecretOnly, LastSecretOnly, Prefix, EqualSigns, Loose)),
        *((each, QUERY) for each in (FirstSecretOnly, FirstCandidateOnly, NoTime, AnyVersion)),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else str(each)[:40],
)  # fmt: skip
def test_a_mutant_of_an_hmac_is_noticed(mutant: type[Hmac], sound: Hmac) -> None:
    """One comparison dropped, one secret, one entry, the time ignored or judged otherwise."""
    assert tried(sound, mutant(**fields_of(sound))).problems != []


class TokenByStart(Token, frozen=True, kw_only=True, tag="t1"):
    """Takes what begins as the secret does."""

    def _same(self, text: str, terms: Terms) -> Secret:
        for secret in terms.secrets:
            if hmac.compare_digest(text.encode("utf-8", "replace")[:8], secret.key[:8]):
                return secret
        raise Refused(Reason.SECRET_INVALID)


class TokenEqual(Token, frozen=True, kw_only=True, tag="t2"):
    """Compares with ==."""

    def _same(self, text: str, terms: Terms) -> Secret:
        for secret in terms.secrets:
            if text.encode("utf-8", "replace") == secret.key:
                return secret
        raise Refused(Reason.SECRET_INVALID)


class TokenFirst(Token, frozen=True, kw_only=True, tag="t3"):
    def _same(self, text: str, terms: Terms) -> Secret:
        return super()._same(text, replace(terms, secrets=terms.secrets[:1]))


class TokenAnyCase(Token, frozen=True, kw_only=True, tag="t4"):
    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        lowered = [Secret(each.name, each.key.lower()) for each in terms.secrets]
        headers = tuple((name, value.lower()) for name, value in delivery.headers)
        return super().verify(replace(delivery, headers=headers), replace(terms, secrets=lowered))


class TokenNoWord(Token, frozen=True, kw_only=True, tag="t5"):
    """Does not look at the word."""

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        value = delivery.header(self.header) or ""
        return self._same(value.rpartition(" ")[2], terms)


class TokenLast(Token, frozen=True, kw_only=True, tag="t6"):
    """Takes the last of several."""

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        last = delivery.headers_named(self.header)[-1:]
        return super().verify(Delivery(tuple((self.header, each) for each in last), b"", 0), terms)


@pytest.mark.parametrize("sound", [TOKEN, WORD], ids=["bare", "word"])
@pytest.mark.parametrize("mutant", [TokenByStart, TokenEqual, TokenFirst, TokenAnyCase,
                                    TokenNoWord, TokenLast])  # fmt: skip
def test_a_mutant_of_a_token_is_noticed(mutant: type[Token], sound: Token) -> None:
    """Compared in part, in plain time, in any case, with any word."""
    assert tried(sound, mutant(**fields_of(sound))).problems != []


class RsaAnyKey(Rsa, frozen=True, kw_only=True, tag="r1"):
    """Checks nothing but that there is a signature."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        self.message(source)
        if candidates and secrets:
            return secrets[-1]
        raise Refused(Reason.SIGNATURE_INVALID)


class RsaOrHmac(Rsa, frozen=True, kw_only=True, tag="r2"):
    """Takes an HMAC by the public key too: the classic confusion."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        for secret in secrets:
            made = hmac.digest(secret.key, self.message(source), "sha256")
            if any(hmac.compare_digest(made, each) for each in candidates):
                return secret
        return super().fitting(source, candidates, secrets, at_us)


class RsaAnyDigest(Rsa, frozen=True, kw_only=True, tag="r3"):
    """Takes every digest."""

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        for digest in ("sha512", "sha384"):
            for secret in secrets:
                other = Rsa(signature=self.signature, digest=digest)
                if any(other._fits(_pinned(secret.key).public, self.message(source), each)
                       for each in candidates):  # fmt: skip
                    return secret
        return super().fitting(source, candidates, secrets, at_us)


class RsaNoRequire(Rsa, frozen=True, kw_only=True, tag="r4"):
    def _check_required(self, delivery: Delivery) -> None:
        return


class RsaFirstKey(Rsa, frozen=True, kw_only=True, tag="r5"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        return super().fitting(source, candidates, secrets[:1], at_us)


@pytest.mark.parametrize("mutant", [RsaAnyKey, RsaOrHmac, RsaAnyDigest, RsaNoRequire, RsaFirstKey])
def test_a_mutant_of_rsa_is_noticed(mutant: type[Rsa]) -> None:
    """Any key, any digest, an HMAC by the public key, a header that is not looked at."""
    assert tried(PINNED, mutant(**fields_of(PINNED))).problems != []


class HashEqual(Hash, frozen=True, kw_only=True, tag="h1"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        for secret in secrets:
            if self._digest(source, secret.key) in candidates:
                return secret
        raise Refused(Reason.SIGNATURE_INVALID)


class HashFirst(Hash, frozen=True, kw_only=True, tag="h2"):
    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        return super().fitting(source, candidates, secrets[:1], at_us)


@pytest.mark.parametrize("mutant", [HashEqual, HashFirst])
def test_a_mutant_of_a_hash_is_noticed(mutant: type[Hash]) -> None:
    """In plain time, or one secret only."""
    assert tried(HASHED, mutant(**fields_of(HASHED))).problems != []


class JwtUnchecked(Jwt, frozen=True, kw_only=True, tag="j1"):
    """Believes any token."""

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        self.token(delivery.body)
        return terms.secrets[-1]


class JwtTheirAlgorithm(Jwt, frozen=True, kw_only=True, tag="j2"):
    """Believes the algorithm that the token names."""

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        for algorithm in ("HS256", "HS384", "HS512"):
            try:
                return Jwt(algorithm=algorithm, field=self.field).verify(delivery, terms)
            except Refused as error:
                last = error
        raise last


class JwtFirst(Jwt, frozen=True, kw_only=True, tag="j3"):
    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        return super().verify(delivery, replace(terms, secrets=terms.secrets[:1]))


@pytest.mark.parametrize("mutant", [JwtUnchecked, JwtTheirAlgorithm, JwtFirst])
def test_a_mutant_of_a_jwt_is_noticed(mutant: type[Jwt]) -> None:
    """Unchecked, by any algorithm, by one secret only."""
    assert tried(JWT, mutant(**fields_of(JWT))).problems != []


class Misreading(DeclaredPack):
    """Reads an event otherwise each time, or fails on an odd one."""

    def __init__(self, declaration: Declaration, how: str) -> None:
        super().__init__(declaration)
        self.how, self.count = how, 0

    def identify(self, delivery: Delivery, options: Any = None) -> Any:
        items = super().identify(delivery, options)
        self.count += 1
        match self.how:
            case "another id each time":
                return tuple(replace(each, event_id=f"e{self.count}") for each in items)
            case "one id for all":
                return tuple(replace(each, event_id="e") for each in items)
            case "no id":
                return tuple(replace(each, event_id="") for each in items)
            case "another subject":
                return tuple(replace(each, subject="s") for each in items)
        return items

    def rest(self, draft: Any, told: Any) -> Any:
        match self.how:
            case "a float":
                return replace(draft, metadata={"rate": 0.1})
            case "no such status":
                return replace(draft, status="done")
            case "fails without a status":
                return replace(draft, subject=draft.subject + told.status)
        return draft


@pytest.mark.parametrize(
    "how",
    ["another id each time", "one id for all", "no id", "another subject", "a float",
     "no such status", "fails without a status"],
)  # fmt: skip
def test_a_pack_that_misreads_is_noticed(how: str) -> None:
    """Identity, schema, and totality."""
    assert examine(Misreading(replace(BASE, verification=BODY), how)).problems != []


def test_a_signature_is_decoded_in_its_one_spelling() -> None:
    """What the kit's encodings rest on."""
    assert decoded("AAA=", "base64") == b"\0\0"
    assert decoded("AAB=", "base64") is None
    assert decoded("aAfF", "hex") == b"\xa0\x7f"[:0] + bytes.fromhex("aAfF")
