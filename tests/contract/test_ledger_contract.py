"""The ledger on a real database: each event once, to the last digit, whoever is killed when.

One suite, two databases: SQLite and PostgreSQL pass the same tests.
"""

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from hookmill.core.errors import ConfigurationError, LedgerUnavailable
from hookmill.core.event import Event, Links
from hookmill.core.money import Money
from hookmill.core.outcome import Retry
from hookmill.handlers.ledger import postgres as postgres_module
from hookmill.handlers.ledger import sqlite as sqlite_module
from hookmill.handlers.ledger.books import Books, Wanted
from hookmill.handlers.ledger.handler import LedgerHandler
from hookmill.handlers.ledger.place import reading
from support.ledgers import (
    CONTEXT,
    DEADLINE_SECS,
    Database,
    PostgresDatabase,
    Process,
    SqliteDatabase,
    event,
    total,
)

EVENTS = 60
AWAY = Retry("ledger_unavailable", in_place=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "state" / "ledger.db")
    return PostgresDatabase(request.getfixturevalue("postgres"))


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    """The books in that database."""
    books = database.books()
    await books.open()
    yield books
    await books.close()


@pytest.fixture
async def handler(database: Database) -> AsyncIterator[LedgerHandler]:
    """The handler on that database, started."""
    handler = LedgerHandler(database.books())
    await handler.start()
    yield handler
    await handler.close()


async def count(books: Books, *events: Event, offset: int = 0) -> list[bool]:
    """Count them as one partition would bring them."""
    return [await books.count(each, topic="q", partition=0, offset=offset + number)
            for number, each in enumerate(events)]  # fmt: skip


async def test_an_event_counts_once(books: Books, database: Database) -> None:
    """Redelivered, replayed or redriven, wherever it lies now."""
    assert await count(books, event(1), event(1), event(2)) == [True, False, True]
    assert await count(books, event(1), offset=900) == [False]
    assert await database.totals() == [total(200, 2)]


async def test_an_event_without_money_is_counted_too(books: Books, database: Database) -> None:
    """Nothing is booked, and its id is kept."""
    failed = event(1, type="payment.failed", status="failed")

    assert await count(books, failed, failed) == [True, False]
    assert await database.totals() == []


async def test_what_was_counted_is_still_there_when_it_is_opened_again(database: Database) -> None:
    """Opening makes tables only where there are none."""
    first, second = database.books(), database.books()
    await first.open()
    await count(first, event(1))
    await first.close()
    await second.open()

    assert await count(second, event(1), event(2)) == [False, True]
    assert await database.totals() == [total(200, 2)]
    await second.close()


async def test_two_events_of_one_payment_book_the_growth(books: Books, database: Database) -> None:
    """Under ids of their own: `paid`, then `complete`, with more paid in between."""
    same = event(1).resource
    several = [event(1, "250"), event(2, "1000", resource=same), event(3, "1000", resource=same)]
    await count(books, *several)

    assert await database.totals() == [total(1000, 2)]


async def test_sums_of_38_digits_are_exact(books: Books, database: Database) -> None:
    """Beyond every integer and float that the databases have, and beyond 38 digits."""
    huge = "9" * 38
    await count(books, event(1, huge), event(2, huge), event(3, "1"))

    assert await database.totals() == [total(2 * int(huge) + 1, 3)]


async def test_growth_of_38_digits_is_exact(books: Books, database: Database) -> None:
    """The last digit of a figure makes an entry of 1."""
    same = event(1).resource
    await count(books, event(1, "9" * 37 + "8"), event(2, "9" * 38, resource=same))

    assert await database.totals() == [total(int("9" * 38), 2)]
    assert [each.minor for each in await lines(database) if each.booking == 2] == ["1", "1"]


async def test_unlike_money_is_never_added_up(books: Books, database: Database) -> None:
    """By endpoint, mode, effect, currency; an unknown sum is counted by itself."""
    other = event(5).resource
    assert other is not None
    await count(
        books,
        event(1),
        event(2, mode="test"),
        event(3, amount=Money("7", "BTC", 8)),
        event(4, None),
        event(5, type="refund.succeeded", kind="refund", resource=replace(other, kind="refund")),
    )

    assert {each: each.entries for each in await database.totals()} == dict.fromkeys(
        [
            total(100, 1),
            total(100, 1, mode="test"),
            total(7, 1, currency="BTC", exponent=8),
            total(0, 1, currency=None, exponent=None),
            total(100, 1, effect="refunded"),
        ],
        1,
    )


