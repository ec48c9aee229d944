"""The ledger's PostgreSQL killed, frozen or refusing in the middle: nothing is lost or doubled."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from hookmill.core.errors import ConfigurationError
from hookmill.core.event import Event
from hookmill.core.outcome import Retry
from hookmill.handlers.ledger import postgres as postgres_module
from hookmill.handlers.ledger.handler import LedgerHandler
from hookmill.handlers.ledger.place import books, place
from support.ledgers import CONTEXT, Database, PostgresDatabase, Process, event, total
from support.postgres import PASSWORD, Postgres

EVENTS = 400
DEADLINE_SECS = 60
AWAY = Retry("ledger_unavailable", in_place=True)


@pytest.fixture
def database(postgres: Postgres) -> PostgresDatabase:
    """An empty database of the run's server."""
    return PostgresDatabase(postgres)


@pytest.fixture
async def handler(database: PostgresDatabase) -> AsyncIterator[LedgerHandler]:
    """The handler on that database, started."""
    handler = LedgerHandler(database.books())
    await handler.start()
    yield handler
    await handler.close()


async def handled(handler: LedgerHandler, each: Event, answers: list[object]) -> None:
    """Hand it over as the runner does, until it is done; short pauses for the test's sake."""
    while (answer := await handler.handle(each, CONTEXT)) is not None:
        answers.append(answer)
        await asyncio.sleep(0.02)


async def test_killed_in_the_middle_three_times_every_event_is_counted_once(
    handler: LedgerHandler, database: PostgresDatabase
) -> None:
    """Eight at once; while it is away each answer says so, in place; afterwards all is there."""
    answers: list[object] = []
    waiting = [event(each) for each in range(EVENTS)]
    done = 0

    async def work() -> None:
        nonlocal done
        while waiting:
            await handled(handler, waiting.pop(), answers)
            done += 1

    async with asyncio.timeout(DEADLINE_SECS), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
        for kill_at in (50, 150, 250):
            while done < kill_at:
                await asyncio.sleep(0.001)
            database.server.kill()
            answers_before = len(answers)
            while len(answers) < answers_before + 8:
                await asyncio.sleep(0.001)
            await asyncio.to_thread(database.server.start)

    assert len(answers) >= 24
    assert set(map(repr, answers)) == {repr(AWAY)}
    assert await database.totals() == [total(100 * EVENTS, EVENTS)]
    assert await database.problems() == []
    assert database.rows("SELECT count(*) FROM events_counted") == [(EVENTS,)]


