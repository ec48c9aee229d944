"""Every command and its options. What a command does is in the module of its name."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hookmill import __version__, pipeline
from hookmill.cli import bench as bench_commands
from hookmill.cli import broker as broker_commands
from hookmill.cli import chaos as chaos_command
from hookmill.cli import (
    configuration,
    demo,
    dlq,
    lag,
    leave,
    ledger,
    providers,
    schemas,
    send,
    tail,
    topics,
    trace,
)
from hookmill.cli import handle as handle_command
from hookmill.cli import ingress as ingress_command
from hookmill.cli import routes as route_commands
from hookmill.cli import stage as stage_command
from hookmill.cli import up as up_command
from hookmill.cli import workers as workers_command
from hookmill.cli.options import AdminPort, AsJson, ConfigPath, Instance
from hookmill.cli.output import err
from hookmill.cli.process import INTERRUPTED, interruptible, run
from hookmill.cli.setup import Setup, load_setup
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.local.errors import BrokerError
from hookmill.local.simulated import Plan
from hookmill.telemetry import logs

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


def main() -> None:
    """Run the program; exit status 0 done, 1 failed, 2 wrong usage or configuration, 130 ^C."""
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


def _setup(config: Path | None) -> Setup:
    setup = load_setup(config)
    logs.configure(setup.config.log)
    return setup


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"hookmill {__version__}")
        raise typer.Exit


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

    Three brokers, two ingress processes, two members of each stage and the ledger run on this
    machine; what a client was told and what lies in Kafka is compared at the end. Status 1 if any
    promise is broken; the smallest set of records that shows it is printed.
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


@app.command("up", rich_help_panel="Run it")
def up(config: ConfigPath = None) -> None:
    """Every process of the configuration, kept running, until Ctrl-C or SIGTERM.

    Without kafka.bootstrap_servers it starts the local broker too. A process that dies is
    started again with growing pauses. Logs go to the folder `logs` in local.dir.
    """
    setup = _setup(config)
    if not interruptible(up_command.run(setup, config)):
        raise typer.Exit(1)


@app.command("ingress", rich_help_panel="Run it")
def ingress(
    config: ConfigPath = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that share the port.")
    ] = None,
    worker_of: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """The HTTP front: POST /webhooks/{endpoint}."""
    setup = load_setup(config)
    logs.configure(setup.config.log, part="ingress")
    count = workers or setup.config.ingress.workers
    if worker_of is not None:
        run(lambda stopping: workers_command.serve_one(setup, stopping))
    elif count == 1:
        run(lambda stopping: ingress_command.serve(setup, stopping))
    else:
        run(lambda stopping: workers_command.serve_all(setup, config, count, stopping))


@app.command("stage", rich_help_panel="Run it")
def stage(
    name: Annotated[str, typer.Argument(help="dedup, normalize or route")],
    config: ConfigPath = None,
    instance: Instance = None,
    admin_port: AdminPort = 0,
) -> None:
    """One member of a stage's consumer group. Start it as often as there is work for."""
    found = pipeline.STAGES.get(name)
    if found is None:
        raise ConfigurationError(f"no stage is called '{name}': dedup, normalize or route")
    setup = load_setup(config)
    logs.configure(setup.config.log, part=name, instance=instance)
    run(
        lambda stopping: stage_command.serve(
            setup, found, stopping, instance=instance, admin_port=admin_port
        )
    )


@app.command("handle", rich_help_panel="Run it")
def handle(
    name: Annotated[str, typer.Argument(help="a handler of the configuration")],
    config: ConfigPath = None,
    instance: Instance = None,
    admin_port: AdminPort = 0,
) -> None:
    """One member of a handler's consumer group."""
    setup = load_setup(config)
    logs.configure(setup.config.log, part=f"handler-{name}", instance=instance)
    run(
        lambda stopping: handle_command.serve(
            setup, name, stopping, instance=instance, admin_port=admin_port
        )
    )


@app.command("leave", rich_help_panel="Run it")
def leave_command(
    part: Annotated[str, typer.Argument(help="a stage or a handler by name")],
    instance: Annotated[str, typer.Option(help="The --instance of the member that was stopped.")],
    host: Annotated[
        str | None,
        typer.Option(help="The host it ran on. Default: this machine's.", show_default=False),
    ] = None,
    config: ConfigPath = None,
) -> None:
    """After a scale-down: a stopped member with a stable name will not return.

    SIGTERM leaves a member with --instance in its group, so that a restart moves no partition: they
    wait for it until kafka.session_timeout_secs have passed. This gives them to the others at once.
    A member without --instance leaves by itself when it is stopped.
    """
    typer.echo(interruptible(leave.run(_setup(config), part, instance, host)), err=True)


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
    setup = _setup(config)
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
    setup = _setup(config)
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
    setup = _setup(config)
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
    setup = _setup(config)
    interruptible(tail.run(setup, topic, from_start=from_start, count=count, as_json=as_json))


app.add_typer(ledger.app, rich_help_panel="See inside")
app.add_typer(bench_commands.app, rich_help_panel="Try it")
for group in (
    broker_commands.app,
    topics.app,
    dlq.app,
    providers.app,
    route_commands.app,
    configuration.app,
    schemas.app,
):
    app.add_typer(group, rich_help_panel="Look after it")
