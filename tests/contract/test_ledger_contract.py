"""The ledger on real files: each event once, to the last digit, whoever is killed when."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hookmill.core.errors import ConfigurationError
from hookmill.core.event import Event, Links, ProviderEvent, Raw, Resource
from hookmill.core.money import Money
from hookmill.core.outcome import Retry
from hookmill.handlers import ledger
from hookmill.handlers.api import Context
from hookmill.handlers.ledger import Balance, Books, LedgerHandler, database_path
from hookmill.telemetry.logs import bound

EVENTS = 60
DEADLINE_SECS = 60

PROCESS = """
import json, sys
from pathlib import Path
from hookmill.core.event import decode
from hookmill.handlers.ledger import Books

path, stop_at, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
books, write = Books(path), Books._write

def writing(self, event, effect, entry):
    write(self, event, effect, entry)
    if event.id == f"hm_{stop_at}":
        print("inside", flush=True)
        sys.stdin.read()

Books._write = writing
print("open", flush=True)
sys.stdin.readline()
events = [decode(line.encode()) for line in sys.stdin.readline().split("\\t")]
added = [books.count(each, topic="q", partition=0, offset=number)
         for number, each in list(enumerate(events))[::step]]
print(json.dumps(sum(added)), flush=True)
"""
"""Books what it is given, in order or backwards; at one event it stays inside the transaction."""


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


def balance(minor: int, entries: int, **changed: Any) -> Balance:
    """The sum of what the shop received."""
    plain = Balance("shop", "live", "received", "ZAR", 2, str(minor), entries)
    return replace(plain, **changed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file that is not there yet, nor its folder."""
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def books(path: Path) -> Iterator[Books]:
    """The books on that file."""
    books = Books(path)
    yield books
    books.close()


def count(books: Books, *events: Event, offset: int = 0) -> list[bool]:
    """Count them as one partition would bring them."""
    return [books.count(each, topic="q", partition=0, offset=offset + number)
            for number, each in enumerate(events)]  # fmt: skip


def rows(path: Path, query: str) -> list[Any]:
    """What the file says, read by another connection."""
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_an_event_counts_once(books: Books) -> None:
    """Redelivered, replayed or redriven, wherever it lies now."""
    assert count(books, event(1), event(1), event(2)) == [True, False, True]
    assert count(books, event(1), offset=900) == [False]
    assert books.balances() == [balance(200, 2)]


def test_an_event_without_money_is_counted_too(books: Books) -> None:
    """Nothing is booked, and its id is kept."""
    failed = event(1, type="payment.failed", status="failed")

    assert count(books, failed, failed) == [True, False]
    assert books.balances() == []


def test_what_was_counted_is_still_there_when_it_is_opened_again(path: Path) -> None:
    """Opening makes tables only where there are none."""
    first = Books(path)
    count(first, event(1))
    first.close()
    second = Books(path)

    assert count(second, event(1), event(2)) == [False, True]
    assert second.balances() == [balance(200, 2)]
    second.close()


def test_two_events_of_one_payment_book_the_growth(books: Books) -> None:
    """Under ids of their own: `paid`, then `complete`, with more paid in between."""
    same = event(1).resource
    count(books, event(1, "250"), event(2, "1000", resource=same), event(3, "1000", resource=same))

    assert books.balances() == [balance(1000, 2)]


def test_sums_of_38_digits_are_exact(books: Books) -> None:
    """Beyond every integer and float that SQLite has."""
    huge = "9" * 38
    count(books, event(1, huge), event(2, huge), event(3, "1"))

    assert books.balances() == [balance(2 * int(huge) + 1, 3)]


def test_growth_of_38_digits_is_exact(books: Books) -> None:
    """The last digit of a figure makes an entry of 1."""
    same = event(1).resource
    count(books, event(1, "9" * 37 + "8"), event(2, "9" * 38, resource=same))

    assert books.balances() == [balance(int("9" * 38), 2)]


def test_unlike_money_is_never_added_up(books: Books) -> None:
    """By endpoint, mode, effect, currency; an unknown sum is counted by itself."""
    other = event(5).resource
    count(
        books,
        event(1),
        event(2, mode="test"),
        event(3, amount=Money("7", "BTC", 8)),
        event(4, None),
        event(5, type="refund.succeeded", kind="refund", resource=replace(other, kind="refund")),
    )

    assert {each: each.entries for each in books.balances()} == dict.fromkeys(
        [
            balance(100, 1),
            balance(100, 1, mode="test"),
            balance(7, 1, currency="BTC", exponent=8),
            balance(0, 1, currency=None, exponent=None),
            balance(100, 1, effect="refunded"),
        ],
        1,
    )


def test_the_position_goes_only_forward(books: Books, path: Path) -> None:
    """In the same transaction as the events."""
    count(books, event(1), event(2), offset=40)
    count(books, event(3), offset=7)

    assert rows(path, "SELECT * FROM positions") == [("q", 0, 42)]


