"""`hookmill bench ingress`: what a delivery costs from its request to its answer."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.bench.figures import Check, Figure, Result
from hookmill.bench.ingress import Posted, Side, all_kept, posts
from hookmill.bench.load import Outcome, Plan
from hookmill.bench.profile import profiled
from hookmill.cli.bench.bed import Bed, Running, bed, tell
from hookmill.cli.bench.running import Against, Profile, run
from hookmill.cli.options import AsJson
from hookmill.cli.sample import free_ports, targets
from hookmill.cli.setup import now_us
from hookmill.core.errors import HookmillError
from hookmill.kafka.reader import reader
from hookmill.local.simulator import Target
from hookmill.local.supervisor import Child
from hookmill.pipeline import RAW

ENDPOINT = "shop-za"
FLOOR_TOPIC = "floor-raw"
PER = 10_000
ROUNDS = 4
WARM_UP = 2_000
RATIO_MAX = 0.65
CROWD_TIMES_MAX = 1.3
LOAD_SECS_MAX = 120.0


@dataclass
class Stand:
    """A bed with the ingress and the plain program running, and a client for both."""

    bed: Bed
    running: Running
    floor_port: int
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
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hookmill.bench.load", str(asked), str(told),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise HookmillError(f"the load failed: {said.decode(errors='replace')[-300:]}")
        return msgspec.msgpack.decode(told.read_bytes(), type=Outcome)

    async def round(self, side: Side, server: str, count: int, connections: int) -> None:
        """Post so many, and add what they cost to the side."""
        posted = self.posts(count)
        before = self.running.usage(server)
        outcome = await self.load(server, posted, connections=connections)
        after = self.running.usage(server)
        side.add(posted, outcome, after.cpu_secs - before.cpu_secs, after.rss_bytes)


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


def ingress(
    requests: Annotated[
        int, typer.Option(min=ROUNDS, help="Deliveries to each server, for each --connections.")
    ] = 40_000,
    connections: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Connections at once; again for more. Default: 64 and 512."),
    ] = None,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """What a delivery costs from its request to its answer, next to a plain program.

    The plain program is an aiohttp application with an HMAC and one awaited send. Both get the same
    signed deliveries of about 1 KiB from a process of its own, in alternation, and every 200 is
    looked up in Kafka.
    """
    crowds = connections or [64, 512]

    async def work() -> Result:
        async with stand() as standing:
            return await _measure(standing, requests, crowds, profile)

    run(work, against=against, as_json=as_json)


async def _measure(
    standing: Stand, requests: int, crowds: Sequence[int], profile: Path | None
) -> Result:
    sides: dict[tuple[str, int], Side] = {}
    for server in ("floor", "ingress"):
        warm = sides[server, 0] = Side(name=f"{server}, warming up")
        await standing.round(warm, server, min(WARM_UP, requests), crowds[0])
    for crowd in crowds:
        for server, name in (("floor", "plain program"), ("ingress", "ingress")):
            sides[server, crowd] = Side(name=f"{name}, {crowd} connections")
        for number in range(ROUNDS):
            tell(f"{crowd} connections: round {number + 1} of {ROUNDS}")
            for server in ("floor", "ingress"):
                async with profiled(
                    standing.running.pid("ingress"),
                    profile if (server, number) == ("ingress", 1) else None,
                ):
                    await standing.round(sides[server, crowd], server, requests // ROUNDS, crowd)
    return await _result(standing, sides, crowds)


async def _result(
    standing: Stand, sides: dict[tuple[str, int], Side], crowds: Sequence[int]
) -> Result:
    checks = [
        Check(
            "every delivery was answered 200",
            all(len(each.kept) == each.offered for each in sides.values()),
        )
    ]
    names = standing.bed.setup.names
    async with reader(standing.bed.setup.connection()) as reading:
        for server, topic in (("ingress", names.topic(RAW)), ("floor", FLOOR_TOPIC)):
            kept = {
                id: body
                for (name, _), side in sides.items()
                if name == server
                for id, body in side.kept.items()
            }
            found = await reading.read_all(topic, await reading.bounds(topic))
            checks.append(all_kept(topic, kept, found))
    first, *more = crowds
    rows = [sides["ingress", first].row()]
    for crowd in more:
        plain, own = sides["floor", crowd].row(), sides["ingress", crowd].row()
        floor_cpu_secs = plain.cpu_for(own.work)
        rows += [plain, msgspec.structs.replace(own, floor_cpu_secs=floor_cpu_secs)]
    return Result(
        bench="ingress",
        unit="deliveries",
        per=PER,
        floor=sides["floor", first].row(),
        rows=tuple(rows),
        checks=tuple(checks),
        figures=(*_crowding(sides, crowds), _client(sides)),
        at_most=RATIO_MAX,
        aim_of="ratio",
    )


def _crowding(sides: dict[tuple[str, int], Side], crowds: Sequence[int]) -> list[Figure]:
    """How much dearer a delivery is with more connections."""
    first, *more = crowds
    base = sides["ingress", first].row().cpu_for(PER)
    return [
        Figure(
            name=f"CPU of a delivery at {crowd} connections",
            value=sides["ingress", crowd].row().cpu_for(PER) / base,
            unit=f"times that at {first}",
            at_most=CROWD_TIMES_MAX,
        )
        for crowd in more
    ]


def _client(sides: dict[tuple[str, int], Side]) -> Figure:
    """The client must not be what limits: a process that is never at its end is not."""
    measured = [side for (name, crowd), side in sides.items() if name == "ingress" and crowd]
    busy = sum(side.load_cpu_secs for side in measured) / sum(side.wall_secs for side in measured)
    return Figure(name="the client's own CPU", value=100 * busy, unit="% of a core")