async def test_a_commit_whose_answer_is_lost_counts_once(
    handler: LedgerHandler, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has committed and the connection is gone before it can say so."""
    execute = asyncpg.Connection.execute

    async def cut_after_commit(self: asyncpg.Connection, query: str, *rest: object) -> object:
        answer = await execute(self, query, *rest)
        if query == "COMMIT":
            self.terminate()
            raise ConnectionResetError("cut off")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "execute", cut_after_commit)
        assert await handler.handle(event(1), CONTEXT) == AWAY
    assert await handler.handle(event(1), CONTEXT) is None

    assert await database.totals() == [total(100, 1)]


async def test_a_frozen_server_is_away_until_it_thaws(
    handler: LedgerHandler, database: PostgresDatabase
) -> None:
    """Connections are open and nobody answers: the answer comes within the time limit."""
    assert await handler.handle(event(1), CONTEXT) is None
    database.server.freeze()
    try:
        async with asyncio.timeout(2.5):
            assert await handler.handle(event(2), replace(CONTEXT, deadline_secs=2.5)) == AWAY
    finally:
        database.server.thaw()
    answers: list[object] = []
    async with asyncio.timeout(DEADLINE_SECS):
        await handled(handler, event(2), answers)

    assert await database.totals() == [total(200, 2)]


async def test_a_frozen_process_holds_nobody_up_for_long(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands inside a transaction on the same event; the server ends that for it."""
    monkeypatch.setitem(postgres_module.SETTINGS, "lock_timeout", "100ms")
    handler = LedgerHandler(database.books())
    await handler.start()
    with Process(database, stop_at=0) as frozen:
        assert frozen.says() == "open"
        frozen.give([event(0)])
        assert frozen.says() == "inside"
        frozen.freeze()
        answers: list[object] = []
        async with asyncio.timeout(DEADLINE_SECS):
            await handled(handler, event(0), answers)

    assert answers
    assert set(map(repr, answers)) == {repr(AWAY)}
    assert await database.totals() == [total(100, 1)]
    await handler.close()


async def test_it_starts_without_its_database_and_makes_the_tables_later(
    database: PostgresDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    """Handler and database are often started together; the log says what is missing."""
    database.server.kill()
    handler = LedgerHandler(database.books())
    try:
        await handler.start()
        assert await handler.handle(event(1), CONTEXT) == AWAY
    finally:
        database.server.start()
    assert await handler.handle(event(1), CONTEXT) is None

    assert await database.totals() == [total(100, 1)]
    said = "".join(capfd.readouterr())
    assert f"127.0.0.1:{database.server.port}" in said
    assert PASSWORD not in said
    await handler.close()


@pytest.mark.parametrize("state", ["53100", "53300", "57014", "25006", "40001", "55P03", "58030"])
async def test_what_is_not_the_events_fault_counts_against_no_event(
    handler: LedgerHandler, database: PostgresDatabase, state: str
) -> None:
    """A full disk, too many connections, a time-out, a standby, a conflict, a lock, I/O."""
    raise_in_trigger(database, state)
    assert await handler.handle(event(1), CONTEXT) == AWAY
    database.rows("DROP TRIGGER no ON entries")

    assert await handler.handle(event(1), CONTEXT) is None
    assert await database.totals() == [total(100, 1)]


@pytest.mark.parametrize("state", ["22003", "23514"])
async def test_what_is_the_events_own_fault_is_an_error(
    handler: LedgerHandler, database: PostgresDatabase, state: str
) -> None:
    """Trying again in place would stop its partition for ever."""
    raise_in_trigger(database, state)
    with pytest.raises(asyncpg.PostgresError):
        await handler.handle(event(1), CONTEXT)
    database.rows("DROP TRIGGER no ON entries")

    assert database.rows("SELECT * FROM events_counted") == []
    assert await handler.handle(event(1), CONTEXT) is None


def raise_in_trigger(database: Database, state: str) -> None:
    """Every new entry meets this error of the server."""
    database.rows(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"
    )
    database.rows("CREATE TRIGGER no BEFORE INSERT ON entries EXECUTE FUNCTION no()")


def wrong_password(database: PostgresDatabase) -> str:
    """The right role, another password."""
    return database.server.url(database.name, password="wr0ng-hunter3")


def no_such_database(database: PostgresDatabase) -> str:
    """The right server, another database."""
    return database.server.url("nowhere")


@pytest.mark.parametrize("url", [wrong_password, no_such_database])
async def test_what_only_the_operator_can_mend_ends_the_start(
    database: PostgresDatabase, url: Callable[[PostgresDatabase], str]
) -> None:
    """In one line that names the database and no password."""
    with pytest.raises(ConfigurationError, match="the ledger cannot use its database") as caught:
        await LedgerHandler(Database(url(database)).books()).start()

    assert "127.0.0.1" in str(caught.value)
    assert "hunter" not in str(caught.value)


async def test_a_role_that_may_only_write_is_enough_where_the_tables_are(
    handler: LedgerHandler, database: PostgresDatabase
) -> None:
    """Tables are made by one role; the handler needs no right to make any."""
    role = f"writer_{database.name}"
    database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    database.rows(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
    lesser = LedgerHandler(
        Database(f"postgresql://{role}:pw@127.0.0.1:{database.server.port}/{database.name}").books()
    )
    await lesser.start()

    assert await lesser.handle(event(1), CONTEXT) is None
    assert await database.totals() == [total(100, 1)]
    await lesser.close()


async def test_a_password_that_changes_is_read_again(database: PostgresDatabase) -> None:
    """At the next connection, without a restart."""
    role = f"rotated_{database.name}"
    database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'one'")
    database.rows(f"GRANT ALL ON SCHEMA public TO {role}")
    passwords = ["one"]
    url = f"postgresql://{role}@127.0.0.1:{database.server.port}/{database.name}"
    where = place(url, local_dir=Path(), password=lambda: passwords[-1])
    handler = LedgerHandler(books(where, connections=1))
    await handler.start()
    assert await handler.handle(event(1), CONTEXT) is None

    database.rows(f"ALTER ROLE {role} PASSWORD 'two'")
    database.rows(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    )
    async with asyncio.timeout(DEADLINE_SECS):
        while await handler.handle(event(2), CONTEXT) != AWAY:
            await asyncio.sleep(0.01)
    assert await handler.handle(event(2), CONTEXT) == AWAY
    passwords.append("two")
    assert await handler.handle(event(2), CONTEXT) is None
    await handler.close()


async def test_durability_is_not_the_servers_to_choose(database: PostgresDatabase) -> None:
    """A database set to answer before its disk has it would lose what was counted."""
    database.rows(f"ALTER DATABASE {database.name} SET synchronous_commit = off")
    connection = await asyncpg.connect(**database.place.arguments())  # type: ignore[union-attr]

    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()


async def test_random_kills_while_subjects_repeat(
    handler: LedgerHandler, database: PostgresDatabase
) -> None:
    """Growing figures of ten payments, each told several times, a kill among them: the highest."""
    chance = random.Random(3)
    told = [event(number, str(1 + number), resource=event(number % 10).resource)
            for number in range(120)]  # fmt: skip
    several = told + chance.sample(told, 60)
    chance.shuffle(several)
    answers: list[object] = []

    async def work() -> None:
        while several:
            await handled(handler, several.pop(), answers)

    async with asyncio.timeout(DEADLINE_SECS), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
        while len(several) > 90:
            await asyncio.sleep(0.001)
        database.server.kill()
        await asyncio.to_thread(database.server.start)

    [found] = await database.totals()
    assert int(found.minor) == sum(range(111, 121))
    assert await database.problems() == []
