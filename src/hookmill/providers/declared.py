"""Runs a pack that is data: `DeclaredPack` does for every provider what its declaration says.

A provider with an oddity has a module with a subclass that overrides the one step that differs;
`parse` (what a body is), `fields_of` (of which object a fact is read) and `rest` (a last change
to the draft) are made for that.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import Reason, UnparseableBody
from hookmill.core.ids import body_hash
from hookmill.core.parse import as_object, parse_object
from hookmill.core.resource import Change
from hookmill.providers.declaration import Declaration
from hookmill.providers.facts import Amounts, Line, Lines
from hookmill.providers.kept import Kept
from hookmill.providers.pack import Draft, Options, Pack, SignedRequest
from hookmill.providers.schemes.items import items_at, one_item
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.schemes.template import (
    Expressions,
    Source,
    several,
    text_of,
    text_reader,
    value_reader,
)
from hookmill.providers.terms import Signing

DEFAULT_VARIANT = "default"
UNRECOGNIZED = ("other", "unrecognized")
NO_AMOUNTS: Amounts = (None, None, None)


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event as it was read: where its facts stand, its word and status, the row that fits."""

    source: Source
    word: str | None
    status: str | None
    line: Line


class DeclaredPack(Pack):
    """A provider by its declaration."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.title = declaration.title
        self.sources = declaration.sources
        self.verifies = declaration.verifies
        self.about = declaration.about
        self.setup = declaration.setup
        self.events = _events(declaration)
        self.says_mode = declaration.mode is not None
        self.options = _options(declaration)
        self.dedup_window_secs = declaration.dedup_window_secs
        self.answer_deadline_secs = declaration.answer_deadline_secs
        self.retry_delays_secs = declaration.retry_delays_secs
        self.success_statuses = frozenset(declaration.success_statuses) or None
        self.accepted_answer = declaration.accepted_answer
        self.refusal_statuses = {
            Reason(reason): status for reason, status in declaration.refusal_statuses.items()
        }
        self.keep_headers = tuple(name.lower() for name in declaration.keep_headers)
        self.fetch = declaration.fetch
        self.example_options = {
            name: each.example or each.choices[0]
            for name, each in declaration.options.items()
            if each.required
        }
        self._scheme, self._variants = declaration.verification, declaration.variants
        self._token = self._scheme if isinstance(self._scheme, Jwt) else None
        self._lines = Lines(declaration)
        self._word = text_reader(declaration.word)
        self._mode_word = value_reader(declaration.mode.value if declaration.mode else ())
        self._modes = _modes(declaration)
        self.proves_mode = declaration.mode is None or self._signs(declaration.mode.value)

    def scheme(self, options: Any) -> Scheme:
        """The declared one, or the variant that the endpoint chose."""
        if not self._variants:
            return self._scheme
        chosen = getattr(options, "variant", DEFAULT_VARIANT)
        return self._variants.get(chosen, self._scheme)

    def sign(
        self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any,
        headers: Mapping[str, str] = {},
    ) -> SignedRequest:  # fmt: skip
        """As the scheme signs, with what the declaration says is sent beside."""
        signing = Signing(secret=secret, message_id=message_id, at_us=at_us, options=options,
                          headers=headers, sends=self.declaration.sends)  # fmt: skip
        return self.scheme(options).sign(body, signing)

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """The event, or the items of a delivery of several; an unreadable body by its hash."""
        headers = delivery.headers_by_name()
        items = self.declaration.items
        try:
            bodies = items_at(delivery.body, items.path) if items else []
        except UnparseableBody:
            bodies = []
        if items is None or len(bodies) < 2:
            return (self._item(delivery.body, headers, options),)
        return tuple(
            self._item(one_item(delivery.body, items.path, body, items.keep), headers, options)
            for body in bodies
        )

    def normalize(
        self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]] = {}
    ) -> Draft:
        """The event in our words; what no row fits, or whose figures can't be, `unrecognized`."""
        told = self.tell(body, options, headers)
        return self.rest(self._draft(told), told)

    def parse(self, body: bytes) -> Any:
        """The body as expressions see it: of a token its claims; raises UnparseableBody."""
        if self._token is not None:
            return parse_object(self._token.claims(body))
        if self.declaration.format == "form":
            return {}  # `form:NAME` looks into the body itself
        return parse_object(body)

    def fields_of(self, fields: Any) -> Any:
        """The part of a parsed body that is one event: of a delivery of several, the one item."""
        items = self.declaration.items
        if items is None:
            return fields
        for step in items.path.split("/")[1:]:
            inner = (fields[0] if fields else None) if isinstance(fields, list) else None
            fields = inner if step == "*" else as_object(fields).get(step)
        return as_object(fields)

    def rest(self, draft: Draft, told: Told) -> Draft:
        """A last change to the draft, for a provider's oddity."""
        return draft

    def tell(self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]]) -> Told:
        """Read an event: word, status, row. Raises UnparseableBody."""
        envelope = self.parse(body)
        item = self.fields_of(envelope)
        source = Source(body, headers, "", options, parsed=item, outer=envelope)
        word = self._word(source)
        line = self._lines.that_fits(word or "", source)
        status = line.facts.status(source)
        source.values = {"word": word or "", "status": status or ""}
        return Told(source, word, status, line)

    def _item(self, body: bytes, headers: Mapping[str, Sequence[str]], options: Any) -> Item:
        kept = Kept(self._kept, headers, options)
        try:
            told = self.tell(body, options, kept)
        except UnparseableBody:
            source = Source(body, headers=kept, parsed={})
            event_id = self._lines.default.event_id(source)
            return Item(body, event_id or body_hash(body), self._word(source) or "")
        source, facts = told.source, told.line.facts
        event_id = facts.event_id(source) or body_hash(body)
        return Item(body, event_id, told.word or "", facts.subject(source))

    def _kept(
        self, headers: Mapping[str, Sequence[str]], options: Any
    ) -> Mapping[str, Sequence[str]]:
        """The headers that `normalize` will be handed."""
        names = (*self.keep_headers, *self.scheme(options).evidence_headers)
        return {name: headers[name] for name in names if name in headers}

    def _draft(self, told: Told) -> Draft:
        source, line = told.source, told.line
        facts = line.facts
        kind, status = line.kind, line.status
        mode, known_mode = self._mode(source)
        occurred_at, time_us = facts.moment(source)
        changes: tuple[Change, ...] = ()
        amounts = NO_AMOUNTS
        if not known_mode:
            kind, status = UNRECOGNIZED
        elif kind != "other":
            resource_id, readable = facts.resource(source), facts.amounts(source)
            if resource_id is None or readable is None:
                kind, status = UNRECOGNIZED
            else:
                changes, amounts = line.changes(source, resource_id, time_us), readable
        return Draft(
            kind=kind,  # type: ignore[arg-type]  # a row's
            status=status,
            provider_event=facts.provider_event(source, told.word, told.status),
            changes=changes,
            subject=facts.subject(source),
            mode=mode,
            occurred_at=occurred_at,
            amount=amounts[0],
            amount_paid=amounts[1],
            amount_refunded=amounts[2],
            links=facts.links(source),
            failure=facts.failure(source),
            metadata=facts.metadata(source),
        )

    def _signs(self, names: Expressions) -> bool:
        """Whether the signature covers all of these; a header that it does not is a hint."""
        headers = {name.removeprefix("header:").lower() for name in several(names)
                   if name.startswith("header:")}  # fmt: skip
        return headers <= {*self.signed_headers}

    def _mode(self, source: Source) -> tuple[Any, bool]:
        """Live or test by the event's word, and False where it says a third thing."""
        value = self._mode_word(source)
        if value is None:
            return None, True
        name = self._modes.get(text_of(value))
        return name, name is not None


