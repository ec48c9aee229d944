"""The books in PostgreSQL, by asyncpg: as many events at once as there are connections.

A transaction locks the event's id, then its effect, then its position: one of each and in this
order, so no two ever wait for each other in a circle. A connection on which anything went wrong,
a cancellation too, is closed: the server rolls back, and no half transaction is ever reused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import msgspec

from hookmill.core.errors import ConfigurationError, LedgerUnavailable
from hookmill.core.event import Event
from hookmill.handlers.bookings import (
    Booked,
    Booking,
    Effect,
    booking_for,
    effects_of,
    resource_name,
)
from hookmill.handlers.ledger.books import Dialect

CONNECT_TIMEOUT_SECS = 5.0
COMMAND_TIMEOUT_SECS = 10.0
CLOSE_TIMEOUT_SECS = 5.0
MAKING_LOCK = 4855221760031048547
"""Of those who make the tables at the same time: any number that nobody else is likely to use."""

SETTINGS = {
    "application_name": "hookmill ledger",
    "synchronous_commit": "on",  # what was counted is on the disk before the event is done
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",  # a frozen process holds nobody up for longer
}
DIALECT = Dialect(
    sum="sum",
    time_out="""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    time_in="CAST(CAST({} AS text) AS timestamptz)",
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS events_counted (event_id text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS effects (
    resource text NOT NULL, effect text NOT NULL, minor numeric(38, 0), currency text,
    exponent integer, PRIMARY KEY (resource, effect)
);
CREATE TABLE IF NOT EXISTS bookings (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL REFERENCES events_counted, event_type text NOT NULL,
    endpoint text NOT NULL, mode text NOT NULL, resource text NOT NULL, effect text NOT NULL,
    received_at timestamptz NOT NULL, UNIQUE (event_id, effect)
);
CREATE INDEX IF NOT EXISTS bookings_of_endpoint ON bookings (endpoint, number);
CREATE INDEX IF NOT EXISTS bookings_of_resource ON bookings (resource, number);
CREATE INDEX IF NOT EXISTS bookings_by_time ON bookings (received_at);
CREATE TABLE IF NOT EXISTS entries (
    booking bigint NOT NULL REFERENCES bookings, line integer NOT NULL,
    account text NOT NULL, side text NOT NULL CHECK (side IN ('debit', 'credit')),
    minor numeric(38, 0) CHECK (minor > 0),
    currency text, exponent integer, CHECK ((minor IS NULL) = (currency IS NULL)),
    PRIMARY KEY (booking, line)
);
CREATE TABLE IF NOT EXISTS positions (
    topic text NOT NULL, partition integer NOT NULL, next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);
"""
PROBE = """
SELECT c.event_id, f.exponent, b.received_at, e.side, p.next_offset
FROM events_counted c, effects f, bookings b, entries e, positions p WHERE 1 = 0
"""
_COUNT = "INSERT INTO events_counted VALUES ($1) ON CONFLICT DO NOTHING RETURNING event_id"
_BOOKED = """
SELECT minor::text, currency, exponent FROM effects WHERE resource = $1 AND effect = $2 FOR UPDATE
"""
_FIRST = """
INSERT INTO effects VALUES ($1, $2, $3::text::numeric, $4, $5) ON CONFLICT DO NOTHING
RETURNING resource
"""
_GROWN = """
UPDATE effects SET minor = $3::text::numeric, currency = $4, exponent = $5
WHERE resource = $1 AND effect = $2 RETURNING resource
"""
_BOOKING = """
WITH booking AS (
    INSERT INTO bookings (event_id, event_type, endpoint, mode, resource, effect, received_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text::timestamptz) RETURNING number
)
INSERT INTO entries SELECT number, line, account, side, minor, currency, exponent
FROM booking, unnest($8::text[], $9::text[], $10::text[]::numeric[], $11::text[], $12::integer[])
    WITH ORDINALITY AS lines (account, side, minor, currency, exponent, line)
"""
_POSITION = """
INSERT INTO positions VALUES ($1, $2, $3) ON CONFLICT (topic, partition) DO UPDATE
SET next_offset = greatest(positions.next_offset, excluded.next_offset)
"""

_THE_EVENTS_OWN = (asyncpg.IntegrityConstraintViolationError, asyncpg.exceptions.DataError)
_UNUSABLE = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedColumnError,
    asyncpg.ClientConfigurationError,
)


class Server(msgspec.Struct, frozen=True):
    """A database: the address without its password, and what gives the password.

    `name` is for people: host and database.
    """

    dsn: str
    name: str
    password: Callable[[], str] | None

    def arguments(self, **settings: str) -> dict[str, Any]:
        """What asyncpg needs to connect; it asks for the password at each connection."""
        return {
            "dsn": self.dsn,
            "password": self.password,
            "timeout": CONNECT_TIMEOUT_SECS,
            "command_timeout": COMMAND_TIMEOUT_SECS,
            "server_settings": {**SETTINGS, **settings},
        }


class PostgresBooks:
    """Implements Books on a pool of connections that are made when they are needed."""

    def __init__(self, server: Server, *, connections: int) -> None:
        self._server = server
        self._connections = connections
        self._pool: Any = None
        self._made = False
        self._making = asyncio.Lock()

    async def open(self) -> None:
        """Make the tables where there are none. A role that may not is enough where they are."""
        async with self._making:
            if not self._made:
                with _usable(self._server):
                    self._pool = self._pool or await asyncpg.create_pool(
                        **self._server.arguments(), min_size=0, max_size=self._connections
                    )
                    async with self._connection() as connection:
                        await _make_tables(connection)
                self._made = True

    async def count(self, event: Event, *, topic: str, partition: int, offset: int) -> bool:
        """Book it in a transaction of its own; what was booked is on the disk when it returns.

        A commit whose answer is lost is found by the event's id when the event comes again.
        """
        if not self._made:
            await self.open()
        with _available(self._server):
            async with self._connection() as connection:
                await connection.execute("BEGIN")
                added = await connection.fetchval(_COUNT, event.id) is not None
                for effect in effects_of(event) if added else ():
                    await _book(connection, event, effect)
                await connection.execute(_POSITION, topic, partition, offset + 1)
                await connection.execute("COMMIT")
        return added

    async def close(self) -> None:
        """Let what runs end, and close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_SECS):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as connection:
            try:
                yield connection
            except BaseException:
                connection.terminate()
                raise


