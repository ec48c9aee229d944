"""What was observed of a run, from outside: what a client was told, and what lies in Kafka.

`checker` decides over it; who gathers it is not its business. Events are named by their
normalized id throughout, which follows from the dedup key alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the client. `began` and `ended` are ticks of its own clock, each used once.

    `step` names the event that the client meant. `delivery` is the id that came with a 2xx; it is
    None for any other answer, or none. A `forged` one must never be taken. `items` is how many
    events the request held.
    """

    step: str
    endpoint: str
    began: int
    ended: int
    status: int
    delivery: str | None = None
    forged: bool = False
    items: int = 1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A record as a `read_committed` reader finds it; topics are named without the namespace.

    `source` is the topic and offset (same partition) that it was made from: for a dead letter the
    record that failed, for `events-*` and queues the raw record; None for a raw record itself.
    """

    topic: str
    partition: int
    offset: int
    key: str
    event: str
    delivery: str
    source: tuple[str, int] | None = None
    redrives: int = 0
    """How often it was sent again from a dead-letter topic."""

    @property
    def place(self) -> str:
        """For people: `topic[partition]@offset`."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Entry(msgspec.Struct, frozen=True, order=True):
    """An entry of the ledger: its effect with side and account; minor units as digits.

    Both are "" where the amount is not known.
    """

    event: str
    effect: str
    minor: str
    currency: str


class Bounds(msgspec.Struct, frozen=True):
    """Where a partition ends: for a `read_committed` reader, and in all."""

    stable_end: int
    end: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A stage as the checker sees it: what it reads, what it may make of it.

    A record of `reads` ends in exactly one of `writes`, or in `dead_letters`. `every` are topics
    that must hold each event as well: the queues of handlers that take everything.
    """

    name: str
    group: str
    reads: str
    writes: tuple[str, ...]
    dead_letters: str
    drops_duplicates: bool = False
    every: tuple[str, ...] = ()


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A handler as the checker sees it: its group, its queue, and what it counted."""

    name: str
    group: str
    reads: str
    dead_letters: str
    counted: Sequence[str] | None = None
    """The events it says it has counted, None for a handler that keeps no books."""
    entries: Sequence[Entry] = ()
    entries_expected: Sequence[Entry] = ()
    taken: Sequence[str] | None = None
    """The events that the service behind it took, each time, as they came; None where there is no
    such service."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `links` are in flow order, the first one reads `raw`."""

    attempts: Sequence[Attempt]
    topics: Mapping[str, Sequence[Found]]
    raw: str
    links: Sequence[Link]
    consumers: Sequence[Consumer] = ()
    positions: Mapping[str, Mapping[int, int]] = {}
    """By group, then partition: the committed offset of the topic that the group reads."""
    bounds: Mapping[str, Mapping[int, Bounds]] = {}
    """By topic, then partition."""

    def of(self, topic: str) -> Sequence[Found]:
        """What lies in a topic."""
        return self.topics.get(topic, ())


def events_of(records: Iterable[Found]) -> set[str]:
    """The events that the records hold."""
    return {record.event for record in records}


def in_order(records: Iterable[Found]) -> list[Found]:
    """By partition, then offset: readers find partitions side by side."""
    return sorted(records, key=lambda each: (each.partition, each.offset))


class Promise(StrEnum):
    """What is promised, and so can be broken."""

    KEPT = "acknowledged means kept"
    GENUINE = "only what was proved is taken"
    IDENTITY = "one event has one id"
    ONCE = "no event twice"
    COMPLETE = "nothing disappears"
    ORDER = "order per subject"
    POSITIONS = "every group is at the end"
    SETTLED = "no transaction is left open"
    HANDLED = "every event is handled"
    LEDGER = "the ledger counts each event once"


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that does not hold: the smallest set that shows it, and how many more there are."""

    promise: Promise
    says: str
    attempts: tuple[Attempt, ...] = ()
    records: tuple[Found, ...] = ()
    more: int = 0


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """How the records of one stage's input ended; `open` have not ended."""

    stage: str
    read: int
    forwarded: int
    dropped: int
    dead_lettered: int
    open: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The checker's answer: nothing broken, or what."""

    broken: Sequence[Broken]
    ends: Sequence[Ends]
    acknowledged: int
    events: int
    lost: int
    twice: int

    @property
    def good(self) -> bool:
        """Whether every promise held."""
        return not self.broken
