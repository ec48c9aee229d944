"""`hookmill schemas`: the JSON Schemas, written from the code."""

from pathlib import Path
from typing import Annotated

import typer

from hookmill.cli.output import err
from hookmill.config.exports import exports

app = typer.Typer(name="schemas", help="JSON Schemas, from the code.", no_args_is_help=True)


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="The folder in which `schemas/` lies.")] = Path("."),
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; fail if any differs.")
    ] = False,
) -> None:
    """Write `schemas/` from the code, or fail with --check when they differ."""
    files = exports()
    different = [name for name, data in files.items() if _read(to / name) != data]
    if check:
        for name in different:
            err.print(f"{name} differs from the code: run `hookmill schemas export`")
        raise typer.Exit(1 if different else 0)
    for name in different:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(files[name])
        err.print(f"wrote {to / name}")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
