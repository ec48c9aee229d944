"""Runs the program: its commands, panel by panel, and its exit status."""

import os
import sys
from typing import Annotated

import typer

from hookmill import __version__
from hookmill.cli.output import err
from hookmill.cli.panels import look_after_it, run_it, see_inside, try_it
from hookmill.cli.process import INTERRUPTED, heed_sigterm_as_first_process
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.local.errors import BrokerError

app = typer.Typer(
    name="hookmill",
    help="The front door for payment webhooks: it proves who sent each one, keeps it in Apache "
    "Kafka before it says yes, drops what it has seen, puts every provider's dialect into one "
    "language and routes it to handlers and topics.\n\nBegin with `hookmill demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for panel in (try_it, run_it, see_inside, look_after_it):
    app.add_typer(panel.app)


def main() -> None:
    """Run the program; exit status 0 done, 1 failed, 2 wrong usage or configuration, 130 ^C."""
    heed_sigterm_as_first_process()
    try:
        status = app(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except ConfigurationError as error:
        _fail(error, 2)
    except (HookmillError, BrokerError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the option parser
        if show is None:
            raise
        show()
        sys.exit(getattr(error, "exit_code", 2))


def _fail(error: Exception, status: int) -> None:
    err.print(f"hookmill: {error}", markup=False)
    sys.exit(status)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"hookmill {__version__}")
        raise typer.Exit
