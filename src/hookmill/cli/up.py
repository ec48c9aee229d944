"""`hookmill up`: every process of the configuration, kept running."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hookmill.cli.broker import local_broker
from hookmill.cli.output import err
from hookmill.cli.process import until
from hookmill.cli.setup import Setup
from hookmill.cli.topics import apply_all
from hookmill.local.broker import LocalBroker
from hookmill.local.errors import BrokerError
from hookmill.local.supervisor import Child, Supervisor
from hookmill.pipeline import STAGES

START_TIMEOUT_SECS = 60.0
BROKER_CHECK_SECS = 2.0
BROKER_PAUSE_SECS_FIRST = 0.5
BROKER_PAUSE_SECS_MAX = 30.0


async def run(setup: Setup, config: Path | None, *, monitor: bool = False) -> bool:
    """Run until SIGINT or SIGTERM; False if something could not be started."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    for endpoint in setup.endpoints.values():
        setup.secrets(endpoint)  # a secret that is missing is told before anything starts
    broker = None if setup.config.kafka.bootstrap_servers else local_broker(setup.config)
    ours = broker is not None and not any(node.running for node in broker.status())
    try:
        if broker is not None:
            servers = await asyncio.to_thread(broker.start, progress=_tell_broker)
            _tell("broker", servers)
        await apply_all(setup)
        watching = asyncio.ensure_future(_keep_broker(broker, stopping)) if broker else None
        try:
            return await _keep(setup, children(setup, config, monitor=monitor), stopping)
        finally:
            if watching is not None:
                watching.cancel()
    finally:
        if broker is not None and ours:
            await asyncio.to_thread(broker.stop)
            _tell("broker", "stopped")


async def _keep_broker(broker: LocalBroker, stopping: asyncio.Event) -> None:
    """Start the local broker again when it dies, after a growing pause, and say so."""
    pause_secs = BROKER_PAUSE_SECS_FIRST
    while not await until(stopping, BROKER_CHECK_SECS):
        nodes = await asyncio.to_thread(broker.status)
        if all(node.running for node in nodes):
            continue
        _tell("broker", f"died; again in {pause_secs:g} s")
        if await until(stopping, pause_secs):
            return
        pause_secs = min(BROKER_PAUSE_SECS_MAX, pause_secs * 2)
        try:
            servers = await asyncio.to_thread(broker.start, progress=_tell_broker)
            _tell("broker", servers)
        except BrokerError as error:
            _tell("broker", str(error))


async def _keep(setup: Setup, kept: Sequence[Child], stopping: asyncio.Event) -> bool:
    supervisor = Supervisor(
        kept,
        log_dir=Path(setup.config.local.dir) / "logs",
        environ=os.environ,
        tell=_tell,
    )
    asked = asyncio.ensure_future(stopping.wait())
    starting = asyncio.ensure_future(supervisor.start(timeout_secs=START_TIMEOUT_SECS))
    try:
        while not stopping.is_set() and supervisor.failed is None:
            await asyncio.wait({asked, starting}, timeout=0.5, return_when="FIRST_COMPLETED")
            if starting.done() and starting.exception() is not None:
                told = str(starting.exception()) or "not every process came up; see the logs"
                err.print(f"hookmill: {told}", markup=False)
                return False
            if starting.done():
                await asyncio.wait({asked}, timeout=0.5)
    finally:
        starting.cancel()
        asked.cancel()
        _tell("up", "draining")
        await supervisor.stop(timeout_secs=setup.config.ingress.drain_timeout_secs + 10)
        _tell("up", "stopped")
    if supervisor.failed is not None:
        err.print(f"hookmill: {supervisor.failed}", markup=False)
    return supervisor.failed is None


def children(setup: Setup, config: Path | None, *, monitor: bool = False) -> list[Child]:
    """The processes in the order in which they are to end: the door first, then downstream."""
    options = ["--config", str(config)] if config is not None else []
    program = [sys.executable, "-m", "hookmill"]
    found = []
    if setup.endpoints:
        found.append(Child("ingress", [*program, "ingress", *options]))
    for name in STAGES:
        command = [*program, "stage", name, *options, "--instance", "up-0"]
        found.append(Child(name, command))
    for name in setup.config.handlers:
        command = [*program, "handle", name, *options, "--instance", "up-0"]
        found.append(Child(f"handler-{name}", command))
    if monitor:
        found.append(Child("monitor", [*program, "monitor", *options]))
    return found


def _tell(name: str, line: str) -> None:
    err.print(f"{name:<20} {line}", markup=False)


def _tell_broker(line: str) -> None:
    _tell("broker", line)
