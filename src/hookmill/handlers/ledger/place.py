"""Where a ledger is: a SQLite file, or a PostgreSQL database whose password is in no message."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from hookmill.core.errors import ConfigurationError
from hookmill.handlers.ledger.books import Books
from hookmill.handlers.ledger.postgres import PostgresBooks, PostgresSource, Server
from hookmill.handlers.ledger.reading import Reading
from hookmill.handlers.ledger.sqlite import SqliteBooks, SqliteSource

SQLITE = "sqlite:///"
POSTGRES = ("postgresql", "postgres")
Password = Callable[[], str]

_SECRET_PARAMETERS = {"password", "sslpassword"}
_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\[\]:,@]*)(:\d{1,5})?"
_HOSTS = re.compile(f"{_HOST}(,{_HOST})*")
_UNREADABLE = (
    "the ledger's url cannot be read: postgresql://user@host:5432/database. In a password there, "
    "write / ? # and % as %2F %3F %23 and %25; better, give it as `password`"
)


class File(msgspec.Struct, frozen=True):
    """A SQLite file."""

    path: Path


Place = File | Server


def place(url: str | None, *, local_dir: Path, password: Password | None = None) -> Place:
    """What the url names; None: `ledger.db` in local.dir.

    `password` gives the one of a PostgreSQL role, anew for each connection. Raises
    ConfigurationError for what cannot be used; no message has the url's user or password in it.
    """
    if url is None or url.startswith("sqlite:"):
        if password is not None:
            raise ConfigurationError("the ledger's password is for PostgreSQL; SQLite has none")
        return _file(url, local_dir)
    scheme = url.partition(":")[0]
    if scheme not in POSTGRES or not url.startswith(f"{scheme}://"):
        raise ConfigurationError(
            f"the ledger's url begins with '{scheme[:20]}' and is neither sqlite:///path nor "
            "postgresql://user@host/database"
        )
    return _server(url, password)


def books(where: Place, *, connections: int) -> Books:
    """The books at that place, not opened yet; PostgreSQL with so many connections at most."""
    if isinstance(where, File):
        return SqliteBooks(where.path)
    return PostgresBooks(where, connections=connections)


@asynccontextmanager
async def reading(where: Place) -> AsyncIterator[Reading]:
    """The books at that place, for reading; raises LedgerUnavailable if there are none (yet)."""
    if isinstance(where, File):
        file = SqliteSource(where.path)
        try:
            yield Reading(file)
        finally:
            file.close()
    else:
        server = PostgresSource(where)
        await server.open()
        try:
            yield Reading(server)
        finally:
            await server.close()


def _file(url: str | None, local_dir: Path) -> File:
    if url is None:
        return File(local_dir / "ledger.db")
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ConfigurationError("the ledger's url begins with 'sqlite' and is not sqlite:///path")
    return File(Path(url.removeprefix(SQLITE)))


def _server(url: str, password: Password | None) -> Server:
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError(_UNREADABLE) from None  # its own text may be of the password
    user_info, _, hosts = parts.netloc.rpartition("@")
    user, colon, inline = user_info.partition(":")
    if not _HOSTS.fullmatch(hosts) or parts.fragment:
        raise ConfigurationError(_UNREADABLE)
    for parameter in sorted({*asked} & _SECRET_PARAMETERS):
        raise ConfigurationError(
            f"the ledger's url has a parameter '{parameter}'; give the password as `password`"
        )
    if colon and password is not None:
        raise ConfigurationError("the ledger's password is in its url and in `password`: once only")
    netloc = f"{user}@{hosts}" if user_info else hosts
    return Server(
        dsn=url.replace(f"//{parts.netloc}", f"//{netloc}", 1),
        name=f"{hosts}{parts.path}",
        password=_always(unquote(inline)) if colon else password,
    )


def _always(text: str) -> Password:
    return lambda: text
