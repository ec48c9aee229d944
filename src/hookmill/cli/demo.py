"""`hookmill demo`: the whole chain on this machine, in processes of its own, then checked."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from hookmill.cli import trace
from hookmill.cli.demo_report import Report, examine, print_report, settled
from hookmill.cli.output import err, print_json
from hookmill.cli.sample import endpoints, own_environment, targets
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.topics import apply_all
from hookmill.cli.up import children
from hookmill.core.errors import HookmillError
from hookmill.kafka.reader import reader
from hookmill.kafka.topics import admin
from hookmill.local.broker import LocalBroker
from hookmill.local.demo_plan import Played, play
from hookmill.local.ports import free_ports
from hookmill.local.simulator import session
from hookmill.local.supervisor import Supervisor
from hookmill.telemetry import logs

START_SECS_MAX = 60.0
SETTLE_SECS_MAX = 60.0
STOP_SECS_MAX = 30.0
BOOTSTRAP = "HOOKMILL_KAFKA__BOOTSTRAP_SERVERS"

CONFIGURATION = """\
allow_inline_secrets = true

[kafka]
partitions = 3
namespace = "{namespace}"

[local]
dir = "{folder}"
broker_port = {broker_port}

[ingress]
port = {port}
admin_port = 0

{endpoints}
[handlers.ledger]
type = "ledger"

[handlers.log]
type = "log"

[[routes]]
name = "money"
match = {{ type = ["payment.*", "refund.*", "transfer.*"], mode = ["live", "test", "unknown"] }}
handlers = ["ledger"]

[[routes]]
name = "everything"
match = {{ mode = ["live", "test", "unknown"] }}
handlers = ["log"]
"""


async def run(*, as_json: bool, keep: bool, seed: int) -> bool:
    """Run the demo; returns whether everything was as it must be."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="hookmill-demo-"))
    try:
        with own_environment("HOOKMILL_KAFKA__"):
            report = await _in_folder(folder, seed=seed, as_json=as_json)
        if as_json:
            print_json({**msgspec.to_builtins(report), "seconds": time.monotonic() - began})
        else:
            print_report(report, seconds=time.monotonic() - began)
        return report.good
    finally:
        if keep:
            err.print(f"kept: {folder}", markup=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _in_folder(folder: Path, *, seed: int, as_json: bool) -> Report:
    config = folder / "hookmill.toml"
    config.write_text(_configuration(folder))
    setup = load_setup(config)
    logs.configure(setup.config.log, part="demo")
    async with _cluster(setup), _processes(setup, config, folder) as supervisor:
        url = supervisor.addresses["ingress"]["address"]
        err.print(f"posting to {url}/webhooks/…", markup=False)
        async with session() as client:
            played = await play(targets(setup, url), client, seed=seed, now_us=now_us)
        report = await _examined(setup, played, folder)
        if not as_json and (first := _first_event(played)) is not None:
            await trace.run(setup, first, since="1h", as_json=False)
    return report


async def _examined(setup: Setup, played: list[Played], folder: Path) -> Report:
    """Wait until everything went through, then check it from outside, out of Kafka."""
    async with reader(setup.connection()) as source:
        deadline = time.monotonic() + SETTLE_SECS_MAX
        while not await settled(setup, source, played) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        return await examine(setup, source, played, folder)


def _first_event(played: list[Played]) -> str | None:
    """The delivery whose way is shown: of a payment that succeeded."""
    paid = (p for p in played if p.kind == "event" and p.result.becomes == "payment.succeeded")
    return next((p.result.delivery for p in paid), None)


def _configuration(folder: Path) -> str:
    broker_port, port = free_ports(2)
    return CONFIGURATION.format(
        folder=folder,
        broker_port=broker_port,
        port=port,
        namespace=f"demo-{secrets.token_hex(3)}" if BOOTSTRAP in os.environ else "",
        endpoints=endpoints(),
    )


@asynccontextmanager
async def _cluster(setup: Setup) -> AsyncIterator[None]:
    """The local broker, or in a cluster of one's own a namespace that is removed at the end."""
    if setup.config.kafka.bootstrap_servers:
        try:
            await apply_all(setup)
            yield
        finally:
            async with admin(setup.connection()) as client:
                await client.delete(want.name for want in setup.wanted())
        return
    local = setup.config.local
    broker = LocalBroker(Path(local.dir), port=local.broker_port, nodes=1)
    try:
        await asyncio.to_thread(broker.start, progress=lambda text: err.print(text, markup=False))
        await apply_all(setup)
        yield
    finally:
        await asyncio.to_thread(broker.stop)


@asynccontextmanager
async def _processes(setup: Setup, config: Path, folder: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(
        children(setup, config),
        log_dir=folder / "logs",
        environ=os.environ,
        tell=lambda name, line: err.print(f"{name:<16} {line}", markup=False),
    )
    try:
        try:
            await supervisor.start(timeout_secs=START_SECS_MAX)
        except TimeoutError:
            raise HookmillError(supervisor.failed or "not every process came up in time") from None
        yield supervisor
    finally:
        await supervisor.stop(timeout_secs=STOP_SECS_MAX)