async def test_every_booking_is_double_entry(books: Books, database: Database) -> None:
    """What the provider owes the shop is what came in less what went out.

    The transfer that came back without a word of its going out changes nothing in the end.
    """
    refund = replace(event(2).resource, kind="refund", id="r_1")
    payout = replace(event(3).resource, kind="transfer", id="t_1")
    await count(
        books,
        event(1, "1000"),
        event(2, "250", type="refund.succeeded", kind="refund", resource=refund),
        event(3, "400", type="transfer.succeeded", kind="transfer", resource=payout),
        event(4, "50", type="transfer.reversed", kind="transfer", status="reversed",
              resource=replace(payout, id="t_2")),
    )  # fmt: skip

    found = {each.account: (each.debit, each.credit, each.balance)
             for each in await database.balances()}  # fmt: skip
    assert found == {
        "provider": ("1050", "700", "350"),
        "payments": ("0", "1000", "1000"),
        "refunds": ("250", "0", "250"),
        "transfers": ("450", "50", "400"),
    }
    assert await database.problems() == []


async def test_an_unknown_amount_is_listed_and_unbalances_nothing(
    books: Books, database: Database
) -> None:
    """Both of its entries are there, without a figure; a later event brings the figure."""
    same = event(1).resource
    await count(books, event(1, None), event(2, "900", resource=same))

    assert [(each.account, each.minor) for each in await lines(database)] == [
        ("provider", None), ("payments", None), ("provider", "900"), ("payments", "900"),
    ]  # fmt: skip
    assert await database.problems() == []


async def test_text_that_a_database_cannot_keep_is_kept_escaped(
    books: Books, database: Database
) -> None:
    """NUL is JSON, and no text of PostgreSQL's; such an event must not stand in the way."""
    odd = replace(event(1).resource, id="p\x00|%")
    await count(books, event(1, resource=odd, amount=Money("1", "Z\x00", 2)))

    assert [(each.resource, each.currency) for each in await lines(database)] == [
        ("p%00%7C%25", "Z%00")
    ] * 2


async def test_the_position_goes_only_forward(books: Books, database: Database) -> None:
    """In the same transaction as the events."""
    await count(books, event(1), event(2), offset=40)
    await count(books, event(3), offset=7)

    assert database.rows("SELECT * FROM positions") == [("q", 0, 42)]


