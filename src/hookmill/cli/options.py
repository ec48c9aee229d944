"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file (or HOOKMILL_CONFIG). Default: hookmill.toml in the current "
        "folder, if it is there.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON on standard output.")]
Instance = Annotated[
    str | None,
    typer.Option(
        help="A stable name: names the state folder and makes a static member of the group. "
        "After a stop its partitions wait for it until the session times out, or `hookmill leave`. "
        "Default: the lowest number that is free on this machine.",
        show_default=False,
    ),
]
AdminPort = Annotated[
    int, typer.Option(help="The private port for /livez, /readyz, /metrics; 0: any free one.")
]
