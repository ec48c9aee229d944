"""What both databases of the ledger have in common: how events are counted and what is read."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from hookmill.core.event import Event


class Books(Protocol):
    """Where events are counted. One process may count several at once, and several processes too.

    Every method raises LedgerUnavailable while the database cannot be reached or written, and
    ConfigurationError where only the operator can mend it.
    """

    async def open(self) -> None:
        """Make the tables where there are none."""

    async def count(self, event: Event, *, topic: str, partition: int, offset: int) -> bool:
        """Book the event, its id and its position in one transaction.

        False if it was counted before. A cancellation leaves all of it or nothing.
        """

    async def close(self) -> None:
        """Let go of the database; may be called without `open`."""


class Source(Protocol):
    """A database to read from. Queries are in SQL that both know, with `$1` for values."""

    @property
    def dialect(self) -> "Dialect":
        """The few words that differ."""

    async def fetch(self, query: str, *values: object) -> Sequence[Sequence[Any]]:
        """Every row; raises LedgerUnavailable."""


class Dialect(msgspec.Struct, frozen=True):
    """How a database adds up exactly, and how it writes and reads a time as text."""

    sum: str
    time_out: str
    time_in: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account: minor units in digits. `currency` None: the entries whose amount nobody says.

    `balance` is what its own side has more than the other.
    """

    endpoint: str
    mode: str
    account: str
    currency: str | None
    exponent: int | None
    debit: str
    credit: str
    balance: str
    entries: int


class Total(msgspec.Struct, frozen=True):
    """The sum of one effect's bookings; `entries` counts those of unknown amount too."""

    endpoint: str
    mode: str
    effect: str
    currency: str | None
    exponent: int | None
    minor: str
    entries: int


class Line(msgspec.Struct, frozen=True):
    """One entry with the booking it belongs to; `minor` None where nobody says the amount."""

    booking: int
    line: int
    received_at: str
    event_id: str
    event_type: str
    endpoint: str
    mode: str
    resource: str
    effect: str
    account: str
    side: str
    minor: str | None
    currency: str | None
    exponent: int | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: None takes all. `since` is a time in RFC 3339 with microseconds."""

    endpoint: str | None = None
    currency: str | None = None
    resource: str | None = None
    since: str | None = None
