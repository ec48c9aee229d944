"""The books in a SQLite file: one thread, one connection, any number of processes.

Digits are kept as text, because 38 of them exceed SQLite's integers.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from hookmill.core.errors import ConfigurationError, LedgerUnavailable
from hookmill.core.event import Event
from hookmill.handlers.bookings import Booked, Booking, Effect, booking_for, effects_of
from hookmill.handlers.bookings import resource_name as name_of
from hookmill.handlers.ledger.books import Dialect

BUSY_TIMEOUT_SECS = 10.0
DIALECT = Dialect(sum="exact_sum", time_out="{}", time_in="{}")

SCHEMA = """
CREATE TABLE IF NOT EXISTS events_counted (event_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
    resource TEXT NOT NULL, effect TEXT NOT NULL, minor TEXT, currency TEXT, exponent INTEGER,
    PRIMARY KEY (resource, effect)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bookings (
    number INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL REFERENCES events_counted, event_type TEXT NOT NULL,
    endpoint TEXT NOT NULL, mode TEXT NOT NULL, resource TEXT NOT NULL, effect TEXT NOT NULL,
    received_at TEXT NOT NULL, UNIQUE (event_id, effect)
) STRICT;
CREATE INDEX IF NOT EXISTS bookings_of_endpoint ON bookings (endpoint, number);
CREATE INDEX IF NOT EXISTS bookings_of_resource ON bookings (resource, number);
CREATE INDEX IF NOT EXISTS bookings_by_time ON bookings (received_at);
CREATE TABLE IF NOT EXISTS entries (
    booking INTEGER NOT NULL REFERENCES bookings, line INTEGER NOT NULL,
    account TEXT NOT NULL, side TEXT NOT NULL CHECK (side IN ('debit', 'credit')),
    minor TEXT CHECK (minor GLOB '[1-9]*' AND minor NOT GLOB '*[^0-9]*'),
    currency TEXT, exponent INTEGER, CHECK ((minor IS NULL) = (currency IS NULL)),
    PRIMARY KEY (booking, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
"""
PROBE = """
SELECT c.event_id, f.exponent, b.received_at, e.side, p.next_offset
FROM events_counted c, effects f, bookings b, entries e, positions p WHERE 1 = 0
"""

Result = TypeVar("Result")


class SqliteBooks:
    """Implements Books. A booking that is cancelled while it runs ends in its thread, as a whole;
    one that still waits for its turn is not begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, make its tables."""
        await self._in_thread(self._opened)

    async def count(self, event: Event, *, topic: str, partition: int, offset: int) -> bool:
        """Book it in a transaction that keeps every other writer out."""
        return await self._in_thread(lambda: self._count(event, (topic, partition, offset + 1)))

    async def close(self) -> None:
        """Close the file when the last booking is done."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.OperationalError as error:
            raise LedgerUnavailable(f"{self._path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = _open(self._path)
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _count(self, event: Event, position: tuple[str, int, int]) -> bool:
        db = self._opened()
        db.execute("BEGIN IMMEDIATE")
        try:
            added = db.execute(
                "INSERT OR IGNORE INTO events_counted VALUES (?)", (event.id,)
            ).rowcount
            for effect in effects_of(event) if added else ():
                booking = booking_for(effect, _booked(db, effect))
                if booking is not None:
                    self._write(event, effect, booking)
            db.execute(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET next_offset = max(next_offset, excluded.next_offset)",
                position,
            )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk has rolled it back already
                db.execute("ROLLBACK")
            raise
        return bool(added)

    def _write(self, event: Event, effect: Effect, booking: Booking) -> None:
        db, after = self._opened(), booking.booked
        db.execute(
            "INSERT INTO effects VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "minor = excluded.minor, currency = excluded.currency, exponent = excluded.exponent",
            (effect.resource, effect.name, _digits(after.minor), after.currency, after.exponent),
        )
        number = db.execute(
            "INSERT INTO bookings (event_id, event_type, endpoint, mode, resource, effect, "
            "received_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.id, event.type, event.endpoint, event.mode, name_of(event), effect.name,
             event.received_at),
        ).lastrowid  # fmt: skip
        db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, line, each.account, each.side,
                 *((each.amount.minor, each.amount.currency, each.amount.exponent)
                   if each.amount else (None, None, None)))
                for line, each in enumerate(booking.entries, start=1)
            ],
        )  # fmt: skip


class SqliteSource:
    """Implements Source on the file as it is now; it writes nothing."""

    dialect = DIALECT

    def __init__(self, path: Path) -> None:
        """Raises LedgerUnavailable if there is no such file, or no ledger in it."""
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True, timeout=BUSY_TIMEOUT_SECS, check_same_thread=False,
            )  # fmt: skip
        except sqlite3.OperationalError as error:
            raise LedgerUnavailable(
                f"there is no ledger at {path} yet ({error}); its handler makes it when it starts"
            ) from None
        try:
            self._db.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]  # None is NULL
            self._db.execute(PROBE)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LedgerUnavailable(f"there is no ledger in {path} ({error})") from None

    async def fetch(self, query: str, *values: object) -> Sequence[Sequence[Any]]:
        """Every row, read in another thread."""
        return await asyncio.to_thread(self._fetch, query.replace("$", "?"), values)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _fetch(self, query: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            raise LedgerUnavailable(str(error)) from error


class _ExactSum:
    """Adds up digits; SQLite's own sum knows only 64 bits and floats."""

    def __init__(self) -> None:
        self._sum: int | None = None

    def step(self, digits: str | None) -> None:
        """One more of the group."""
        if digits is not None:
            self._sum = (self._sum or 0) + int(digits)

    def finalize(self) -> str | None:
        """The sum's digits, None where there was nothing to add."""
        return _digits(self._sum)


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".opening").open("w") as turn:
            # switching to WAL fails at once, whatever the timeout, while another process opens it
            fcntl.flock(turn, fcntl.LOCK_EX)
            return _made(path)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ConfigurationError(f"the ledger cannot be at {path}: {error.strerror}") from None
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error


def _made(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECS, isolation_level=None, check_same_thread=False
    )
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(SCHEMA)
        db.execute(PROBE)
    except sqlite3.DatabaseError as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError) and not str(error).startswith("no such"):
            raise
        raise ConfigurationError(
            f"{path} is no ledger ({error}); give the ledger a file of its own"
        ) from None
    return db


def _booked(db: sqlite3.Connection, effect: Effect) -> Booked | None:
    row = db.execute(
        "SELECT minor, currency, exponent FROM effects WHERE resource = ? AND effect = ?",
        (effect.resource, effect.name),
    ).fetchone()
    return None if row is None else Booked(None if row[0] is None else int(row[0]), *row[1:])


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)
