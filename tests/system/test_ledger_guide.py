"""The ledger's guide is true: its commands and queries are run, on both databases."""

import asyncio
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hookmill.config.load import load
from hookmill.core.event import Event
from hookmill.handlers.ledger.handler import LedgerHandler
from hookmill.handlers.registry import make
from support.ledgers import CONTEXT, event
from support.postgres import Postgres

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "ledger.md").read_text()
ENDPOINTS = """
[endpoints.shop]
provider = "yoco"
secrets = [{ env = "T_YOCO" }]
"""
PASSWORD = "choose-a-long-one"

Rows = Callable[[str], list[Any]]


def blocks(language: str) -> list[str]:
    """The guide's blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def story() -> list[Event]:
    """What the guide's books have in them."""
    payment = event(1).resource
    assert payment is not None
    refund, payout = (replace(payment, kind=kind, id=id)
                      for kind, id in (("refund", "rfd_1"), ("transfer", "po_1")))  # fmt: skip
    told = [
        event(1, "100000"),
        event(2, "25000", type="refund.succeeded", kind="refund", resource=refund),
        event(3, "40000", type="transfer.succeeded", kind="transfer", resource=payout),
        event(4, None, endpoint="naira", mode="unknown"),
    ]
    return [replace(each, received_at=f"2026-11-23T09:00:0{number}.000000Z")
            for number, each in enumerate(told, start=1)]  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """The guide's configuration in the current folder, on each database, with its books filled;
    runs a query there."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("T_YOCO", "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==")
    [plain] = blocks("toml")
    if request.param == "sqlite":
        (tmp_path / "hookmill.toml").write_text(ENDPOINTS + plain)
        fill(tmp_path / "hookmill.toml")
        return in_file(tmp_path / ".hookmill" / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")
    [toml], [setup] = blocks("toml postgresql"), blocks("sql postgresql")
    server.execute("postgres", "DROP DATABASE IF EXISTS hookmill_ledger")
    server.execute("postgres", "DROP ROLE IF EXISTS hookmill")
    for statement in statements(setup):
        server.execute("postgres", statement)
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    for shown, here in {
        "db.internal": f"127.0.0.1:{server.port}",
        "?sslmode=verify-full": "",
        "/run/secrets/ledger": str(tmp_path / "secret"),
    }.items():
        assert shown in toml
        toml = toml.replace(shown, here)
    (tmp_path / "hookmill.toml").write_text(ENDPOINTS + toml + plain.partition("\n\n")[2])
    fill(tmp_path / "hookmill.toml")
    return lambda query: server.execute("hookmill_ledger", query)


def in_file(path: Path) -> Rows:
    """Queries on a SQLite file."""

    def run(query: str) -> list[Any]:
        db = sqlite3.connect(path)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()

    return run


def statements(block: str) -> list[str]:
    """The SQL statements of a block."""
    return [each.strip() for each in block.split(";") if each.strip()]


def fill(config: Path) -> None:
    """Let the configured handler count the story."""
    found = load(config, os.environ)

    async def counting() -> None:
        handler = make(
            found.handlers["ledger"], name="ledger", local_dir=Path(found.local.dir),
            environ=os.environ, now_us=lambda: 0,
        )  # fmt: skip
        assert isinstance(handler, LedgerHandler)
        await handler.start()
        assert [await handler.handle(each, CONTEXT) for each in story()] == [None] * 4
        await handler.close()

    asyncio.run(counting())


def test_every_command_prints_what_the_guide_shows(rows: Rows) -> None:
    """Line by line, on either database."""
    [console] = blocks("console")
    shown = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)
    assert [words.split()[2] for words, _ in shown] == ["balance", "entries", "entries", "check"]
    for command, expected in shown:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr
        assert [line.rstrip() for line in done.stdout.splitlines()] == expected.splitlines()


def test_every_query_gives_what_it_is_for(rows: Rows) -> None:
    """Amounts in the one database are numbers, in the other text."""
    first, second = blocks("sql")
    [balances] = statements(first)
    payment, unknown = statements(second)

    assert [(*row[:3], int(row[3]), int(row[4])) for row in rows(balances)] == [
        ("shop", "payments", "ZAR", 0, 100_000),
        ("shop", "provider", "ZAR", 100_000, 65_000),
        ("shop", "refunds", "ZAR", 25_000, 0),
        ("shop", "transfers", "ZAR", 40_000, 0),
    ]
    assert [(row[2], int(row[4])) for row in rows(payment)] == [
        ("provider", 100_000), ("payments", 100_000),
    ]  # fmt: skip
    assert rows(unknown) == [("naira", "p_4", "hm_4")]
