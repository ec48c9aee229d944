"""Commands to try hookmill with: the demo, the proof, the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from hookmill.cli import bench, demo, send
from hookmill.cli import chaos as chaos_command
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.process import interruptible
from hookmill.cli.setup import setup_of
from hookmill.core.errors import ConfigurationError
from hookmill.local.simulated import Plan

app = typer.Typer()


@app.command("demo", rich_help_panel="Try it")
def demo_command(
    as_json: AsJson = False,
    keep: Annotated[bool, typer.Option(help="Keep the demo's folder (logs, broker).")] = False,
    seed: Annotated[int, typer.Option(help="Another seed, other deliveries.")] = 7,
) -> None:
    """The whole chain on this machine in one go, checked; needs no configuration file.

    Starts a broker, the ingress, three stages and two handlers, each a process of its own; posts
    signed deliveries of every provider, with redeliveries, forgeries, stale timestamps and late
    statuses among them; prints what became of each; stops everything. Fails if anything differs
    from what it must be.
    """
    if not interruptible(demo.run(as_json=as_json, keep=keep, seed=seed)):
        raise typer.Exit(1)


@app.command("chaos", rich_help_panel="Try it")
def chaos(
    seed: Annotated[int, typer.Option(help="The same seed, the same faults and business.")] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.2, help="How long to break things. Default: the short form, half one."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            help="Only these, with commas between; `--faults help` lists them.", show_default=False
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="New events a second, about.")] = 60.0,
    freeze_secs_max: Annotated[
        float, typer.Option(min=1, max=120, help="The longest that a process is stopped.")
    ] = 30.0,
    check: Annotated[
        Path | None,
        typer.Option(help="Run nothing: check a history.json.", show_default=False),
    ] = None,
    keep: Annotated[
        bool, typer.Option(help="Keep the folder; it is kept after a failure.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The proof: break everything while providers post, then check every promise from outside.

    Three brokers, two ingress processes, two members of each stage, the ledger, and a handler that
    forwards to a service which fails now and then run on this machine; what a client was told, what
    lies in Kafka and what was handled is compared at the end. Status 1 if any promise is broken;
    the smallest set of records that shows it is printed.
    """
    wish = chaos_command.Wish(
        seed=seed, minutes=minutes, kinds=chaos_command.kinds_of(faults), rate=rate,
        freeze_secs_max=freeze_secs_max, keep=keep,
    )  # fmt: skip
    if faults and minutes is None:
        raise ConfigurationError("the short form has faults of its own: give --minutes too")
    if check is not None:
        good = chaos_command.check_file(check, as_json=as_json)
    else:
        good = interruptible(chaos_command.chaos(wish, as_json=as_json))
    if not good:
        raise typer.Exit(1)


@app.command("send", rich_help_panel="Try it")
def send_command(
    provider: Annotated[str, typer.Argument(help="a provider pack, see `hookmill providers list`")],
    config: ConfigPath = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Default: the provider's only endpoint.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many events.")] = 10,
    rate: Annotated[float, typer.Option(min=0.01, help="Events a second.")] = 20.0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share sent twice.")] = 0.0,
    forged: Annotated[float, typer.Option(min=0, max=1, help="Share with a wrong secret.")] = 0.0,
    out_of_order: Annotated[
        float, typer.Option(min=0, max=1, help="Share swapped with its successor.")
    ] = 0.0,
    skip: send.Skip = 0.0,
    burst: send.Burst = 1,
    sign_with: send.SignWith = None,
    rotate_to: send.RotateTo = None,
    rotate_after: send.RotateAfter = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same business.")] = 1,
    at: send.At = None,
    url: Annotated[
        str | None, typer.Option(help="Default: the configured ingress.", show_default=False)
    ] = None,
    time_scale: Annotated[
        float, typer.Option(min=0, help="Redelivery waits are multiplied by this.")
    ] = 0.01,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print curl commands instead of posting.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign and post realistic deliveries as that provider would.

    Anything but the provider's success answer is redelivered by the provider's own schedule.
    """
    at_us = send.moment_us(at, print_only=print_only)
    setup = setup_of(config)
    target = send.target(setup, provider, endpoint, url, sign_with)
    second = send.secret_text(setup, target.endpoint, rotate_to) if rotate_to else None
    after = (count // 2 if rotate_after is None else rotate_after) if second else None
    plan = Plan(
        count=count, rate=rate, duplicates=duplicates, forged=forged, out_of_order=out_of_order,
        skip=skip, burst=burst, seed=seed, rotate_after=after,
    )  # fmt: skip
    if print_only:
        send.print_curl(target, plan, second, at_us)
    elif not interruptible(send.run(target, plan, second, time_scale=time_scale, as_json=as_json)):
        raise typer.Exit(1)


app.add_typer(bench.app, rich_help_panel="Try it")
