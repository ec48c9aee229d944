"""Routing: each event goes to the topic of its kind and to the queues that the rules name."""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from hookmill.core.event import Event, decode
from hookmill.core.outcome import DeadLetter, Forward, Outcome
from hookmill.core.parse import exact_number
from hookmill.core.record import Output, Record

Condition = Callable[[str | None], bool]
"""Whether a metadata value (None where the key is absent) fits."""

MODES_UNASKED = frozenset({"live", "unknown"})


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A named row of the route table. Empty sets take everything; test events must be asked for."""

    name: str
    handlers: tuple[str, ...]
    types: tuple[re.Pattern[str], ...] = ()
    providers: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    modes: frozenset[str] = MODES_UNASKED
    metadata: Mapping[str, Condition] = {}

    def matches(self, event: Event) -> bool:
        """Whether the event is for this rule's handlers."""
        return (
            event.mode in self.modes
            and (not self.types or any(each.fullmatch(event.type) for each in self.types))
            and (not self.providers or event.provider in self.providers)
            and (not self.endpoints or event.endpoint in self.endpoints)
            and all(fits(_text(event.metadata.get(key))) for key, fits in self.metadata.items())
        )


def type_pattern(text: str) -> re.Pattern[str]:
    """`payment.*` as a pattern: `*` stands for any characters, all else for itself."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")))


class Routing(msgspec.Struct, frozen=True):
    """An event and the record it came in, or why it is to be set aside."""

    record: Record
    event: Event | None = None
    unusable: DeadLetter | None = None
    state_keys: tuple[bytes, ...] = ()


class Route:
    """The stage: `kind_topics` by kind, the rules, and the queue of each handler."""

    name = "route"

    def __init__(
        self, rules: Sequence[Rule], *, kind_topics: Mapping[str, str], queues: Mapping[str, str]
    ) -> None:
        self._rules = rules
        self._kind_topics = kind_topics
        self._queues = queues

    def read(self, record: Record) -> Routing:
        """Decode the normalized event."""
        try:
            return Routing(record, decode(record.value))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Routing(record, unusable=DeadLetter("undecodable_event", str(error)))

    def decide(self, task: Routing, state: Mapping[bytes, bytes]) -> Outcome:
        """Write it once to its kind's topic and once to each handler's queue."""
        if task.event is None:
            assert task.unusable is not None
            return task.unusable
        record = task.record
        targets = [self._kind_topics[task.event.kind]]
        targets += [self._queues[name] for name in handlers_for(task.event, self._rules)]
        return Forward(
            tuple(Output(topic, record.key, record.value, record.headers) for topic in targets)
        )


def handlers_for(event: Event, rules: Sequence[Rule]) -> list[str]:
    """Every handler that a matching rule names, each once, in the table's order."""
    named = (name for rule in rules if rule.matches(event) for name in rule.handlers)
    return list(dict.fromkeys(named))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=exact_number).decode()