def _modes(declaration: Declaration) -> dict[str | None, str]:
    """Live or test by the provider's word for it."""
    rule = declaration.mode
    if rule is None:
        return {}
    tests = {text_of(word): "test" for word in rule.test}
    return tests | {text_of(word): "live" for word in rule.live}


def _events(declaration: Declaration) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in declaration.rows:
        conditions = [*several(row.status)] if row.status else []
        extra = " ".join(_condition(name, value) for name, value in row.when.items())
        for word in several(row.word):
            label = " ".join(part for part in (word, "|".join(conditions), extra) if part)
            found.setdefault(label, row.becomes)
    return found


def _condition(name: str, wanted: Any) -> str:
    """A row's condition for people: `status=paid|captured`, `reason=(none)`."""
    words = wanted if isinstance(wanted, tuple) else (wanted,)
    said = (text_of(word) or "(none)" for word in words)
    return f"{name.split('/')[-1]}={'|'.join(said)}"


def _options(declaration: Declaration) -> type[Options]:
    """The endpoint's choices as a struct, made of the declaration's."""
    fields: list[Any] = []
    if declaration.variants:
        from_variants = (DEFAULT_VARIANT, *declaration.variants)
        fields.append(("variant", _literal(from_variants), DEFAULT_VARIANT))
    for name, option in declaration.options.items():
        plain = _literal(option.choices) if option.choices else str
        if option.required:
            fields.append((name, plain))
        else:
            fields.append((name, plain | None, option.default))
    if not fields:
        return Options
    return msgspec.defstruct(  # type: ignore[return-value]  # of that base
        f"{declaration.name.title()}Options", fields, bases=(Options,), frozen=True, kw_only=True,
        forbid_unknown_fields=True,
    )  # fmt: skip


def _literal(words: tuple[str, ...]) -> Any:
    return Literal[words]
