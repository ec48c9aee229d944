"""`hookmill bench chain`: from the provider's request to the handler, with every part running."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from hookmill import pipeline
from hookmill.bench import chain as judge
from hookmill.bench import noting
from hookmill.bench.chain import Run
from hookmill.bench.figures import Figure, Result, Row
from hookmill.bench.profile import profiled
from hookmill.bench.usage import Usage, usage
from hookmill.cli.bench.bed import Bed, Running, bed, tell
from hookmill.cli.bench.posting import post, requests_of
from hookmill.cli.bench.running import Against, Profile
from hookmill.cli.bench.running import run as run_bench
from hookmill.cli.options import AsJson
from hookmill.cli.setup import now_us
from hookmill.kafka.reader import Reader, reader
from hookmill.local.supervisor import Child
from hookmill.stages import headers

HANDLER = "log"
P50_MS_MAX, P99_MS_MAX = 60.0, 250.0
PER = 10_000
IDLE_PER_SEC, IDLE_SECS = 5.0, 4.0
DONE_SECS_MAX = 60.0
WRITTEN_BY = {
    "ingress": pipeline.RAW,
    "dedup": pipeline.UNIQUE,
    "normalize": pipeline.NORMALIZED,
    "route": pipeline.HandlerTopics(HANDLER).queue,
}
_TRANSACTIONS = re.compile(r"^hookmill_transaction_seconds_(count|sum)\{.*\} (\S+)$", re.M)


def chain(
    rate: Annotated[float, typer.Option(min=1, help="Deliveries a second.")] = 500.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long they come.")] = 30.0,
    warm_up: Annotated[float, typer.Option(min=0, help="How long before that, in seconds.")] = 10.0,
    partitions: Annotated[
        int, typer.Option(min=1, help="Of every topic; each has transactions of its own.")
    ] = 2,
    part: Annotated[
        str, typer.Option(help="What --profile looks at: ingress, dedup, normalize, route, handler")
    ] = "dedup",
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """From the provider's request to the handler: how long, and in which part.

    The ingress, the three stages and a handler run as in production, each a process, every stage
    exactly once. A loader posts signed deliveries of the seed providers on a fixed schedule,
    whatever becomes of those before, and each counts from when it was due. A few are sent to the
    idle chain first: those must not wait for company.
    """
    wish = Wish(rate, seconds, warm_up, partitions, part, profile)
    run_bench(lambda: bench(wish), against=against, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run."""

    rate: float
    seconds: float
    warm_up: float
    partitions: int
    part: str
    profile: Path | None


async def bench(wish: Wish) -> Result:
    """Run it on a bed of its own."""
    async with bed(partitions=wish.partitions, handler="hookmill.bench.noting:note") as ground:
        parts = parts_of(ground)
        async with ground.running(*parts.values()) as running:
            return await _measured(wish, ground, running, parts)


def parts_of(ground: Bed) -> dict[str, Child]:
    """The chain's processes, in flow order."""
    notes = {noting.TO: str(ground.folder / "notes")}
    stages = {each: ground.part("stage", each, "--instance", "0") for each in pipeline.STAGES}
    handler = ground.part("handle", HANDLER, "--instance", "0", environ=notes)
    return {"ingress": ground.part("ingress"), **stages, "handler": handler}


async def _measured(
    wish: Wish, ground: Bed, running: Running, parts: Mapping[str, Child]
) -> Result:
    tell(f"warming up for {wish.warm_up:g} s")
    await play(ground, rate=wish.rate, seconds=wish.warm_up, seed=1)
    tell(f"idle: {IDLE_PER_SEC:g} a second for {IDLE_SECS:g} s")
    idle = await play(ground, rate=IDLE_PER_SEC, seconds=IDLE_SECS, seed=2)
    tell(f"loaded: {wish.rate:g} a second for {wish.seconds:g} s")
    before, committed = _used(ground, running, parts), await _committed(running, parts)
    pid = running.supervisor.pid(parts[wish.part].name) or 0
    async with profiled(pid, wish.profile):
        loaded = await play(ground, rate=wish.rate, seconds=wish.seconds, seed=3)
    after, transactions = _used(ground, running, parts), await _committed(running, parts)
    between = {each: transactions[each] - committed[each] for each in pipeline.STAGES}
    return result(wish, idle, loaded, before, after, between)


