"""From a handler's configuration to the handler: a built-in one, or a function of one's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from hookmill.config.options import Handler as Options
from hookmill.config.references import import_function
from hookmill.handlers.api import Handler
from hookmill.handlers.http import HttpHandler, destination
from hookmill.handlers.log import LogHandler
from hookmill.handlers.threads import FunctionHandler


def make(
    options: Options,
    *,
    name: str,
    local_dir: Path,
    environ: Mapping[str, str],
    now_us: Callable[[], int],
) -> Handler:
    """The handler `name`; raises ConfigurationError that says what cannot be used.

    `environ` holds secrets, `now_us` gives the time in epoch microseconds.
    """
    match options.type:
        case "http":
            return HttpHandler(name, destination(name, options, environ=environ), now_us=now_us)
        case "ledger":
            from hookmill.handlers.ledger.configured import ledger  # its drivers: only where wanted

            return ledger(options, local_dir=local_dir, environ=environ)
        case "log":
            return LogHandler()
        case reference:
            return FunctionHandler(import_function(reference), threads=options.concurrency)
