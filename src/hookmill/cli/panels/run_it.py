"""Commands that run for as long as hookmill does: each part, and all of them at once."""

from typing import Annotated

import typer

from hookmill import pipeline
from hookmill.cli import handle as handle_command
from hookmill.cli import ingress as ingress_command
from hookmill.cli import leave
from hookmill.cli import stage as stage_command
from hookmill.cli import up as up_command
from hookmill.cli import workers as workers_command
from hookmill.cli.monitor import command as monitor_command
from hookmill.cli.options import AdminPort, ConfigPath, Instance
from hookmill.cli.process import interruptible, run
from hookmill.cli.setup import load_setup, setup_of
from hookmill.core.errors import ConfigurationError
from hookmill.telemetry import logs

app = typer.Typer()


@app.command("up", rich_help_panel="Run it")
def up(
    config: ConfigPath = None,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="`hookmill monitor` too, on any free port.")
    ] = False,
) -> None:
    """Every process of the configuration, kept running, until Ctrl-C or SIGTERM.

    Without kafka.bootstrap_servers it starts the local broker too. A process that dies is
    started again with growing pauses. Logs go to the folder `logs` in local.dir.
    """
    setup = setup_of(config)
    if not interruptible(up_command.run(setup, config, monitor=monitor)):
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


app.command("monitor", rich_help_panel="Run it")(monitor_command.monitor)


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
    typer.echo(interruptible(leave.run(setup_of(config), part, instance, host)), err=True)
