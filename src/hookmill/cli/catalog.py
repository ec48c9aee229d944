"""`hookmill telemetry`: every metric and every log event that there is."""

import sys
from typing import Annotated

import msgspec
import typer

from hookmill.cli.options import AsJson
from hookmill.cli.output import print_json, print_table
from hookmill.telemetry import page


def telemetry(
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The tables of docs/TELEMETRY.md.")
    ] = False,
) -> None:
    """Every metric and every log event there is, with its meaning; needs no configuration."""
    if markdown:
        sys.stdout.write(page.markdown())
        return
    metrics, events = page.metrics(), page.events()
    if as_json:
        told = {"metrics": metrics, "labels": page.LABELS, "events": events}
        print_json(msgspec.to_builtins(told))
        return
    print_table(
        ("metric", "type", "labels", "what it says"),
        [(each.name, each.type, ", ".join(each.labels), each.meaning) for each in metrics],
    )
    print_table(
        ("log event", "level", "what it says"),
        [(each.name, each.level, each.meaning) for each in events],
    )
