"""The command itself and its options."""

from typing import Annotated

import typer

from hookmill.cli.monitor.rounds import INTERVAL_SECS, serve
from hookmill.cli.options import AdminPort, ConfigPath
from hookmill.cli.process import run
from hookmill.cli.setup import load_setup
from hookmill.telemetry import logs


def monitor(
    config: ConfigPath = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds between two rounds.")
    ] = INTERVAL_SECS,
    admin_port: AdminPort = 0,
) -> None:
    """Watches the groups and the topics from outside, for Prometheus; it only reads.

    What no process can say of itself once it is dead: how far each group is behind, in records and
    in seconds, how many members it has, whether topics lack replicas or leaders, how many dead
    letters are open. One is enough for a cluster; another does no harm.

    In each round it reads at most 100 offsets of a partition for each group from the first record
    on, however long its lag (more are counted by their offsets), and 5,000 of the dead letters:
    after its start these appear once all were read. While the cluster is away it tries again in
    each round: hookmill_monitor_last_success_timestamp_seconds then stands still, and /readyz says
    why.
    """
    setup = load_setup(config)
    logs.configure(setup.config.log, part="monitor")
    run(lambda stopping: serve(setup, stopping, interval_secs=interval, admin_port=admin_port))
