"""From a handler's configuration to the handler: a built-in one, or a function of one's own."""

from pathlib import Path

from hookmill.config.options import Handler as Options
from hookmill.config.references import import_function
from hookmill.handlers.api import Handler
from hookmill.handlers.ledger import LedgerHandler, database_path
from hookmill.handlers.log import LogHandler
from hookmill.handlers.threads import FunctionHandler


def make(options: Options, *, local_dir: Path) -> Handler:
    """The handler; raises ConfigurationError that says what cannot be used."""
    match options.type:
        case "ledger":
            return LedgerHandler(database_path(options.url, local_dir=local_dir))
        case "log":
            return LogHandler()
        case reference:
            return FunctionHandler(import_function(reference), threads=options.concurrency)
