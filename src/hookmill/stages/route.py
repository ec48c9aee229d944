"""Routing: each event goes to the topic of its kind and to the queues that the rules name."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import msgspec

from hookmill.core.event import MODES_UNASKED, Event, decode, type_pattern
from hookmill.core.money import DIGITS_MAX, Money
from hookmill.core.outcome import DeadLetter, Forward, Outcome
from hookmill.core.parse import exact_number
from hookmill.core.record import Output, Record

Condition = Callable[[str | None], bool]
"""Whether a metadata value (None where the key is absent) fits."""


ALIKE_MAX = 4096
"""Of how many combinations of type, provider, endpoint and mode it is known by heart which rules
may take them: a long table costs an event no more than a short one."""


class AmountRange(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts of one currency, both ends in it (None: no end), exact in whole minor units.

    With an `exponent` the ends have so many decimals, and an amount with another number of them
    is compared at its true size; one that does not say fits not. Without one, minor units are
    compared as they are.
    """

    currency: str
    least: int | None = None
    most: int | None = None
    exponent: int | None = None

    def fits(self, amount: Money | None) -> bool:
        """Whether it is in the range; what has no amount is in none."""
        if amount is None or amount.currency != self.currency:
            return False
        ours = theirs = 0
        if self.exponent is not None:
            if amount.exponent is None or not 0 <= amount.exponent <= DIGITS_MAX:
                return False
            ours, theirs = self.exponent, amount.exponent
        figure, scale = int(amount.minor) * 10**ours, 10**theirs
        return (self.least is None or self.least * scale <= figure) and (
            self.most is None or figure <= self.most * scale
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A named row of the route table. Empty sets take everything; test events must be asked for."""

    name: str
    handlers: tuple[str, ...]
    types: tuple[str, ...] = ()
    """With `*` for any characters."""
    kinds: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    modes: frozenset[str] = frozenset(MODES_UNASKED)
    amount: AmountRange | None = None
    metadata: Mapping[str, Condition] = {}

    def matches(self, event: Event) -> bool:
        """Whether the event is for this rule's handlers."""
        return self.unmet(event) is None

    def unmet(self, event: Event) -> str | None:
        """The first condition that the event does not fit, as the configuration names it."""
        return self.unmet_alike(
            event.kind, event.type, event.provider, event.endpoint, event.mode
        ) or self.unmet_alone(event)

    def unmet_alike(
        self, kind: str, type_: str, provider: str, endpoint: str, mode: str
    ) -> str | None:
        """The first one that no event fits which has all these in common."""
        if self.kinds and kind not in self.kinds:
            return "kind"
        if self.types and not any(type_pattern(text).fullmatch(type_) for text in self.types):
            return "type"
        if self.providers and provider not in self.providers:
            return "provider"
        if self.endpoints and endpoint not in self.endpoints:
            return "endpoint"
        return None if mode in self.modes else "mode"

    def unmet_alone(self, event: Event) -> str | None:
        """The first one of those that look at the single event."""
        if self.amount is not None and not self.amount.fits(event.amount):
            return "amount"
        for key, fits in self.metadata.items():
            if not fits(metadata_text(event, key)):
                return f"metadata.{key}"
        return None


class Routing(msgspec.Struct, frozen=True):
    """An event and the record it came in, or why it is to be set aside."""

    record: Record
    event: Event | None = None
    unusable: DeadLetter | None = None
    state_keys: tuple[bytes, ...] = ()


class Routed(Forward, frozen=True, kw_only=True):
    """An event forwarded, and what is counted of it: its kind, and the rules that took it."""

    kind: str
    rules: tuple[str, ...]


class Route:
    """The stage: `kind_topics` by kind, the rules, and the queue of each handler."""

    name = "route"
    forgets = None

    def __init__(
        self, rules: Sequence[Rule], *, kind_topics: Mapping[str, str], queues: Mapping[str, str]
    ) -> None:
        self._rules = rules
        self._kind_topics = kind_topics
        self._queues = queues
        self._candidates = lru_cache(ALIKE_MAX)(self._that_may_take)
        self._way = lru_cache(ALIKE_MAX)(self._way_by)

    def read(self, records: Sequence[Record]) -> list[Routing]:
        """Decode the normalized events."""
        return [_routing(record) for record in records]

    def decide(self, tasks: Sequence[Routing], state: dict[bytes, bytes]) -> list[Outcome]:
        """Write each once to its kind's topic and once to each handler's queue."""
        return [self._outcome(task) for task in tasks]

    def _outcome(self, task: Routing) -> Outcome:
        if task.event is None:
            assert task.unusable is not None
            return task.unusable
        record, event = task.record, task.event
        kind = event.kind
        candidates = self._candidates(kind, event.type, event.provider, event.endpoint, event.mode)
        took = tuple(place for place, rule in candidates if rule.unmet_alone(event) is None)
        topics, names = self._way(kind, took)
        return Routed(
            tuple(Output(topic, record.key, record.value, record.headers) for topic in topics),
            kind=kind,
            rules=names,
        )

    def _that_may_take(
        self, kind: str, type_: str, provider: str, endpoint: str, mode: str
    ) -> list[tuple[int, Rule]]:
        """With their places in the table."""
        return [
            (place, rule) for place, rule in enumerate(self._rules)
            if rule.unmet_alike(kind, type_, provider, endpoint, mode) is None
        ]  # fmt: skip

    def _way_by(
        self, kind: str, places: tuple[int, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """To which topics an event of that kind goes that these rules took, and their names."""
        took = [self._rules[place] for place in places]
        queues = [self._queues[name] for name in handlers_of(took)]
        return (self._kind_topics[kind], *queues), tuple(rule.name for rule in took)


def _routing(record: Record) -> Routing:
    try:
        return Routing(record, decode(record.value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Routing(record, unusable=DeadLetter("undecodable_event", str(error)))


def handlers_of(rules: Sequence[Rule]) -> dict[str, list[str]]:
    """Every handler that the rules name, each once, in the table's order, with who names it."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        for name in dict.fromkeys(rule.handlers):
            found.setdefault(name, []).append(rule.name)
    return found


def metadata_text(event: Event, key: str) -> str | None:
    """A metadata value as conditions see it: text as it is, else its JSON; None where absent."""
    value = event.metadata.get(key)
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=exact_number).decode()
