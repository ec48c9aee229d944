"""The ingress and the plain program side by side on one bed, and a client for both."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from hookmill.bench import wrk
from hookmill.bench.ingress import Posted, Side, posts
from hookmill.bench.load import Outcome, Plan
from hookmill.cli.bench.bed import Bed, Running, bed
from hookmill.cli.sample import targets
from hookmill.cli.setup import now_us
from hookmill.core.errors import HookmillError
from hookmill.local.ports import free_ports
from hookmill.local.simulator import Target
from hookmill.local.supervisor import Child

ENDPOINT = "shop-za"
FLOOR_TOPIC = "floor-raw"


@dataclass
class Stand:
    """A bed with the ingress and the plain program running, and a client for both."""

    bed: Bed
    running: Running
    floor_port: int
    accepted: set[str] = field(default_factory=set)
    """The ids of the deliveries that the ingress said are kept."""
    _seed: int = field(default=0)

    @property
    def target(self) -> Target:
        """The endpoint that is posted to."""
        return targets(self.bed.setup, self.bed.url)[ENDPOINT]

    def posts(self, count: int) -> list[Posted]:
        """Deliveries that were never posted before, signed now."""
        self._seed += 1
        return posts(self.target, count, seed=self._seed, at_us=now_us())

    def port(self, name: str) -> int:
        """Where that server serves."""
        return self.floor_port if name == "floor" else self.bed.setup.config.ingress.port

    async def load(
        self, name: str, posted: Sequence[Posted], *, connections: int, rate: float | None = None,
        hold_secs: float = 0.0,
    ) -> Outcome:  # fmt: skip
        """Post them to that server from a process of its own."""
        plan = Plan(
            host="127.0.0.1",
            port=self.port(name),
            connections=connections,
            requests=[each.wire for each in posted],
            rate=rate,
            hold_secs=hold_secs,
        )
        asked, told = self.bed.folder / "load.plan", self.bed.folder / "load.outcome"
        asked.write_bytes(msgspec.msgpack.encode(plan))
        await _run([sys.executable, "-m", "hookmill.bench.load", str(asked), str(told)])
        outcome = msgspec.msgpack.decode(told.read_bytes(), type=Outcome)
        if name == "ingress":
            self.accepted.update(each.delivery for each in outcome.answers if each.status == 200)
        return outcome

    async def load_by_wrk(
        self, program: str, name: str, posted: Sequence[Posted], *, connections: int, secs: int
    ) -> wrk.Told:
        """Post them to that server, again and again for so long, by wrk."""
        command = wrk.command(
            program, f"http://127.0.0.1:{self.port(name)}/", [each.wire for each in posted],
            connections=connections, secs=secs, folder=self.bed.folder,
        )  # fmt: skip
        told = wrk.told(await _run(command), self.bed.folder)
        if name == "ingress":
            self.accepted.update(told.deliveries)
        return told

    async def round(self, side: Side, server: str, count: int, connections: int) -> None:
        """Post so many, and add what they cost to the side."""
        posted = self.posts(count)
        before = self.running.usage(server)
        outcome = await self.load(server, posted, connections=connections)
        after = self.running.usage(server)
        side.add(posted, outcome, after.cpu_secs - before.cpu_secs, after.rss_bytes)


async def _run(command: Sequence[str]) -> str:
    """What the program says; raises HookmillError when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        said, failed = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise HookmillError(f"the load failed: {failed.decode(errors='replace')[-300:]}")
    return said.decode(errors="replace")


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """Broker, ingress and plain program, warm."""
    async with bed() as lain:
        [port] = free_ports(1)
        config = lain.setup.config.kafka
        key = targets(lain.setup, lain.url)[ENDPOINT]
        secret = key.pack.key(key.secret, key.options)
        floor = Child(
            "floor",
            [sys.executable, "-m", "hookmill.bench.floor_ingress", lain.servers, FLOOR_TOPIC,
             str(config.partitions), str(port)],
            {"FLOOR_KEY": base64.b64encode(secret).decode()},
        )  # fmt: skip
        async with lain.running(lain.part("ingress"), floor) as running:
            yield Stand(lain, running, port)