async def test_a_failure_inside_leaves_nothing(
    books: Books, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the id nor an entry nor the position; afterwards it counts as if new."""
    with monkeypatch.context() as patched:
        for module in (sqlite_module, postgres_module):
            patched.setattr(module, "booking_for", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await count(books, event(1))

    assert database.rows("SELECT * FROM events_counted") == []
    assert database.rows("SELECT * FROM positions") == []
    assert await count(books, event(1)) == [True]


async def lines(database: Database, *, limit: int | None = None, **wanted: str) -> list:
    """The entries that are wanted, the newest last."""
    async with reading(database.place) as its:
        return [each async for each in its.lines(Wanted(**wanted), limit=limit)]


async def test_entries_are_read_page_by_page(
    books: Books, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None twice and none left out, wherever a page ends; and only those that are wanted."""
    monkeypatch.setattr("hookmill.handlers.ledger.reading._PAGE", paged(3))
    monkeypatch.setattr("hookmill.handlers.ledger.reading.PAGE_ENTRIES", 3)
    await count(books, *(event(each, received_at=f"2026-11-23T09:00:0{each}.000001Z")
                         for each in range(8)))  # fmt: skip

    everything = await lines(database)
    assert [(each.booking, each.line) for each in everything] == [
        (booking, line) for booking in range(1, 9) for line in (1, 2)
    ]
    for limit in range(1, 17):
        assert await lines(database, limit=limit) == everything[-limit:]
    assert await lines(database, resource="p_3") == everything[6:8]
    assert await lines(database, since="2026-11-23T09:00:06.000001Z") == everything[12:]
    assert await lines(database, endpoint="shop", currency="ZAR", limit=1) == everything[-1:]
    assert await lines(database, endpoint="other") == []
    assert await lines(database, currency="USD", limit=5) == []
    assert everything[0].received_at == "2026-11-23T09:00:00.000001Z"


def paged(entries: int) -> str:
    """The page's query with another size."""
    from hookmill.handlers.ledger import reading as module

    return module._PAGE.replace(f"LIMIT {module.PAGE_ENTRIES}", f"LIMIT {entries}")


async def test_what_was_tampered_with_is_found(books: Books, database: Database) -> None:
    """An entry too many, one too few, another amount, an event that nobody counted."""
    await count(books, *(event(each) for each in range(1, 5)))
    assert await database.problems() == []
    if isinstance(database, PostgresDatabase):
        database.rows("ALTER TABLE bookings DROP CONSTRAINT bookings_event_id_fkey")
    database.rows("UPDATE entries SET minor = '99' WHERE booking = 1 AND line = 2")
    database.rows("DELETE FROM entries WHERE booking = 2 AND line = 1")
    database.rows("DELETE FROM events_counted WHERE event_id = 'hm_3'")
    database.rows("DELETE FROM entries WHERE booking = 4")

    assert await database.problems() == [
        "booking 1 (event hm_1): debit 100, credit 99 ZAR in 2 entries",
        "booking 2 (event hm_2): debit 0, credit 100 ZAR in 1 entries",
        "booking 4 (event hm_4): debit 0, credit 0 of unknown amount in 0 entries",
        "booking 3: its event hm_3 is not in events_counted",
    ]


@pytest.mark.parametrize("stop_at", [0, 1, 30, EVENTS - 1])
async def test_killed_inside_a_transaction_then_redelivered_the_balance_is_exact(
    stop_at: int, database: Database
) -> None:
    """What it had not committed is gone as a whole, and comes again."""
    events = [event(number) for number in range(EVENTS)]
    with Process(database, stop_at=stop_at) as process:
        assert process.says() == "open"
        process.give(events)
        assert process.says() == "inside"
        process.kill()
    books = database.books()
    await books.open()

    assert await database.totals() == ([total(100 * stop_at, stop_at)] if stop_at else [])
    assert await count(books, *events) == [False] * stop_at + [True] * (EVENTS - stop_at)
    assert await database.totals() == [total(100 * EVENTS, EVENTS)]
    assert await database.problems() == []
    await books.close()


OPENERS = """
import asyncio, sys
from multiprocessing import get_context
from pathlib import Path
from hookmill.handlers.ledger.place import books, place

async def once(url):
    its = books(place(url, local_dir=Path()), connections=1)
    await its.open()
    await its.close()

def opening(urls, together):
    for url in urls:
        together.wait(20)
        asyncio.run(once(url))

def main():
    fork = get_context("fork")
    together = fork.Barrier(4)
    openers = [fork.Process(target=opening, args=(sys.argv[1:], together)) for _ in range(4)]
    for each in openers:
        each.start()
    for each in openers:
        each.join()
    sys.exit(any(each.exitcode for each in openers))

main()
"""


def test_many_may_open_a_new_database_at_once(database: Database, tmp_path: Path) -> None:
    """Several handlers start together on a new machine: neither SQLite's switch to WAL nor
    PostgreSQL's CREATE TABLE waits for another by itself."""
    if isinstance(database, PostgresDatabase):
        urls = [PostgresDatabase(database.server).url for _ in range(3)]
    else:
        urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(20)]
    command = [sys.executable, "-c", OPENERS, *urls]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE_SECS)

    assert (done.returncode, done.stderr) == (0, "")


async def test_two_processes_on_one_database_count_each_event_once(database: Database) -> None:
    """The same events forwards and backwards at the same time, as after a rebalance gone wrong."""
    events = [event(number) for number in range(EVENTS)]
    with Process(database) as one, Process(database, step=-1) as other:
        assert (one.says(), other.says()) == ("open", "open")
        one.give(events)
        other.give(events)
        added = one.added() + other.added()

    assert added == EVENTS
    assert await database.totals() == [total(100 * EVENTS, EVENTS)]
    assert database.rows("SELECT * FROM positions") == [("q", 0, EVENTS)]


async def test_eight_at_once_in_each_of_two_processes_and_all_of_the_same_payments(
    database: Database,
) -> None:
    """Whoever comes first: of each payment the highest figure, and nobody waits in a circle."""
    events = [
        event(number, str(100 + number), resource=event(number % 5).resource)
        for number in range(200)
    ]
    random.Random(5).shuffle(events)
    with (
        Process(database, together=True) as one,
        Process(database, step=-1, together=True) as other,
    ):
        assert (one.says(), other.says()) == ("open", "open")
        one.give(events)
        other.give(events)
        added = one.added() + other.added()

    assert added == 200
    [found] = await database.totals()
    assert int(found.minor) == sum(100 + number for number in range(195, 200))
    assert await database.problems() == []
    if isinstance(database, PostgresDatabase):
        assert database.rows(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ) == [(0,)]