class PostgresSource:
    """Implements Source on one connection that writes nothing."""

    dialect = DIALECT

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Any = None

    async def open(self) -> None:
        """Connect; raises LedgerUnavailable if the database does not answer or has no ledger."""
        with _usable(self._server):
            self._connection = await asyncpg.connect(
                **self._server.arguments(default_transaction_read_only="on", statement_timeout="0")
                | {"command_timeout": None}  # the sums of a large ledger take their time
            )
        try:
            with _usable(self._server):
                await self._connection.execute(PROBE)
        except BaseException:
            self._connection.terminate()
            raise

    async def fetch(self, query: str, *values: object) -> Sequence[Sequence[Any]]:
        """Every row."""
        with _available(self._server):
            found: Sequence[Sequence[Any]] = await self._connection.fetch(query, *values)
        return found

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close(timeout=CLOSE_TIMEOUT_SECS)


@contextmanager
def _available(server: Server) -> Iterator[None]:
    """Whatever the database says that is not the event's own fault means: not now."""
    try:
        yield
    except _THE_EVENTS_OWN:
        raise
    except asyncpg.UndefinedTableError:
        raise LedgerUnavailable(
            f"there is no ledger in {server.name} yet; its handler makes it when it starts"
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        state = getattr(error, "sqlstate", None) or "client"
        raise LedgerUnavailable(
            f"{server.name}: {type(error).__name__} ({state}): {error}"
        ) from None
    except (OSError, TimeoutError) as error:
        raise LedgerUnavailable(f"{server.name}: {type(error).__name__}: {error}") from None


@contextmanager
def _usable(server: Server) -> Iterator[None]:
    """At the beginning: what trying again does not mend is the operator's."""
    try:
        with _available(server):
            yield
    except LedgerUnavailable as error:
        if isinstance(error.__context__, _UNUSABLE):
            raise ConfigurationError(f"the ledger cannot use its database {error}") from None
        raise


async def _make_tables(connection: Any) -> None:
    try:
        await connection.execute(PROBE)
    except asyncpg.UndefinedTableError:
        await connection.execute("BEGIN")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MAKING_LOCK)
        await connection.execute(SCHEMA)
        await connection.execute(PROBE)
        await connection.execute("COMMIT")


async def _book(connection: Any, event: Event, effect: Effect) -> None:
    """Decide and write. Two first bookings of one effect: the later one decides again."""
    key = (effect.resource, effect.name)
    while True:
        row = await connection.fetchrow(_BOOKED, *key)
        booked = None if row is None else Booked(None if row[0] is None else int(row[0]), *row[1:])
        booking = booking_for(effect, booked)
        if booking is None:
            return
        after = booking.booked
        minor = None if after.minor is None else str(after.minor)
        keep = _FIRST if booked is None else _GROWN
        if await connection.fetchval(keep, *key, minor, after.currency, after.exponent) is not None:
            await _write(connection, event, effect, booking)
            return


async def _write(connection: Any, event: Event, effect: Effect, booking: Booking) -> None:
    amounts = [each.amount for each in booking.entries]
    await connection.execute(
        _BOOKING,
        event.id, event.type, event.endpoint, event.mode, resource_name(event), effect.name,
        event.received_at,
        [each.account for each in booking.entries],
        [each.side for each in booking.entries],
        [each.minor if each else None for each in amounts],
        [each.currency if each else None for each in amounts],
        [each.exponent if each else None for each in amounts],
    )  # fmt: skip
