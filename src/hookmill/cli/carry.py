"""`hookmill topics carry`: what dedup and normalize know, for topics with more partitions."""

from pathlib import Path
from typing import Annotated

import typer

from hookmill.cli.lag import groups, measured
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.process import interruptible
from hookmill.cli.setup import Setup, load_setup
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.kafka.carry import Place, carry
from hookmill.kafka.reader import reader
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.telemetry import logs


def command(
    old: Annotated[
        Path,
        typer.Option("--from", help="The configuration that the old processes ran with.",
                     show_default=False),
    ],
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Carry what dedup and normalize know to a new namespace (or cluster), with more partitions.

    A partition count is never changed in place: a subject's later events would go elsewhere, before
    earlier ones. Make a second configuration with another kafka.namespace and a multiple of the
    kafka.partitions, and its topics (`hookmill topics apply`); move the ingress to it, wait until
    the old groups are through (`hookmill lag`), run this, start the new stages and handlers.

    Refuses while an old group still has something before it, and once a new stage has begun.
    """
    new, before = load_setup(config), load_setup(old)
    logs.configure(new.config.log)
    check_counts(before, new)
    counts = interruptible(_run(before, new))
    if as_json:
        print_json(counts)
    else:
        print_table(("topic", "records carried"), list(counts.items()))


def check_counts(before: Setup, new: Setup) -> None:
    """Raise ConfigurationError unless each old partition has its own new ones."""
    old_count, new_count = before.config.kafka.partitions, new.config.kafka.partitions
    if new_count % old_count:
        raise ConfigurationError(
            f"kafka.partitions {new_count} is no multiple of the old {old_count}: an old "
            "partition's subjects would be spread over all new ones"
        )
    same_cluster = before.config.bootstrap_servers == new.config.bootstrap_servers
    if same_cluster and before.names == new.names:
        raise ConfigurationError("both configurations have the same kafka.namespace")


async def _run(before: Setup, new: Setup) -> dict[str, int]:
    await _check_new(new)
    await _check_through(before)
    err.print("carrying; nothing else may start in the new namespace but the ingress")
    return dict(await carry(_place(before), _place(new)))


async def _check_new(new: Setup) -> None:
    """Raise where the topics are not as they must be, or a stage has already begun."""
    wants = new.wanted()
    async with admin(new.connection()) as client:
        found = await client.find(each.name for each in wants)
    check_present([each.name for each in wants], found)
    check_safety(wants, found)
    async with reader(new.connection()) as source:
        begun = [group for group in (new.names.group(each.part) for each in groups(new))
                 if await source.committed(group)]  # fmt: skip
    if begun:
        raise HookmillError(
            f"{', '.join(begun)} began before anything was carried: what these did without the "
            "old state cannot be undone; go on with them, or take another namespace"
        )


async def _check_through(before: Setup) -> None:
    """Raise while an old group has records before it, or events that wait in a retry."""
    behind = []
    for each in await measured(before):
        waiting = sum(retry.events for retry in each.retries)
        if each.records or waiting:
            behind.append(f"{each.group} ({each.records} records, {waiting} wait for a retry)")
    if behind:
        raise HookmillError(
            f"not through yet: {', '.join(behind)}; leave the old processes running until "
            "`hookmill lag` shows 0 everywhere"
        )


def _place(setup: Setup) -> Place:
    return Place(setup.connection(), setup.names, setup.config.kafka.partitions)
