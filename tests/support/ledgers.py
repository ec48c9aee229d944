"""A ledger's database for a test, of either kind, and events to count in it."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec.structs import replace

from hookmill.core.event import Event, Links, ProviderEvent, Raw, Resource
from hookmill.core.money import Money
from hookmill.handlers.api import Context
from hookmill.handlers.ledger.books import Balance, Books, Total
from hookmill.handlers.ledger.place import Place, books, place, reading
from hookmill.telemetry.logs import bound
from support.postgres import Postgres

DEADLINE_SECS = 60
CONNECTIONS = 8

PROCESS = """
import asyncio, json, sys
from pathlib import Path
from hookmill.core.event import decode
from hookmill.handlers.ledger import postgres, sqlite
from hookmill.handlers.ledger.place import books, place

url, stop_at, step, together = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"

def stop(event):
    if event.id == f"hm_{stop_at}":
        print("inside", flush=True)
        sys.stdin.read()

def blocking(self, event, *rest, write=sqlite.SqliteBooks._write):
    write(self, event, *rest)
    stop(event)

async def asking(connection, event, *rest, write=postgres._write):
    await write(connection, event, *rest)
    stop(event)

sqlite.SqliteBooks._write, postgres._write = blocking, asking
postgres.SETTINGS["idle_in_transaction_session_timeout"] = "1s"

async def main():
    its = books(place(url, local_dir=Path()), connections=8)
    await its.open()
    print("open", flush=True)
    sys.stdin.readline()
    events = [decode(line.encode()) for line in sys.stdin.readline().split("\\t")]
    work = [its.count(each, topic="q", partition=0, offset=number)
            for number, each in list(enumerate(events))[::step]]
    added = await asyncio.gather(*work) if together else [await each for each in work]
    print(json.dumps(sum(added)), flush=True)
    await its.close()

asyncio.run(main())
"""
"""Counts what it is given, in order or backwards, one after another or eight at once; at one event
it stays inside the transaction."""

CONTEXT = Context(
    handler="ledger", attempt=1, deadline_secs=30, idempotency_key="hm_1", delivery=None,
    topic="q", partition=3, offset=41, log=bound(),
)  # fmt: skip


def event(number: int, minor: str | None = "100", **changed: Any) -> Event:
    """A payment of its own for each number."""
    amount = None if minor is None else Money(minor, "ZAR", 2)
    plain = Event(
        id=f"hm_{number}", type="payment.succeeded", kind="payment", status="succeeded",
        endpoint="shop", provider="yoco", mode="live", occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z", subject=f"p_{number}",
        resource=Resource("payment", f"p_{number}", "succeeded", 1, False),
        amount=amount, amount_paid=None, amount_refunded=None, discrepancy=None, links=Links(),
        failure=None, metadata={}, provider_event=ProviderEvent(), late=False,
        raw=Raw("webhooks-raw", 0, 0, ""),
    )  # fmt: skip
    return replace(plain, **changed)


def total(minor: int, entries: int, **changed: Any) -> Total:
    """The sum of what the shop received."""
    return replace(Total("shop", "live", "received", "ZAR", 2, str(minor), entries), **changed)


class Database:
    """A database that has no tables yet, and a way to look into it from outside."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def place(self) -> Place:
        """As the handler is given it."""
        return place(self.url, local_dir=Path())

    def books(self, *, connections: int = CONNECTIONS) -> Books:
        """The books there, not opened."""
        return books(self.place, connections=connections)

    async def totals(self) -> list[Total]:
        """The sum of each effect, read by another connection."""
        async with reading(self.place) as its:
            return await its.totals()

    async def balances(self) -> list[Balance]:
        """Every account."""
        async with reading(self.place) as its:
            return await its.balances()

    async def problems(self) -> list[str]:
        """What `ledger check` finds."""
        async with reading(self.place) as its:
            return await its.problems()

    def rows(self, query: str) -> list[Any]:
        """What is in its tables, read by another connection."""
        raise NotImplementedError

    def locked(self) -> Any:
        """While inside, another writer holds everything."""
        raise NotImplementedError


class SqliteDatabase(Database):
    """A file that is not there yet, nor its folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self.path = path

    def rows(self, query: str) -> list[Any]:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()


class PostgresDatabase(Database):
    """A database of the run's own server."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.name = server.new_database()
        super().__init__(server.url(self.name))

    def rows(self, query: str) -> list[Any]:
        return self.server.execute(self.name, query)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        other = await asyncpg.connect(self.url)
        await other.execute("BEGIN; LOCK TABLE events_counted, positions")
        yield
        await other.close()


class Process:
    """A process of its own that counts in a database."""

    def __init__(
        self, database: Database, *, stop_at: int = -1, step: int = 1, together: bool = False
    ) -> None:
        arguments = [database.url, str(stop_at), str(step), str(int(together))]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=DEADLINE_SECS)

    def says(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def give(self, events: Sequence[Event]) -> None:
        """Let it begin with these."""
        lines = "\t".join(msgspec.json.encode(each).decode() for each in events)
        assert self._process.stdin is not None
        self._process.stdin.write(f"\n{lines}\n")
        self._process.stdin.flush()

    def added(self) -> int:
        """How many it counted as new; waits until it is through."""
        return int(json.loads(self.says()))

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(DEADLINE_SECS) == -signal.SIGKILL

    def freeze(self) -> None:
        """Stop it where it is, its connection open."""
        self._process.send_signal(signal.SIGSTOP)
