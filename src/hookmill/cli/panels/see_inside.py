"""Commands that show what is inside: one delivery's way, lags, records."""

from typing import Annotated

import typer

from hookmill.cli import catalog, lag, ledger, tail, trace
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.process import interruptible
from hookmill.cli.setup import setup_of

app = typer.Typer()


@app.command("trace", rich_help_panel="See inside")
def trace_command(
    id: Annotated[str, typer.Argument(help="delivery id, event id, resource id or normalized id")],
    config: ConfigPath = None,
    since: Annotated[str, typer.Option(help="How far to look back: 90s, 30m, 24h, 7d.")] = "24h",
    as_json: AsJson = False,
) -> None:
    """Everything known of one delivery, event or payment: its whole way, with times.

    A delivery id carries its time, so it is found at once; for other ids it looks back as far
    as --since.
    """
    setup = setup_of(config)
    if not interruptible(trace.run(setup, id, since=since, as_json=as_json)):
        raise typer.Exit(1)


@app.command("lag", rich_help_panel="See inside")
def lag_command(
    config: ConfigPath = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="A stage or a handler by name; again for more. Default: all.", show_default=False
        ),
    ] = None,
    partitions: Annotated[bool, typer.Option("--partitions", help="Each partition alone.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """How far each stage and handler is behind, in records and in seconds.

    A group's first row is what it has still to read: how many records, and how long ago the oldest
    of them was appended. A group that is through shows 0 and 0 s. Up to 500 offsets a partition are
    read and counted; of more, markers of transactions count too, and `≤` says so.

    A handler has more rows: events that failed and wait, one for each retry topic, with the time of
    the next attempt; and events parked behind those, because they are of the same subject.

    With --json one value, with --watch too one a line.
    """
    setup = setup_of(config)
    interruptible(lag.run(setup, group or (), partitions=partitions, watch=watch, as_json=as_json))


@app.command("tail", rich_help_panel="See inside")
def tail_command(
    topic: Annotated[str, typer.Argument(help="a topic, with or without the namespace")],
    config: ConfigPath = None,
    from_start: Annotated[bool, typer.Option(help="Begin with the oldest record.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Records of a topic as they come, readable, until Ctrl-C."""
    setup = setup_of(config)
    interruptible(tail.run(setup, topic, from_start=from_start, count=count, as_json=as_json))


app.command("telemetry", rich_help_panel="See inside")(catalog.telemetry)
app.add_typer(ledger.app, rich_help_panel="See inside")
