"""`hookmill bench ingress`: what a delivery costs from its request to its answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.bench import wrk
from hookmill.bench.figures import Check, Figure, Result
from hookmill.bench.ingress import Side, all_kept
from hookmill.bench.profile import profiled
from hookmill.cli.bench import trials
from hookmill.cli.bench.bed import tell
from hookmill.cli.bench.running import Against, Profile, run
from hookmill.cli.bench.stand import FLOOR_TOPIC, Stand, stand
from hookmill.cli.options import AsJson
from hookmill.kafka.reader import reader
from hookmill.pipeline import RAW
from hookmill.stages import headers

PER = 10_000
ROUNDS = 8
WARM_UP = 2_000
RATIO_MAX = 0.65
CROWD_TIMES_MAX = 1.3


def ingress(
    requests: Annotated[
        int, typer.Option(min=ROUNDS, help="Deliveries to each server, for each --connections.")
    ] = 40_000,
    connections: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Connections at once; again for more. Default: 64 and 512."),
    ] = None,
    soak_secs: Annotated[
        int, typer.Option(min=0, help="Then steady load for so long: does memory grow?")
    ] = 0,
    idle: Annotated[
        int, typer.Option(min=0, help="Then so many connections at rest: what do they hold?")
    ] = 0,
    overload: Annotated[
        bool, typer.Option("--overload", help="Then three times what it can take.")
    ] = False,
    outage: Annotated[
        bool, typer.Option("--outage", help="Then the broker is killed and started again.")
    ] = False,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """What a delivery costs from its request to its answer, next to a plain program.

    The plain program is an aiohttp application with an HMAC and one awaited send. Both get the same
    signed deliveries of about 1 KiB from a process of its own, in alternation, and every 200 is
    looked up in Kafka. Where wrk is installed, it is the client of a few rounds more.
    """
    crowds = connections or [64, 512]

    async def work() -> Result:
        async with stand() as standing:
            result = await _measure(standing, requests, crowds, profile)
            figures, notes = list(result.figures), list(result.notes)
            if program := wrk.program():
                figures += await trials.by_wrk(standing, program, crowds[0])
            else:
                notes.append("wrk is not installed: all load came from hookmill's own client")
            if idle:
                figures += await trials.idle(standing, idle)
            if soak_secs:
                figures += await trials.soak(standing, soak_secs)
            if overload:
                figures += await trials.overload(standing)
            if outage:
                figures += await trials.outage(standing)
            checks = (*result.checks, await _nothing_lost(standing))
            return msgspec.structs.replace(
                result, figures=tuple(figures), checks=checks, notes=tuple(notes)
            )

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


async def _nothing_lost(standing: Stand) -> Check:
    """Of whatever was tried: overload and outages too."""
    topic = standing.bed.setup.names.topic(RAW)
    lost = set(standing.accepted)
    async with reader(standing.bed.setup.connection()) as reading:
        async for records in reading.read(topic, await reading.bounds(topic)):
            lost.difference_update([each.header(headers.DELIVERY) for each in records])
    count = f"{len(standing.accepted):,}"
    return Check(f"each of {count} deliveries answered 200, in every trial, is in {topic}",
                 not lost)  # fmt: skip


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
