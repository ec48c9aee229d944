"""A declaration's table and shapes as functions, made once when the pack is built.

An event is read by a dozen expressions. To look up what each of them means, event by event, cost
more than to follow it: here every expression is a function already, and a row knows its parts.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from hookmill.core.event import Failure, Links, ProviderEvent
from hookmill.core.money import Money
from hookmill.core.parse import as_object, figure_text
from hookmill.core.resource import Change
from hookmill.providers.amounts import exponent_of, money
from hookmill.providers.declaration import Amount, Declaration, Row, Shape, settled
from hookmill.providers.schemes.moments import TimeUnit, moment
from hookmill.providers.schemes.template import (
    Expressions,
    Reader,
    Source,
    several,
    text_of,
    text_reader,
    value_reader,
)

Amounts = Sequence[Money | None]
"""The amount of an event, what of it is paid, and what is refunded."""

WORDS_MAX = 1_000
"""Whose rows are known by heart: more than any provider has words for its events."""

_NO_ROW = Row(word="", becomes="other.unrecognized")


class Facts:
    """The facts of one shape, each a function of the source that an event is read from."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.status = text_reader(shape.status or ())
        self.event_id = text_reader(shape.event_id or ())
        self.resource = text_reader(shape.resource or ())
        self.subject = text_reader(shape.subject or shape.resource or ())
        own_id = (several(shape.event_id or ()) or ("",))[0]
        self._own_id = text_reader(own_id if "{" not in own_id else ())
        self._figure = value_reader(shape.amount.figure if shape.amount else ())
        self._occurred_at = text_reader(shape.occurred_at or ())
        self._time_unit: TimeUnit = shape.time_unit or "rfc3339"
        self._by_time = bool(shape.ordered_by_time)
        self._metadata = value_reader(shape.metadata or ())
        links: Mapping[Any, Expressions] = shape.links
        self._links = [text_reader(links.get(name, ())) for name in Links.__struct_fields__]
        self._fails = bool(shape.failure_code or shape.failure_message)
        self._code = value_reader(shape.failure_code or ())
        self._message = value_reader(shape.failure_message or ())
        rules = (shape.amount, shape.amount_paid, shape.amount_refunded)
        self._amounts = [
            (place, _amount_reader(rule, shape), rule.optional)
            for place, rule in enumerate(rules)
            if rule is not None
        ]

    def provider_event(self, source: Source, word: str | None, status: str | None) -> ProviderEvent:
        """The provider's own words."""
        return ProviderEvent(self._own_id(source), word, status, figure_text(self._figure(source)))

    def moment(self, source: Source) -> tuple[str | None, int]:
        """When it happened; and in epoch microseconds, 0 where that is not to order by."""
        found = moment(self._occurred_at(source), self._time_unit)
        if found is None:
            return None, 0
        moment_us, text = found
        return text, moment_us if self._by_time else 0

    def links(self, source: Source) -> Links:
        """The ids that it names. Positions: keywords out of a `dict` take as long as all calls."""
        payment, checkout, order, refund, subscription = self._links
        return Links(payment(source), checkout(source), order(source), refund(source),
                     subscription(source))  # fmt: skip

    def failure(self, source: Source) -> Failure | None:
        """Why it failed, where anything is said of that."""
        if not self._fails:
            return None
        code, message = figure_text(self._code(source)), figure_text(self._message(source))
        return None if code is None and message is None else Failure(code, message)

    def metadata(self, source: Source) -> dict[str, Any]:
        """The merchant's own data."""
        return as_object(self._metadata(source))

    def amounts(self, source: Source) -> Amounts | None:
        """Those that can be read; None where one that must be cannot."""
        found: list[Money | None] = [None, None, None]
        for place, read, optional in self._amounts:
            found[place] = read(source)
            if found[place] is None and not optional:
                return None
        return found


class Line:
    """A row of the table: what it asks for, and what it says of which resources."""

    def __init__(self, number: int, row: Row, facts: Facts) -> None:
        self.number, self.facts = number, facts
        self.kind, self.status, self.standing = row.kind, row.our_status, row.standing
        self._asks: list[tuple[Reader, frozenset[str]]] = []
        if row.status:  # where none is sent, none of these is
            self._asks.append((facts.status, frozenset(several(row.status)) - {""}))
        for expression, wanted in row.when.items():
            words = wanted if isinstance(wanted, tuple) else (wanted,)
            texts = frozenset(text_of(word) or "" for word in words)
            self._asks.append((value_reader(expression), texts))
        others = [(Row(word="", becomes=each.becomes), each.resource) for each in row.also]
        self._also = [
            (each.kind, text_reader(resource), each.our_status, each.standing)
            for each, resource in others
        ]

    def fits(self, source: Source) -> bool:
        """Whether the event is as the row asks."""
        return not self._asks or all(
            (text_of(read(source)) or "") in words for read, words in self._asks
        )

    def changes(self, source: Source, resource_id: str, time_us: int) -> tuple[Change, ...]:
        """What the event says of its own resource, and of others."""
        own = Change(self.kind, resource_id, self.status, self.standing, time_us, self.number)
        if not self._also:
            return (own,)
        also = ((kind, read(source), status, standing)
                for kind, read, status, standing in self._also)  # fmt: skip
        return own, *(
            Change(kind, other_id, status, standing, row=self.number)
            for kind, other_id, status, standing in also
            if other_id is not None
        )


class Lines:
    """The rows in their order; `default` has the facts of what none fits."""

    def __init__(self, declaration: Declaration) -> None:
        self.default = Facts(declaration.default)
        shapes = {
            name: Facts(settled(shape, declaration.default))
            for name, shape in declaration.shapes.items()
        }
        self._unknown = Line(0, _NO_ROW, self.default)
        self._lines = [
            (several(row.word), Line(n, row, shapes.get(row.shape or row.kind, self.default)))
            for n, row in enumerate(declaration.rows, start=1)
        ]
        self._of_word = lru_cache(WORDS_MAX)(self._named)

    def that_fits(self, word: str, source: Source) -> Line:
        """The first of that word that fits; where none does, one of an unrecognized event."""
        for line in self._of_word(word):
            if line.fits(source):
                return line
        return self._unknown

    def _named(self, word: str) -> list[Line]:
        return [line for names, line in self._lines if any(_is(word, name) for name in names)]


def _is(word: str, name: str) -> bool:
    return word.startswith(name[:-1]) if name.endswith("*") else word == name


def exponent_in(shape: Shape) -> Callable[[str], int | None]:
    """How many digits of a currency are decimals, as the shape says, else as ISO 4217 does."""
    only, said = shape.only_decimals, shape.decimals
    if only is not None:
        return only.get
    if not said:
        return exponent_of

    def exponent(currency: str) -> int | None:
        places = said.get(currency)
        if places == "unknown":
            return None
        return exponent_of(currency) if places is None else places

    return exponent


def _amount_reader(rule: Amount, shape: Shape) -> Callable[[Source], Money | None]:
    figure, currency = value_reader(rule.figure), text_reader(rule.currency)
    fixed, unit, as_text, exponent = (
        rule.fixed_currency, rule.unit, rule.as_text, exponent_in(shape)
    )  # fmt: skip

    def read(source: Source) -> Money | None:
        return money(figure(source), fixed or currency(source), unit,
                     exponent=exponent, as_text=as_text)  # fmt: skip

    return read
