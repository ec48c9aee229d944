"""The ledger on SQLite: an event's effect, its id and its position in one transaction.

Every event id that was counted is kept for ever, so a redelivery, a replay or a redrive counts
once; a process killed anywhere leaves either all of it or nothing.
"""

import asyncio
import fcntl
import sqlite3
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from hookmill.core.errors import ConfigurationError
from hookmill.core.event import Event
from hookmill.core.outcome import Retry
from hookmill.handlers.api import Answer, Context
from hookmill.handlers.bookings import Booked, Effect, Entry, effect_of, entry_for

SCHEME = "sqlite:///"
BUSY_TIMEOUT_SECS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events_counted (event_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
    resource TEXT NOT NULL, effect TEXT NOT NULL,
    minor TEXT, currency TEXT,                    -- digits: 38 of them exceed SQLite's integers
    PRIMARY KEY (resource, effect)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE, event_type TEXT NOT NULL,
    endpoint TEXT NOT NULL, mode TEXT NOT NULL, resource TEXT NOT NULL, effect TEXT NOT NULL,
    minor TEXT, currency TEXT, exponent INTEGER, received_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
"""


class Balance(msgspec.Struct, frozen=True):
    """The sum of one effect's entries; `entries` counts those of unknown amount too."""

    endpoint: str
    mode: str
    effect: str
    currency: str | None
    exponent: int | None
    minor: str
    entries: int


class Books:
    """The database itself: blocking calls, one connection, any number of processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_SECS, isolation_level=None, check_same_thread=False
        )
        with path.with_name(path.name + ".opening").open("w") as turn:
            # switching to WAL fails at once, whatever the timeout, while another process opens it
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)

    def count(self, event: Event, *, topic: str, partition: int, offset: int) -> bool:
        """Book the event; False if it was counted before. All or nothing.

        Raises sqlite3.OperationalError while the database cannot be written.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            added = self._db.execute(
                "INSERT OR IGNORE INTO events_counted VALUES (?)", (event.id,)
            ).rowcount
            if added:
                self._book(event)
            self._db.execute(
                "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET next_offset = max(next_offset, excluded.next_offset)",
                (topic, partition, offset + 1),
            )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise
        return bool(added)

    def balances(self) -> list[Balance]:
        """Every sum, by endpoint, mode, effect and currency."""
        sums: dict[tuple[str, str, str, str | None, int | None], list[int]] = defaultdict(list)
        for *key, minor in self._db.execute(
            "SELECT endpoint, mode, effect, currency, exponent, minor FROM entries"
        ):
            sums[tuple(key)].append(int(minor or 0))
        return [
            Balance(*key, minor=str(sum(several)), entries=len(several))
            for key, several in sorted(sums.items(), key=lambda item: str(item[0]))
        ]

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _book(self, event: Event) -> None:
        effect = effect_of(event)
        if effect is None:
            return
        entry = entry_for(effect, self._booked(effect))
        if entry is not None:
            self._write(event, effect, entry)

    def _booked(self, effect: Effect) -> Booked | None:
        row = self._db.execute(
            "SELECT minor, currency FROM effects WHERE resource = ? AND effect = ?",
            (effect.resource, effect.name),
        ).fetchone()
        return None if row is None else Booked(None if row[0] is None else int(row[0]), row[1])

    def _write(self, event: Event, effect: Effect, entry: Entry) -> None:
        figure, increase = effect.figure, entry.increase
        self._db.execute(
            "INSERT INTO effects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET minor = excluded.minor, currency = excluded.currency",
            (
                effect.resource,
                effect.name,
                figure.minor if figure else None,
                figure.currency if figure else None,
            ),
        )
        self._db.execute(
            "INSERT INTO entries (event_id, event_type, endpoint, mode, resource, effect, minor, "
            "currency, exponent, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event.id,
                event.type,
                event.endpoint,
                event.mode,
                effect.resource,
                effect.name,
                increase.minor if increase else None,
                increase.currency if increase else None,
                increase.exponent if increase else None,
                event.received_at,
            ),
        )


class LedgerHandler:
    """Built in as `ledger`: the books in a thread of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._books: Books | None = None

    async def start(self) -> None:
        """Open the database, make its tables."""
        loop = asyncio.get_running_loop()
        self._books = await loop.run_in_executor(self._thread, Books, self._path)

    async def handle(self, event: Event, context: Context) -> Answer:
        """Book it; a database that cannot be written is tried again."""
        assert self._books is not None
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._count, event, context)
        except sqlite3.OperationalError:
            return Retry("ledger_unavailable")
        return None

    async def close(self) -> None:
        """Close the database when the last booking is done."""
        if self._books is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._books.close)
        self._thread.shutdown()

    def _count(self, event: Event, context: Context) -> None:
        assert self._books is not None
        self._books.count(
            event, topic=context.topic, partition=context.partition, offset=context.offset
        )


def database_path(url: str | None, *, local_dir: Path) -> Path:
    """The file of `sqlite:///relative` or `sqlite:////absolute`; `ledger.db` in local.dir if None.

    Raises ConfigurationError for anything else.
    """
    if url is None:
        return local_dir / "ledger.db"
    if not url.startswith(SCHEME) or url == SCHEME:
        raise ConfigurationError(
            f"the ledger's url begins with '{url.partition('/')[0]}' and is not sqlite:///path; "
            "PostgreSQL is not in this release"
        )
    return Path(url.removeprefix(SCHEME))
