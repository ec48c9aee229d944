"""From a handler's configuration to its ledger, and where that is."""

from collections.abc import Mapping
from pathlib import Path

from hookmill.config.options import Handler as Options
from hookmill.config.secrets import read_once
from hookmill.handlers.ledger.handler import LedgerHandler
from hookmill.handlers.ledger.place import Place, books, place


def ledger(options: Options, *, local_dir: Path, environ: Mapping[str, str]) -> LedgerHandler:
    """The handler; raises ConfigurationError for a place that cannot be used."""
    where = ledger_place(options, local_dir=local_dir, environ=environ)
    return LedgerHandler(books(where, connections=options.concurrency))


def ledger_place(options: Options, *, local_dir: Path, environ: Mapping[str, str]) -> Place:
    """Where a ledger's books are; its password, if it has one, is read now and at each use."""
    source = options.password
    if source is None:
        return place(options.url, local_dir=local_dir)

    def password() -> str:
        return read_once(source, environ=environ)

    password()
    return place(options.url, local_dir=local_dir, password=password)
