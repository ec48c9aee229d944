"""`hookmill bench recovery`: how long a partition stands still when members come and go."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import aiohttp
import typer

from hookmill import pipeline
from hookmill.bench.figures import Figure, Result, Row
from hookmill.bench.recovery import Appended, check, pauses_secs
from hookmill.cli.bench.bed import Bed, Running, bed, tell
from hookmill.cli.bench.posting import post, requests_of
from hookmill.cli.bench.running import Against
from hookmill.cli.bench.running import run as run_bench
from hookmill.cli.options import AsJson
from hookmill.cli.setup import now_us
from hookmill.cli.stage import static_id
from hookmill.core.errors import HookmillError
from hookmill.kafka.leaving import take_out
from hookmill.kafka.reader import reader
from hookmill.local.supervisor import Child
from hookmill.stages import headers

STAGE = pipeline.DEDUP
PARTITIONS = 6
BEFORE_SECS = 2.0
DONE_SECS_MAX = 90.0
STOP_SECS_MAX = 20.0
KILL_SECS_MAX, PAUSE_SECS_MAX = 2.0, 3.0
NAMED, UNNAMED = "stable names", "no names"


def recovery(
    rate: Annotated[float, typer.Option(min=1, help="Deliveries a second.")] = 100.0,
    seconds: Annotated[
        float, typer.Option(min=2, help="How long they come while something happens.")
    ] = 14.0,
    against: Against = None,
    as_json: AsJson = False,
) -> None:
    """How long a partition stands still: a kill, a rolling restart, scale-down, scale-up.

    Two members of the dedup stage work while deliveries come; what happens to them happens once
    with stable names (--instance, static members of the group) and once without. What counts is the
    longest that any record waited, on the worst partition.
    """
    run_bench(lambda: bench(rate, seconds), against=against, as_json=as_json)


@dataclass(slots=True)
class _Group:
    """The members of the stage, and what can happen to them."""

    ground: Bed
    running: Running
    named: bool

    def child(self, number: int) -> Child:
        """The member of that number."""
        options = ["--instance", str(number)] if self.named else []
        child = self.ground.part("stage", STAGE.name, *options)
        return Child(f"{STAGE.name}-{number}", child.arguments)

    async def add(self, number: int) -> None:
        """Start it and wait until the group has taken it in, as a rolling update does."""
        child = self.child(number)
        self.running.supervisor.add(child)
        await self.running.supervisor.until_started(child.name)
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(self.running.private(child.name) + "/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.1)

    async def remove(self, number: int) -> None:
        """Stop it."""
        name = f"{STAGE.name}-{number}"
        await self.running.supervisor.remove(name, timeout_secs=STOP_SECS_MAX)

    async def kill(self) -> None:
        """One dies; its supervisor starts it again."""
        pid = self.running.supervisor.pid(f"{STAGE.name}-0")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def restart_all(self) -> None:
        """One after the other."""
        for number in (0, 1):
            await self.remove(number)
            await self.add(number)

    async def scale_down(self) -> None:
        """One goes for good; of one with a stable name the group is told so."""
        await self.remove(1)
        if self.named:
            setup = self.ground.setup
            group = setup.names.group(STAGE.name)
            if not await take_out(setup.connection(), group, static_id(group, "1") or ""):
                raise HookmillError(f"the member that was stopped is not in {group}")

    async def scale_up(self) -> None:
        """It comes back."""
        await self.add(1)


async def bench(rate: float, seconds: float) -> Result:
    """Everything, with names and without."""
    figures, checks, deliveries = [], [], 0
    async with bed(partitions=PARTITIONS) as ground, ground.running(ground.part("ingress")) as run:
        for named in (True, False):
            group = _Group(ground, run, named)
            for number in (0, 1):
                await group.add(number)
            for seed, (what, happens, at_most) in enumerate(_happenings(group), start=1):
                title = f"{what}, {NAMED if named else UNNAMED}"
                tell(title)
                accepted, read, written = await _watched(
                    ground, happens, rate=rate, seconds=seconds, seed=seed + 10 * named
                )
                longest = max(pauses_secs(read, written).values(), default=0.0)
                figures.append(Figure(name=title, value=longest, unit="s", at_most=at_most))
                checks.append(check(title, accepted, written))
                deliveries += len(accepted)
            await group.scale_down()
            await group.remove(0)
            if named:
                name = ground.setup.names.group(STAGE.name)
                await take_out(ground.setup.connection(), name, static_id(name, "0") or "")
    return Result(
        bench="recovery", unit="deliveries", per=1000, floor=None,
        rows=(Row(name="deliveries", work=deliveries, wall_secs=deliveries / rate, cpu_secs=0.0),),
        checks=tuple(checks), figures=tuple(figures),
        notes=(
            f"the longest that a record waited between {STAGE.reads} and {pipeline.UNIQUE}, on the "
            f"worst of {PARTITIONS} partitions of two members",
        ),
    )  # fmt: skip


def _happenings(
    group: _Group,
) -> list[tuple[str, Callable[[], Awaitable[None]], float | None]]:
    """What happens, in order, and its aim in seconds; a member that nobody knows by name is missed
    only after its session has timed out."""
    return [
        ("kill", group.kill, KILL_SECS_MAX if group.named else None),
        ("rolling restart", group.restart_all, PAUSE_SECS_MAX),
        ("scale-down", group.scale_down, PAUSE_SECS_MAX),
        ("scale-up", group.scale_up, PAUSE_SECS_MAX),
    ]


async def _watched(
    ground: Bed, happens: Callable[[], Awaitable[None]], *, rate: float, seconds: float, seed: int
) -> tuple[list[str], list[Appended], list[Appended]]:
    """Let it happen under load: what was accepted, and its records in the stage's topics."""
    requests = requests_of(ground, int(rate * seconds), rate, seed)
    since_ms = now_us() // 1000
    posting = asyncio.ensure_future(post(ground, rate, requests))
    try:
        await asyncio.sleep(BEFORE_SECS)
        await happens()
        posted = await posting
    finally:
        posting.cancel()
    accepted = [each.delivery for each in posted if each.delivery is not None]
    async with asyncio.timeout(DONE_SECS_MAX):
        while True:
            read = await _appended(ground, STAGE.reads, since_ms)
            written = await _appended(ground, pipeline.UNIQUE, since_ms)
            if set(accepted) <= {each.delivery for each in written}:
                return accepted, read, written
            await asyncio.sleep(0.5)


async def _appended(ground: Bed, topic: str, since_ms: int) -> list[Appended]:
    name = ground.setup.names.topic(topic)
    async with reader(ground.setup.connection()) as source:
        records = await source.read_all(name, await source.since(name, since_ms))
    return [
        Appended(each.header(headers.DELIVERY) or "", each.partition, each.timestamp_ms)
        for each in records
    ]
