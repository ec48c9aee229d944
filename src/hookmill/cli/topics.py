"""`hookmill topics`: what the cluster lacks or has otherwise, making it so, or having it made."""

import asyncio
from typing import Annotated

import msgspec
import typer

from hookmill.cli import carry
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, load_setup
from hookmill.core.errors import HookmillError, UnsafeCluster
from hookmill.kafka.strimzi import as_yaml, kafka_topic
from hookmill.kafka.topics import Difference, admin, compare
from hookmill.telemetry import logs

app = typer.Typer(name="topics", help="The topics in the cluster.", no_args_is_help=True)
app.command("carry")(carry.command)


@app.command()
def plan(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """What the cluster lacks or has otherwise. Status 1 if anything differs."""
    setup = load_setup(config)
    logs.configure(setup.config.log)
    differences = asyncio.run(_plan(setup))
    _show(differences, as_json)
    if differences:
        raise typer.Exit(1)


@app.command()
def apply(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Make it so: creates topics, mends settings; deletes none, changes no partition count."""
    setup = load_setup(config)
    logs.configure(setup.config.log)
    _show(asyncio.run(apply_all(setup)), as_json)


@app.command()
def strimzi(
    config: ConfigPath = None,
    cluster: Annotated[
        str, typer.Option(help="Strimzi's Kafka resource that the topics are to be in.")
    ] = "kafka",
    as_json: AsJson = False,
) -> None:
    """The topics as KafkaTopic resources, for clusters that Strimzi's operator looks after.

    It asks no cluster and changes nothing: give what it prints to `kubectl apply -f -`, or keep it
    beside your manifests. `topics apply` is not needed then.
    """
    resources = [kafka_topic(want, cluster) for want in load_setup(config).wanted()]
    if as_json:
        print_json(resources)
    else:
        typer.echo("---\n".join(as_yaml(each) for each in resources), nl=False)


async def apply_all(setup: Setup) -> list[Difference]:
    """Make every topic of the map; returns what was done. Raises UnsafeCluster for the rest."""
    wants = setup.wanted()
    async with admin(setup.connection()) as client:
        found = await client.find(want.name for want in wants)
        differences = compare(wants, found)
        refused = [each for each in differences if each.action == "refuse"]
        if refused:
            raise UnsafeCluster(
                "; ".join(f"{each.topic} {each.what}" for each in refused)
                + ": neither is changed in place. Set kafka.partitions and "
                "kafka.replication_factor to what is there, or move to a new kafka.namespace"
            )
        await client.apply(wants, found)
        left = compare(wants, await client.find(want.name for want in wants))
    if left:
        raise HookmillError(f"the cluster still differs: {left[0].topic} {left[0].what}")
    return differences


async def _plan(setup: Setup) -> list[Difference]:
    wants = setup.wanted()
    async with admin(setup.connection()) as client:
        return compare(wants, await client.find(want.name for want in wants))


def _show(differences: list[Difference], as_json: bool) -> None:
    if as_json:
        print_json([msgspec.to_builtins(each) for each in differences])
    elif differences:
        print_table(("topic", "action", "what"), [(d.topic, d.action, d.what) for d in differences])
    else:
        err.print("every topic is as it must be")
