"""Runs a pack that is data: `DeclaredPack` does for every provider what its declaration says.

A provider with an oddity has a module with a subclass that overrides the one step that differs;
`parse` (what a body is), `fields_of` (of which object a fact is read) and `rest` (a last change
to the draft) are made for that.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import Reason, UnparseableBody
from hookmill.core.event import Failure, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.money import Money
from hookmill.core.parse import as_object, figure_text, parse_object
from hookmill.core.resource import Change
from hookmill.core.times import from_epoch_us
from hookmill.providers.amounts import exponent_of, money
from hookmill.providers.declaration import Amount, Declaration, Expressions, Row, Shape, settled
from hookmill.providers.pack import Draft, Options, Pack, SignedRequest, unrecognized
from hookmill.providers.schemes.items import items_at, one_item
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.moments import epoch_us
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.schemes.template import Source, several, text_of
from hookmill.providers.terms import Signing

DEFAULT_VARIANT = "default"
WORDS_MAX = 1_000
"""Whose rows are known by heart: more than any provider has words for its events."""


class Told(NamedTuple):
    """An event as it was read: its word and status, the row that fits, where its facts stand."""

    source: Source
    word: str | None
    status: str | None
    number: int
    row: Row | None
    shape: Shape


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
        self._modes = _modes(declaration)
        self._rows_of = lru_cache(WORDS_MAX)(lambda word: _rows_named(word, declaration))
        self._shapes = {
            name: settled(shape, declaration.default) for name, shape in declaration.shapes.items()
        }
        self.proves_mode = declaration.mode is None or self._signs(declaration.mode.value)

    def scheme(self, options: Any) -> Scheme:
        """The declared one, or the variant that the endpoint chose."""
        chosen = getattr(options, "variant", DEFAULT_VARIANT)
        return self.declaration.variants.get(chosen, self.declaration.verification)

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
        draft = self._draft(told)
        return self.rest(draft, told)

    def parse(self, body: bytes) -> Any:
        """The body as expressions see it: of a token its claims; raises UnparseableBody."""
        if isinstance(self.declaration.verification, Jwt):
            return parse_object(self.declaration.verification.claims(body))
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
        """Read an event: word, status, row, shape. Raises UnparseableBody."""
        envelope = self.parse(body)
        item = self.fields_of(envelope)
        source = Source(body, headers=headers, options=options, fields=item, outer=envelope)
        word = source.first(self.declaration.word)
        found, row = 0, None
        for number, each in self._rows_of(word or ""):
            if _fits(each, self._status(each, source), source):
                found, row = number, each
                break
        shape = self._shape(row)
        status = source.first(shape.status or ())
        source.values = {"word": word or "", "status": status or ""}
        return Told(source, word, status, found, row, shape)

    def _status(self, row: Row, source: Source) -> str | None:
        return source.first(self._shape(row).status or ()) if row.status else None

    def _shape(self, row: Row | None) -> Shape:
        if row is None:
            return self.declaration.default
        return self._shapes.get(row.shape or row.kind, self.declaration.default)

    def _item(self, body: bytes, headers: Mapping[str, Sequence[str]], options: Any) -> Item:
        names = (*self.keep_headers, *self.scheme(options).evidence_headers)
        kept = {name: headers[name] for name in names if name in headers}
        try:
            told = self.tell(body, options, kept)
        except UnparseableBody:
            source = Source(body, headers=kept, fields={})
            word = source.first(self.declaration.word)
            found = source.first(self.declaration.default.event_id or ())
            return Item(body, found or body_hash(body), word or "")
        event_id = told.source.first(told.shape.event_id or ()) or body_hash(body)
        return Item(body, event_id, told.word or "", self.subject(told))

    def subject(self, told: Told) -> str | None:
        """What the event's order is kept by."""
        return told.source.first(told.shape.subject or told.shape.resource or ())

    def _draft(self, told: Told) -> Draft:
        source, shape, row = told.source, told.shape, told.row
        moment_us = epoch_us(source.first(shape.occurred_at or ()), shape.time_unit or "rfc3339")
        mode, known_mode = self._mode(told)
        known: dict[str, Any] = {
            "provider_event": self._provider_event(told),
            "subject": self.subject(told),
            "mode": mode,
            "occurred_at": None if moment_us is None else from_epoch_us(moment_us),
            "links": Links(**{name: source.first(each) for name, each in shape.links.items()}),
            "failure": _failure(source, shape),
            "metadata": as_object(source.first_value(shape.metadata or ())),
        }
        if row is None or not known_mode:
            return unrecognized(**known)
        kind, _, status = row.becomes.partition(".")
        if kind == "other":
            return Draft(kind="other", status=status, **known)
        resource_id = source.first(shape.resource or ())
        amounts, readable = self._amounts(source, shape)
        if resource_id is None or not readable:
            return unrecognized(**known)
        by_time = shape.ordered_by_time and moment_us and known["occurred_at"]
        time_us = moment_us if by_time and moment_us else 0
        own = Change(kind, resource_id, status, row.standing, time_us, told.number)
        changes = (own, *_also(told))
        return Draft(kind=kind, status=status, changes=changes, **known, **amounts)  # type: ignore[arg-type]  # a row's kind

    def _provider_event(self, told: Told) -> ProviderEvent:
        source, shape = told.source, told.shape
        figure = source.first_value(shape.amount.figure) if shape.amount else None
        own_id = (several(shape.event_id or ()) or ("",))[0]
        return ProviderEvent(
            id=source.text(own_id) if own_id and "{" not in own_id else None,
            type=told.word,
            status=told.status,
            amount=figure_text(figure),
        )

    def _amounts(self, source: Source, shape: Shape) -> tuple[dict[str, Money | None], bool]:
        """The amounts that can be read, and whether all that must be could be."""
        found: dict[str, Money | None] = {}
        for name in ("amount", "amount_paid", "amount_refunded"):
            rule: Amount | None = getattr(shape, name)
            if rule is None:
                continue
            found[name] = money(
                source.first_value(rule.figure),
                rule.fixed_currency or source.first(rule.currency),
                rule.unit,
                exponent=exponent_in(shape),
                as_text=rule.as_text,
            )
            if found[name] is None and not rule.optional:
                return {}, False
        return found, True

    def _signs(self, names: Expressions) -> bool:
        """Whether the signature covers all of these; a header that it does not is a hint."""
        headers = {name.removeprefix("header:").lower() for name in several(names)
                   if name.startswith("header:")}  # fmt: skip
        return headers <= {*self.signed_headers}

    def _mode(self, told: Told) -> tuple[Any, bool]:
        """Live or test by the event's word, and False where it says a third thing."""
        rule = self.declaration.mode
        value = told.source.first_value(rule.value) if rule else None
        if value is None:
            return None, True
        name = self._modes.get(text_of(value))
        return name, name is not None


