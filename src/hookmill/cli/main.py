"""Runs the program: its commands, panel by panel, and its exit status."""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from hookmill import __version__
from hookmill.cli.output import err
from hookmill.cli.process import INTERRUPTED, heed_sigterm_as_first_process
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.local.errors import BrokerError

PANELS = ("try_it", "run_it", "see_inside", "look_after_it")
PARTS = ("ingress", "stage", "handle")
"""Processes that run by the dozen and come back when they were killed: for them nothing is imported
but their own panel, a third less CPU for a start and 10 MB less memory."""


def application(command: str = "") -> typer.Typer:
    """The program with all its commands, or with those of the panel of one of PARTS."""
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
    app.callback(invoke_without_command=True)(_version)
    for panel in ("run_it",) if command in PARTS else PANELS:
        app.add_typer(import_module(f"hookmill.cli.panels.{panel}").app)
    return app


def main() -> None:
    """Run the program; exit status 0 done, 1 failed, 2 wrong usage or configuration, 130 ^C."""
    heed_sigterm_as_first_process()
    try:
        status = application(*sys.argv[1:2])(standalone_mode=False)
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


def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"hookmill {__version__}")
        raise typer.Exit