async def test_a_locked_database_is_tried_again_in_place(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer holds it for longer than one waits; when it lets go, the event counts."""
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_SECS", 0.01)
    monkeypatch.setitem(postgres_module.SETTINGS, "lock_timeout", "10ms")
    handler = LedgerHandler(database.books())
    await handler.start()

    async with database.locked():
        assert await handler.handle(event(1), CONTEXT) == AWAY
    assert await handler.handle(event(1), CONTEXT) is None
    assert await handler.handle(event(1), CONTEXT) is None
    await handler.close()
    assert database.rows("SELECT count(*) FROM events_counted") == [(1,)]
    assert database.rows("SELECT * FROM positions") == [("q", 3, 42)]


async def test_a_full_disk_is_tried_again_in_place(tmp_path: Path) -> None:
    """Nothing of the event is there then; with room again, it counts. (Of PostgreSQL: outage.)"""
    database = SqliteDatabase(tmp_path / "ledger.db")
    books = sqlite_module.SqliteBooks(database.path)
    handler = LedgerHandler(books)
    await handler.start()
    assert books._db is not None
    pages = books._db.execute("PRAGMA page_count").fetchone()[0]
    books._db.execute(f"PRAGMA max_page_count = {pages}")
    long = event(1, endpoint="e" * 100_000)

    assert await handler.handle(long, CONTEXT) == AWAY
    assert database.rows("SELECT * FROM events_counted") == []
    books._db.execute("PRAGMA max_page_count = 100000")
    assert await handler.handle(long, CONTEXT) is None
    await handler.close()


async def test_a_lock_that_outlasts_the_time_limit_counts_against_no_event(
    handler: LedgerHandler, database: Database
) -> None:
    """Eight at once: each answers before the runner's limit would cut it off as a failure."""
    soon = replace(CONTEXT, deadline_secs=2.5)
    events = [event(each) for each in range(8)]

    async with database.locked(), asyncio.timeout(2.5):
        answers = await asyncio.gather(*(handler.handle(each, soon) for each in events))
    assert answers == [AWAY] * 8
    assert [await handler.handle(each, CONTEXT) for each in events] == [None] * 8
    assert await database.totals() == [total(800, 8)]


async def test_bookings_cut_off_anywhere_leave_nothing_half_done(
    handler: LedgerHandler, database: Database
) -> None:
    """The runner's time limit cancels; what was cut off comes again and counts once."""
    chance = random.Random(11)
    events = [event(each) for each in range(220)]
    took_secs = []
    for each in events[:20]:
        began = time.perf_counter()
        assert await handler.handle(each, CONTEXT) is None
        took_secs.append(time.perf_counter() - began)
    cut = 0
    for each in events[20:]:
        task = asyncio.create_task(handler.handle(each, CONTEXT))
        await asyncio.wait([task], timeout=chance.uniform(0, statistics.median(took_secs)))
        task.cancel()
        cut += (await asyncio.gather(task, return_exceptions=True)) != [None]
    answers = await asyncio.gather(*(handler.handle(each, CONTEXT) for each in events))

    assert cut > 5
    assert answers == [None] * 220
    assert await database.totals() == [total(22_000, 220)]
    assert await database.problems() == []
    if isinstance(database, PostgresDatabase):
        assert database.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND state LIKE 'idle in transaction%'"
        ) == [(0,)]


async def test_tables_of_somebody_else_are_left_alone(database: Database) -> None:
    """A database with other tables of these names is refused at the start."""
    if isinstance(database, SqliteDatabase):
        database.path.parent.mkdir()
    database.rows("CREATE TABLE entries (id INTEGER PRIMARY KEY)")

    with pytest.raises(ConfigurationError, match="ledger"):
        await database.books().open()


async def test_a_handler_that_never_started_can_be_closed(database: Database) -> None:
    """As when another part of the process fails first."""
    await LedgerHandler(database.books()).close()

    if isinstance(database, SqliteDatabase):
        assert not database.path.exists()


async def test_reading_makes_nothing(database: Database) -> None:
    """Where no handler has been yet, it says so."""
    with pytest.raises(LedgerUnavailable, match="there is no ledger"):
        await database.totals()

    if isinstance(database, SqliteDatabase):
        assert not database.path.exists()


async def test_a_partial_refund_without_an_id_of_its_own_is_a_booking_each(
    books: Books, database: Database
) -> None:
    """Known by its payment's id only; it is found under that id."""
    payment = event(1).resource
    assert payment is not None
    refund = {"type": "refund.succeeded", "kind": "refund", "links": Links(payment="p_1"),
              "resource": replace(payment, kind="refund")}  # fmt: skip
    await count(books, event(2, "10", **refund), event(3, "20", **refund))

    assert await database.totals() == [total(30, 2, effect="refunded")]
    assert len(await lines(database, resource="p_1")) == 4
