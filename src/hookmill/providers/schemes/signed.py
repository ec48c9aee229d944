"""What schemes share that sign a message put together from parts of the request.

In this order: is a signature there, is every signed part there, did a live secret sign it, is
the signed time near enough. The time comes last: an unsigned one says nothing of the sender.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.parse import exact_number, parse_json
from hookmill.providers.schemes.encoding import decoded, encoded
from hookmill.providers.schemes.items import items_at, placed_items, set_at
from hookmill.providers.schemes.moments import TimeUnit, epoch_us, written
from hookmill.providers.schemes.scheme import Place, Scheme
from hookmill.providers.schemes.template import (
    Missing,
    Part,
    Source,
    expression_part,
    parts_of,
    render,
    text_of,
)
from hookmill.providers.terms import SignedRequest, Signing, Terms

CANDIDATES_MAX = 64
KeyForm = Literal["standard", "text", "base64", "hex", "sha1"]


class Signed(Scheme, frozen=True, kw_only=True, dict=True):
    """A message of parts, and a signature of it somewhere in the request."""

    signature: Place
    signed: str = "{body}"
    """The message, as a template of the request's parts."""
    time: str = ""
    """The part of the message that is a time, such as `param:t`; empty: no time is signed."""
    time_unit: TimeUnit = "s"
    tolerance_secs: int | None = None
    """How far the time may be off, both ways; None: as far as it likes, unless the endpoint
    says."""
    require: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it
    """Headers that must have that value, such as the name of an algorithm."""
    each: str = ""
    """Where the body is a list of items that are signed one by one: `/items/*/item`. Field
    expressions and `signature.field` are then looked up in the item."""

    @property
    def signs_body(self) -> bool:
        """Whether any changed byte of the body is noticed."""
        return any(part.kind in ("body", "crc32", "body_hash") for part in parts_of(self.signed))

    @property
    def signs_time(self) -> bool:
        """Whether a part of the message is a time."""
        return bool(self.time)

    @property
    def default_tolerance_secs(self) -> int | None:
        """The provider's, or none."""
        return self.tolerance_secs

    @cached_property
    def evidence_headers(self) -> tuple[str, ...]:
        """The signature's header, the signed and the required ones."""
        own = [self.signature.header] if self.signature.header else []
        signed = [part.name for part in parts_of(self.signed) if part.kind == "header"]
        return tuple(dict.fromkeys(each.lower() for each in [*signed, *self.require, *own]))

    @cached_property
    def evidence_query(self) -> tuple[str, ...]:
        """The signed parameters of the address."""
        return tuple(part.name for part in parts_of(self.signed) if part.kind == "query")

    @cached_property
    def _time_part(self) -> Part | None:
        return expression_part(self.time) if self.time else None

    @cached_property
    def _plain_label(self) -> str | None:
        """The label of the signatures, unless it is a template."""
        label = self.signature.label
        return None if "{" in label or "[" in label else label

    @cached_property
    def _signature_header(self) -> str | None:
        return None if self.signature.header is None else self.signature.header.lower()

    def problems(self) -> Iterator[str]:
        """A time that is not signed proves nothing; expressions must be readable."""
        yield from self.signature.problems()
        try:
            signed = {str(part) for part in parts_of(self.signed)}
            time = {str(expression_part(self.time))} if self.time else set()
        except ValueError as error:
            yield f"signed: {error}"
            return
        if not signed:
            yield "signed: nothing of the request is in it"
        if not time <= signed:
            yield "time: a time that is not signed proves nothing; put it into `signed`"
        if self.tolerance_secs is not None and not time:
            yield "tolerance_secs: no time is signed"

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that signed (of several items: the first); raise Refused."""
        if self.require:
            self._check_required(delivery)
        whole = self._source(delivery.body, delivery, terms.options)
        if not self.each:
            return self._verify_one(whole, delivery, terms)
        try:
            found = items_at(delivery.body, self.each)
        except UnparseableBody:
            raise Refused(Reason.MALFORMED_ENVELOPE) from None
        if not found:
            raise Refused(Reason.MALFORMED_ENVELOPE)  # nothing in it proves a sender
        secrets = [
            self._verify_one(self._source(item, delivery, terms.options), delivery, terms)
            for item in found
        ]
        return secrets[0]

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        """The secret by which one of the signatures fits; raises Refused. `at_us` is now."""
        raise NotImplementedError

    def made(self, source: Source, secret: str) -> bytes:
        """The signature of the message by the secret of that text."""
        raise NotImplementedError

    def message(self, source: Source) -> bytes:
        """The signed bytes; raises Refused that says what is not there."""
        try:
            return render(self.signed, source)
        except Missing as missing:
            raise Refused(self._reason(missing.part)) from None
        except UnparseableBody:
            raise Refused(Reason.MALFORMED_ENVELOPE) from None
        except UnicodeEncodeError:  # a surrogate that stands for no byte
            raise Refused(Reason.SIGNATURE_INVALID) from None

    def source(self, delivery: Delivery, options: Any) -> Source:
        """What the delivery's parts are looked up in; of several items, the first."""
        body = items_at(delivery.body, self.each)[0] if self.each else delivery.body
        source = self._source(body, delivery, options)
        self._read(source)
        return source

    def offered(self, delivery: Delivery, options: Any) -> Sequence[str]:
        """The signatures in a delivery as they are spelled, without their prefix."""
        body = items_at(delivery.body, self.each)[0] if self.each else delivery.body
        return self._read(self._source(body, delivery, options))

    def _read(self, source: Source) -> Sequence[str]:
        """The spelled signatures; leaves the header's parameters in the source."""
        place, found = self.signature, self._offered(source)
        if place.label:
            source.params, found = self._labelled(found, source)
        found = found[:CANDIDATES_MAX]
        if place.prefix:
            bare = [_unprefixed(place, entry) for entry in found]
            found = [text for text in bare if text is not None]
        return found

    def _labelled(
        self, entries: Sequence[str], source: Source
    ) -> tuple[dict[str, list[str]], Sequence[str]]:
        """The header's parameters, and those of them that are signatures."""
        place, label = self.signature, self._plain_label
        params: dict[str, list[str]] = {}
        for entry in entries:
            name, joint, value = entry.partition(place.joint)
            if joint:
                if name in params:
                    params[name].append(value)
                else:
                    params[name] = [value]
        wanted = source.text(place.label) if label is None else label
        return params, params.get(wanted or "", [])

    def _verify_one(self, source: Source, delivery: Delivery, terms: Terms) -> Secret:
        encoding = self.signature.encoding
        candidates = []
        for text in self._read(source):
            raw = decoded(text, encoding)
            if raw is not None:
                candidates.append(raw)
        secret = self.fitting(source, candidates, terms.secrets, delivery.received_at_us)
        self._check_time(source, delivery.received_at_us, terms)
        return secret

    def _check_required(self, delivery: Delivery) -> None:
        for name, value in self.require.items():
            found = delivery.header(name.lower())
            if not found:
                raise Refused(Reason.SIGNATURE_MISSING)
            if found != value:
                raise Refused(Reason.SIGNATURE_INVALID)

    def _offered(self, source: Source) -> Sequence[str]:
        """The entries of what holds signatures; raises Refused `signature_missing` where nothing
        does."""
        place = self.signature
        texts: Sequence[str]
        try:
            if self._signature_header is not None:
                texts = source.headers.get(self._signature_header, ())
                if len(texts) > 1 and not place.repeats:
                    texts = ()
            else:
                kind, name = ("field", place.field) if place.field else ("form", place.form)
                value = source.value(Part(kind, name or ""))
                texts = [value] if isinstance(value, str) else []
        except UnparseableBody:
            raise Refused(Reason.MALFORMED_ENVELOPE) from None
        if place.separator:
            texts = [entry for text in texts for entry in text.split(place.separator) if entry]
        if not texts:
            raise Refused(Reason.SIGNATURE_MISSING)
        return texts

    def _reason(self, part: Part) -> Reason:
        if part == self._time_part:
            return Reason.TIMESTAMP_MISSING
        if part.kind in ("header", "query", "param", "form"):
            return Reason.SIGNATURE_MISSING
        return Reason.SIGNATURE_INVALID

    def _check_time(self, source: Source, now_us: int, terms: Terms) -> None:
        tolerance_secs = terms.tolerance_secs
        if tolerance_secs is None:
            tolerance_secs = self.tolerance_secs
        if self._time_part is None or tolerance_secs is None:
            return
        at_us = epoch_us(text_of(source.value(self._time_part)), self.time_unit)
        if at_us is None or abs(now_us - at_us) > tolerance_secs * 1_000_000:
            raise Refused(Reason.TIMESTAMP_OUT_OF_TOLERANCE)

    def _source(self, body: bytes, delivery: Delivery, options: Any) -> Source:
        return Source(body, delivery.headers_by_name(), delivery.query, options)

    def sign(self, body: bytes, signing: Signing) -> SignedRequest:
        """The request, signed at that time; headers that are signed and not given get the id."""
        stamp = written(signing.at_us, self.time_unit)
        time = expression_part(self.time) if self.time else None
        headers, query = self._unsigned(body, signing, time, stamp)
        params = {time.name: [stamp]} if time and time.kind == "param" else {}
        if not self.each:
            source = Source(
                body, headers=headers, query=query, options=signing.options, params=params
            )
            made = self.made(source, signing.secret)
            signature = self._label(encoded(made, self.signature.encoding), source)
            body = self._placed(body, signature, headers, params)
        else:
            body = self._signed_items(body, headers, query, signing)
        flat = {name: values[0] for name, values in headers.items()}
        return SignedRequest(flat, body, query)

    def _unsigned(
        self, body: bytes, signing: Signing, time: Part | None, stamp: str
    ) -> tuple[dict[str, list[str]], str]:
        form = self.signature.form is not None
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        given = {"content-type": kind, **signing.headers, **self.require}
        source = Source(body, options=signing.options,
                        values={"message_id": signing.message_id, "time": stamp})  # fmt: skip
        pairs: list[tuple[str, str]] = []
        for target, template in signing.sends.items():
            place, text = expression_part(target), source.text(template)
            if place.kind == "query" and text is not None:
                pairs.append((place.name, text))
            elif place.kind == "header" and text is not None:
                given.setdefault(place.name.lower(), text)
        if time and time.kind == "header":
            given[time.name.lower()] = stamp
        for part in parts_of(self.signed):
            if part.kind == "header" and not part.optional:
                given.setdefault(part.name.lower(), signing.message_id)
        return {name.lower(): [value] for name, value in given.items()}, urlencode(pairs)

    def _label(self, text: str, source: Source) -> str:
        text = self.signature.prefix + text
        if not self.signature.label:
            return text
        return f"{source.text(self.signature.label)}{self.signature.joint}{text}"

    def _placed(
        self, body: bytes, signature: str, headers: dict[str, list[str]],
        params: dict[str, list[str]],
    ) -> bytes:  # fmt: skip
        """Put the signature where it stands; returns the body, with it if it stands there."""
        place = self.signature
        if place.header is not None:
            others = [f"{name}{place.joint}{values[0]}" for name, values in params.items()]
            headers[place.header.lower()] = [place.separator.join([*others, signature])]
            return body
        if place.form is not None:
            more = urlencode({place.form: signature}).encode()
            return b"&".join(part for part in (more, body) if part)
        value = parse_json(body)
        set_at(value, place.field or "", signature)
        return msgspec.json.encode(value, enc_hook=exact_number)

    def _signed_items(
        self, body: bytes, headers: dict[str, list[str]], query: str, signing: Signing
    ) -> bytes:
        whole = replace(self, each="")

        def one(item: bytes) -> bytes:
            source = Source(item, headers=headers, query=query, options=signing.options)
            text = encoded(whole.made(source, signing.secret), self.signature.encoding)
            return whole._placed(item, self._label(text, source), headers, {})

        value = parse_json(body)
        for pointer, item in placed_items(body, self.each):
            set_at(value, pointer, parse_json(one(item)))
        return msgspec.json.encode(value, enc_hook=exact_number)


def _unprefixed(place: Place, text: str) -> str | None:
    if text.startswith(place.prefix):
        return text.removeprefix(place.prefix)
    return text if place.prefix_optional else None
