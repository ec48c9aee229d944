"""What a benchmark stands on: a broker of its own, a configuration, and hookmill's processes."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hookmill.bench.usage import Usage, usage
from hookmill.cli.output import err
from hookmill.cli.sample import endpoints, own_environment
from hookmill.cli.setup import Setup, load_setup
from hookmill.cli.topics import apply_all
from hookmill.core.errors import HookmillError
from hookmill.local.broker import LocalBroker
from hookmill.local.ports import free_ports
from hookmill.local.supervisor import Child, Supervisor
from hookmill.telemetry import logs

START_SECS_MAX = 60.0
STOP_SECS_MAX = 20.0

CONFIGURATION = """\
allow_inline_secrets = true

[kafka]
bootstrap_servers = ["127.0.0.1:{broker}"]
partitions = {partitions}

[local]
dir = "{folder}"

[ingress]
port = {port}
admin_port = 0

{endpoints}
[handlers.log]
type = "{handler}"

[[routes]]
name = "everything"
match = {{ mode = ["live", "test", "unknown"] }}
handlers = ["log"]
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """A running broker with hookmill's topics; processes are started on it as they are needed."""

    folder: Path
    config: Path
    setup: Setup
    broker: LocalBroker

    @property
    def servers(self) -> str:
        """The broker's addresses, with commas between."""
        return ",".join(self.broker.bootstrap_servers)

    @property
    def url(self) -> str:
        """Where the ingress serves, once it is started."""
        return f"http://127.0.0.1:{self.setup.config.ingress.port}"

    def part(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Child:
        """A process `hookmill …` with the bed's configuration, called by its arguments."""
        command = [sys.executable, "-m", "hookmill", *arguments, "--config", str(self.config)]
        return Child("-".join(arguments).replace("---", "-"), command, environ or {})

    @asynccontextmanager
    async def running(self, *children: Child) -> AsyncIterator["Running"]:
        """Start them, wait until each says that it works, stop them at the end.

        Raises HookmillError for one that does not come to work in time.
        """
        supervisor = Supervisor(
            children, log_dir=self.folder / "logs", environ=os.environ, tell=lambda *_: None
        )
        try:
            await supervisor.start(timeout_secs=START_SECS_MAX)
            yield Running(supervisor)
        except TimeoutError:
            raise HookmillError(
                f"a process did not start within {START_SECS_MAX:g} s; see {self.folder / 'logs'}"
            ) from None
        finally:
            await supervisor.stop(timeout_secs=STOP_SECS_MAX)


@dataclass(frozen=True, slots=True)
class Running:
    """Processes of a bed while they run."""

    supervisor: Supervisor

    def usage(self, name: str) -> Usage:
        """What that process has used up to now. Raises HookmillError if it does not run."""
        return usage(self.pid(name))

    def pid(self, name: str) -> int:
        """That process's id. Raises HookmillError if it does not run."""
        pid = self.supervisor.pid(name)
        if pid is None:
            raise HookmillError(f"{name} does not run any more")
        return pid

    def private(self, name: str) -> str:
        """The address of its private port."""
        return self.supervisor.addresses[name]["private"]


@asynccontextmanager
async def bed(
    *, partitions: int = 6, handler: str = "log", keep: bool = False
) -> AsyncIterator[Bed]:
    """A broker and a configuration in a folder of their own, gone at the end unless kept.

    `handler` is the type of the one handler; the route table gives it everything.
    """
    folder = Path(tempfile.mkdtemp(prefix="hookmill-bench-"))
    port, ingress = free_ports(2)
    broker = LocalBroker(folder, port=port, nodes=1)
    try:
        with own_environment():
            await asyncio.to_thread(broker.start, progress=tell)
            config = folder / "hookmill.toml"
            config.write_text(
                CONFIGURATION.format(
                    broker=port,
                    partitions=partitions,
                    folder=folder,
                    port=ingress,
                    handler=handler,
                    endpoints=endpoints(),
                )
            )
            setup = load_setup(config)
            logs.configure(setup.config.log, part="bench")
            await apply_all(setup)
            yield Bed(folder, config, setup, broker)
    finally:
        await asyncio.to_thread(broker.stop, timeout_secs=10.0)
        if keep:
            tell(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def tell(line: str) -> None:
    """Say how far it is."""
    err.print(line, markup=False)
