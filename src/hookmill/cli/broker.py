"""`hookmill broker`: the local Apache Kafka."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import load_setup
from hookmill.config.options import Configuration
from hookmill.core.errors import ConfigurationError
from hookmill.local.broker import LocalBroker

app = typer.Typer(name="broker", help="The local Apache Kafka (KRaft).", no_args_is_help=True)

Nodes = Annotated[
    int | None, typer.Option(help="1 or 3; default: local.broker_nodes.", show_default=False)
]


def local_broker(config: Configuration, nodes: int | None = None) -> LocalBroker:
    """The broker that the configuration describes."""
    if nodes not in (None, 1, 3):
        raise ConfigurationError("--nodes is 1 or 3")
    local = config.local
    return LocalBroker(Path(local.dir), port=local.broker_port, nodes=nodes or local.broker_nodes)


@app.command()
def start(config: ConfigPath = None, nodes: Nodes = None) -> None:
    """Start it, and wait until it answers; does nothing if it runs."""
    broker = local_broker(load_setup(config).config, nodes)
    typer.echo(broker.start(progress=lambda text: err.print(text, markup=False)))


@app.command()
def stop(config: ConfigPath = None) -> None:
    """Stop it; its data stay."""
    stopped = local_broker(load_setup(config).config).stop()
    err.print("stopped" if stopped else "it was not running")


@app.command()
def status(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Which nodes run, where, and whether they answer. Status 1 if not all do."""
    nodes = local_broker(load_setup(config).config).status()
    if as_json:
        print_json([msgspec.to_builtins(node) for node in nodes])
    elif nodes:
        rows = [(n.node_id, f"{n.host}:{n.port}", n.pid, n.running, n.ready) for n in nodes]
        print_table(("node", "address", "pid", "running", "answers"), rows)
    else:
        err.print("there is no local broker yet: `hookmill broker start` makes one")
    if not nodes or not all(node.ready for node in nodes):
        raise typer.Exit(1)
