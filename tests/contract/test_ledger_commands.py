"""`hookmill ledger` on a real database of each kind, while its handler has it open."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.ledgers import Database, PostgresDatabase, SqliteDatabase, event
from support.postgres import PASSWORD

CONFIGURATION = """
[handlers.books]
type = "ledger"
url = "{url}"
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "state" / "ledger.db")
    return PostgresDatabase(request.getfixturevalue("postgres"))


@pytest.fixture
def run(tmp_path: Path, database: Database) -> Run:
    """Runs the program where that database is configured."""
    (tmp_path / "hookmill.toml").write_text(CONFIGURATION.format(url=database.url))
    return lambda *words, **options: hookmill(tmp_path, *words, **options)


def hookmill(folder: Path, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """The program as a process of its own."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("HOOKMILL_")}
    return subprocess.run(
        [sys.executable, "-m", "hookmill", *words],
        cwd=folder, env={**environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=60,
        check=False, **options,
    )  # fmt: skip


def count(database: Database, numbers: range) -> None:
    """Count a payment for each number."""

    async def counting() -> None:
        books = database.books()
        await books.open()
        for each in numbers:
            await books.count(event(each), topic="q", partition=0, offset=each)
        await books.close()

    asyncio.run(counting())


def test_balances_of_every_account(database: Database, run: Run) -> None:
    """For programs as one JSON value, for people as a table; only what is asked for."""
    count(database, range(3))
    done = run("ledger", "balance", "--json")

    assert json.loads(done.stdout) == [
        {"endpoint": "shop", "mode": "live", "account": account, "currency": "ZAR", "exponent": 2,
         "debit": debit, "credit": credit, "balance": "300", "entries": 3}
        for account, debit, credit in (("payments", "0", "300"), ("provider", "300", "0"))
    ]  # fmt: skip
    assert json.loads(run("ledger", "balance", "--json", "--currency", "USD").stdout) == []
    assert json.loads(run("ledger", "balance", "--json", "--endpoint", "other").stdout) == []
    assert run("ledger", "balance").stdout.split()[-9:] == [
        "shop", "live", "provider", "ZAR", "2", "300", "0", "300", "3",
    ]  # fmt: skip


def test_entries_are_a_stream_of_lines_the_newest_last(database: Database, run: Run) -> None:
    """So many as there are, or the newest few; one resource's by the provider's id."""
    count(database, range(300))
    everything = [
        json.loads(line)
        for line in run("ledger", "entries", "--json", "--limit", "0").stdout.splitlines()
    ]
    few = run("ledger", "entries", "--json", "--limit", "3").stdout.splitlines()
    one = run("ledger", "entries", "--json", "--resource", "p_7").stdout.splitlines()

    assert [(each["booking"], each["line"]) for each in everything] == [
        (booking, line) for booking in range(1, 301) for line in (1, 2)
    ]
    assert [json.loads(each) for each in few] == everything[-3:]
    assert len(run("ledger", "entries", "--json").stdout.splitlines()) == 100
    assert [json.loads(each)["account"] for each in one] == ["provider", "payments"]
    assert json.loads(one[0]) == {
        "booking": 8, "line": 1, "received_at": "2026-11-23T09:00:00.000000Z", "event_id": "hm_7",
        "event_type": "payment.succeeded", "endpoint": "shop", "mode": "live", "resource": "p_7",
        "effect": "received", "account": "provider", "side": "debit", "minor": "100",
        "currency": "ZAR", "exponent": 2,
    }  # fmt: skip
    since = run("ledger", "entries", "--since", "2026-11-23T09:00:01Z", "--json")
    assert (since.returncode, since.stdout) == (0, "")
    assert "p_299" in run("ledger", "entries", "--since", "36500d").stdout


def test_sound_books_are_called_so_and_others_are_not(database: Database, run: Run) -> None:
    """Status 1 and where it is wrong, however it came about."""
    count(database, range(3))
    sound = run("ledger", "check", "--json")
    database.rows("UPDATE entries SET minor = '7' WHERE booking = 2 AND line = 2")
    unsound = run("ledger", "check", "--json")

    assert (sound.returncode, json.loads(sound.stdout)) == (
        0,
        {"sound": True, "problems": [], "sums": [
            {"endpoint": "shop", "mode": "live", "currency": "ZAR", "exponent": 2,
             "debit": "300", "credit": "300"}]},
    )  # fmt: skip
    assert unsound.returncode == 1
    assert json.loads(unsound.stdout)["problems"] == [
        "shop live ZAR: debits 300, credits 207",
        "booking 2 (event hm_1): debit 100, credit 7 ZAR in 2 entries",
    ]
    assert "WRONG: booking 2 (event hm_1)" in run("ledger", "check").stdout


def test_it_reads_while_the_handler_counts(database: Database, run: Run) -> None:
    """A booking is there as a whole or not at all."""

    async def both() -> None:
        books = database.books()
        await books.open()
        reading = asyncio.create_task(asyncio.to_thread(run, "ledger", "check", "--json"))
        number = 0
        while not reading.done():
            await books.count(event(number), topic="q", partition=0, offset=number)
            number += 1
        done = await reading
        await books.close()
        assert (done.returncode, json.loads(done.stdout)["problems"]) == (0, [])
        assert number > 0

    asyncio.run(both())


@pytest.mark.parametrize("command", ["balance", "entries", "check"])
def test_a_ledger_that_is_not_there_yet(database: Database, run: Run, command: str) -> None:
    """It says what makes it, and makes nothing itself."""
    done = run("ledger", command)

    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no ledger" in done.stderr
    assert "its handler makes it when it starts" in done.stderr
    assert PASSWORD not in done.stderr
    if isinstance(database, SqliteDatabase):
        assert not database.path.exists()


def test_a_server_that_is_away(tmp_path: Path) -> None:
    """One line that says where it was looked for, without the password."""
    url = "postgresql://me:hunter2@127.0.0.1:1/books"
    (tmp_path / "hookmill.toml").write_text(CONFIGURATION.format(url=url))
    done = hookmill(tmp_path, "ledger", "balance")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hookmill: 127.0.0.1:1/books: ConnectionRefusedError")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("handlers", "words", "said"),
    [
        ("", [], "no ledger is configured"),
        ('[handlers.a]\ntype = "log"', [], "no ledger is configured"),
        ('[handlers.a]\ntype = "ledger"\n[handlers.b]\ntype = "ledger"', [],
         "several ledgers are configured: a, b; choose by --handler"),
        ('[handlers.a]\ntype = "ledger"', ["--handler", "b"],
         "no ledger is called 'b'; configured are: a"),
    ],
)  # fmt: skip
def test_which_ledger_is_meant_must_be_clear(
    handlers: str, words: list[str], said: str, tmp_path: Path
) -> None:
    """Wrong usage: status 2."""
    (tmp_path / "hookmill.toml").write_text(handlers)
    done = hookmill(tmp_path, "ledger", "balance", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("since", ["yesterday", "24", "h", "2026-11-23"])
def test_a_time_that_cannot_be_read(since: str, tmp_path: Path) -> None:
    """Wrong usage: status 2, with an example of each way to say it."""
    (tmp_path / "hookmill.toml").write_text('[handlers.a]\ntype = "ledger"')
    done = hookmill(tmp_path, "ledger", "entries", "--since", since)

    assert done.returncode == 2
    assert "24h" in done.stderr


def test_two_ledgers_are_told_apart_by_name(tmp_path: Path) -> None:
    """Each has its own file."""
    for name, numbers in (("a", range(1)), ("b", range(2))):
        count(SqliteDatabase(tmp_path / f"{name}.db"), numbers)
    (tmp_path / "hookmill.toml").write_text(
        "\n".join(f'[handlers.{each}]\ntype = "ledger"\nurl = "sqlite:///{each}.db"'
                  for each in "ab")
    )  # fmt: skip
    found = json.loads(hookmill(tmp_path, "ledger", "balance", "--json", "--handler", "b").stdout)

    assert {each["balance"] for each in found} == {"200"}