def test_a_failure_inside_leaves_nothing(
    books: Books, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the id nor an entry nor the position; afterwards it counts as if new."""
    with monkeypatch.context() as patched:
        patched.setattr(books, "_write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            count(books, event(1))

    assert rows(path, "SELECT * FROM events_counted") == rows(path, "SELECT * FROM positions") == []
    assert count(books, event(1)) == [True]


class Process:
    """A process of its own on the file."""

    def __init__(self, path: Path, *, stop_at: int = -1, step: int = 1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(stop_at), str(step)],
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

    def give(self, events: list[Event]) -> None:
        """Let it begin with these."""
        lines = "\t".join(msgspec.json.encode(each).decode() for each in events)
        assert self._process.stdin is not None
        self._process.stdin.write(f"\n{lines}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(DEADLINE_SECS) == -signal.SIGKILL


@pytest.mark.parametrize("stop_at", [0, 1, 30, EVENTS - 1])
def test_killed_inside_a_transaction_then_redelivered_the_balance_is_exact(
    stop_at: int, path: Path
) -> None:
    """What it had not committed is gone as a whole, and comes again."""
    events = [event(number) for number in range(EVENTS)]
    with Process(path, stop_at=stop_at) as process:
        assert process.says() == "open"
        process.give(events)
        assert process.says() == "inside"
        process.kill()
    books = Books(path)

    assert books.balances() == ([balance(100 * stop_at, stop_at)] if stop_at else [])
    assert count(books, *events) == [False] * stop_at + [True] * (EVENTS - stop_at)
    assert books.balances() == [balance(100 * EVENTS, EVENTS)]
    books.close()


OPENERS = """
import sys
from multiprocessing import get_context
from pathlib import Path
from hookmill.handlers.ledger import Books

def opening(folder, together):
    for number in range(20):
        together.wait(20)
        Books(Path(folder) / f"{number}.db").close()

def main():
    fork = get_context("fork")
    together = fork.Barrier(4)
    openers = [fork.Process(target=opening, args=(sys.argv[1], together)) for _ in range(4)]
    for each in openers:
        each.start()
    for each in openers:
        each.join()
    sys.exit(any(each.exitcode for each in openers))

main()
"""


def test_many_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Several handlers start together on a new machine: SQLite's switch to WAL does not wait."""
    command = [sys.executable, "-c", OPENERS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE_SECS)

    assert (done.returncode, done.stderr) == (0, "")


def test_two_processes_on_one_file_count_each_event_once(path: Path) -> None:
    """The same events forwards and backwards at the same time, as after a rebalance gone wrong."""
    events = [event(number) for number in range(EVENTS)]
    with Process(path) as one, Process(path, step=-1) as other:
        assert (one.says(), other.says()) == ("open", "open")
        one.give(events)
        other.give(events)
        added = [json.loads(each.says()) for each in (one, other)]
    books = Books(path)

    assert sum(added) == EVENTS
    assert books.balances() == [balance(100 * EVENTS, EVENTS)]
    assert rows(path, "SELECT * FROM positions") == [("q", 0, EVENTS)]
    books.close()


CONTEXT = Context(
    handler="ledger", attempt=1, deadline_secs=30, idempotency_key="hm_1", delivery=None,
    topic="q", partition=3, offset=41, log=bound(),
)  # fmt: skip


async def test_a_locked_database_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer holds it for longer than one waits; when it lets go, the event counts."""
    monkeypatch.setattr(ledger, "BUSY_TIMEOUT_SECS", 0.01)
    handler = LedgerHandler(path)
    await handler.start()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert await handler.handle(event(1), CONTEXT) == Retry("ledger_unavailable")
    other.execute("ROLLBACK")
    other.close()
    assert await handler.handle(event(1), CONTEXT) is None
    assert await handler.handle(event(1), CONTEXT) is None
    await handler.close()
    assert rows(path, "SELECT count(*) FROM events_counted") == [(1,)]
    assert rows(path, "SELECT * FROM positions") == [("q", 3, 42)]


async def test_a_full_disk_is_tried_again(path: Path) -> None:
    """Nothing of the event is there then; with room again, it counts."""
    handler = LedgerHandler(path)
    await handler.start()
    assert handler._books is not None
    pages = handler._books._db.execute("PRAGMA page_count").fetchone()[0]
    handler._books._db.execute(f"PRAGMA max_page_count = {pages}")
    long = event(1, subject="p", endpoint="e" * 100_000)

    assert await handler.handle(long, CONTEXT) == Retry("ledger_unavailable")
    assert rows(path, "SELECT * FROM events_counted") == []
    handler._books._db.execute("PRAGMA max_page_count = 100000")
    assert await handler.handle(long, CONTEXT) is None
    await handler.close()


def test_a_handler_that_never_started_can_be_closed(path: Path) -> None:
    """As when another part of the process fails first."""
    asyncio.run(LedgerHandler(path).close())

    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "state/ledger.db"),
        ("sqlite:///books/ledger.db", "books/ledger.db"),
        ("sqlite:////var/books.db", "/var/books.db"),
    ],
)
def test_an_address_names_its_file(url: str | None, expected: str) -> None:
    """Three slashes and a relative path, four and an absolute one."""
    assert database_path(url, local_dir=Path("state")) == Path(expected)


@pytest.mark.parametrize("url", ["sqlite:///", "books.db", "postgresql://me:hunter2@db/books"])
def test_another_address_is_refused_without_its_password(url: str) -> None:
    """The message goes to logs."""
    with pytest.raises(ConfigurationError, match="is not sqlite:///path") as caught:
        database_path(url, local_dir=Path())

    assert "hunter2" not in str(caught.value)