def result(
    wish: Wish,
    idle: Run,
    loaded: Run,
    before: Mapping[str, Usage],
    after: Mapping[str, Usage],
    transactions: Mapping[str, Counter[str]],
) -> Result:
    """The table: the whole chain, and each part of it."""
    took = {**judge.by_part(loaded), "whole chain": judge.total(loaded)}
    wall_secs = len(loaded.posted) / wish.rate
    cpu_secs = {each: after[each].cpu_secs - before[each].cpu_secs for each in after}
    cpu_secs["whole chain"] = sum(cpu_secs[each] for each in judge.PARTS)
    rows = tuple(
        Row(
            name=name,
            work=len(loaded.accepted),
            wall_secs=wall_secs,
            cpu_secs=cpu_secs[name],
            latency=took.get(name),
            rss_bytes=after[name].rss_bytes if name in after else None,
        )
        for name in ("whole chain", *judge.PARTS, "broker")
    )
    whole, alone = took["whole chain"], judge.total(idle)
    late = judge.late_sends(loaded)
    return Result(
        bench="chain",
        unit="deliveries",
        per=PER,
        floor=None,
        rows=rows,
        checks=(*judge.checks(loaded), *judge.checks(idle)),
        figures=(
            Figure(name="p50, request to handler", value=whole.p50_ms, unit="ms",
                   at_most=P50_MS_MAX),
            Figure(name="p99, request to handler", value=whole.p99_ms, unit="ms",
                   at_most=P99_MS_MAX),
            Figure(name="p50 of an idle chain", value=alone.p50_ms, unit="ms"),
            Figure(name="p99, request to answer", value=judge.answered(loaded).p99_ms, unit="ms"),
            *(figure for stage, each in transactions.items()
              for figure in _of_transactions(stage, len(loaded.accepted), each)),
        ),
        notes=(
            f"{wish.rate:g} deliveries a second on {wish.partitions} partitions; the loader itself "
            f"was late by {late.p99_ms:.1f} ms (p99)",
            "a part's time includes the wait for the commit of the part before it",
        ),
    )  # fmt: skip


async def play(ground: Bed, *, rate: float, seconds: float, seed: int) -> Run:
    """Post so much, wait until the handler had it, and gather what the broker knows of it."""
    noted = ground.folder / "notes"
    earlier, began_us = len(noting.notes(noted)), now_us()
    requests = requests_of(ground, max(1, int(rate * seconds)), rate, seed)
    posted = await post(ground, rate, requests)
    wanted = sum(each.delivery is not None for each in posted)
    async with asyncio.timeout(DONE_SECS_MAX):
        while len(handled := noting.notes(noted)[earlier:]) < wanted:
            await asyncio.sleep(0.2)
    async with reader(ground.setup.connection()) as source:
        appended = {
            part: await _appended(source, ground.setup.names.topic(topic), began_us // 1000)
            for part, topic in WRITTEN_BY.items()
        }
    clock_us = now_us() - time.monotonic_ns() // 1000
    return Run(posted, handled, appended, clock_us)


async def _appended(source: Reader, topic: str, since_ms: int) -> list[tuple[str, int]]:
    """Delivery and append time of the topic's records since then."""
    ranges = await source.since(topic, since_ms)
    return [
        (record.header(headers.DELIVERY) or "", record.timestamp_ms)
        async for records in source.read(topic, ranges)
        for record in records
    ]


def _of_transactions(stage: str, records: int, took: Counter[str]) -> tuple[Figure, Figure]:
    """How large a stage's transactions were, and how long one took."""
    count = max(1, took["count"])
    return (
        Figure(name=f"{stage}: a transaction", value=records / count, unit="records"),
        Figure(name=f"{stage}: a transaction", value=1000 * took["sum"] / count, unit="ms"),
    )


async def _committed(running: Running, parts: Mapping[str, Child]) -> dict[str, Counter[str]]:
    """How many transactions each stage has committed (`count`), in how many seconds (`sum`)."""
    found = {}
    async with aiohttp.ClientSession() as session:
        for stage in pipeline.STAGES:
            async with session.get(running.private(parts[stage].name) + "/metrics") as page:
                told = _TRANSACTIONS.findall(await page.text())
            found[stage] = Counter({name: float(value) for name, value in told})
    return found


def _used(ground: Bed, running: Running, parts: Mapping[str, Child]) -> dict[str, Usage]:
    found = {part: running.usage(child.name) for part, child in parts.items()}
    pid = ground.broker.pid(1)
    return found if pid is None else {**found, "broker": usage(pid)}
