"""The command line: one program, `hookmill`, and what each command needs of the rest."""

from hookmill.cli.main import main

__all__ = ["main"]