def exponent_in(shape: Shape) -> Callable[[str], int | None]:
    """How many digits of a currency are decimals, as the shape says, else as ISO 4217 does."""
    only, said = shape.only_decimals, shape.decimals or {}

    def exponent(currency: str) -> int | None:
        if only is not None:
            return only.get(currency)
        places = said.get(currency)
        if places == "unknown":
            return None
        return exponent_of(currency) if places is None else places

    return exponent


def _modes(declaration: Declaration) -> dict[str | None, str]:
    """Live or test by the provider's word for it."""
    rule = declaration.mode
    if rule is None:
        return {}
    tests = {text_of(word): "test" for word in rule.test}
    return tests | {text_of(word): "live" for word in rule.live}


def _rows_named(word: str, declaration: Declaration) -> list[tuple[int, Row]]:
    return [
        (number, row)
        for number, row in enumerate(declaration.rows, start=1)
        if _named(word, row.word)
    ]


def _named(word: str, names: str | tuple[str, ...]) -> bool:
    return any(
        word.startswith(name[:-1]) if name.endswith("*") else word == name
        for name in several(names)
    )


def _fits(row: Row, status: str | None, source: Source) -> bool:
    if row.status and status not in several(row.status):
        return False
    for expression, wanted in row.when.items():
        value = source.first_value(expression)
        words = wanted if isinstance(wanted, tuple) else (wanted,)
        if (text_of(value) or "") not in {text_of(word) for word in words}:
            return False
    return True


def _also(told: Told) -> tuple[Change, ...]:
    found = []
    for each in told.row.also if told.row else ():
        resource_id = told.source.first(each.resource)
        row = Row(word="", becomes=each.becomes)
        if resource_id is not None:
            found.append(
                Change(row.kind, resource_id, row.our_status, row.standing, row=told.number)
            )
    return tuple(found)


def _failure(source: Source, shape: Shape) -> Failure | None:
    failure = Failure(
        figure_text(source.first_value(shape.failure_code or ())),
        figure_text(source.first_value(shape.failure_message or ())),
    )
    return failure if failure != Failure() else None


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
