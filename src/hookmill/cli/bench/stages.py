"""`hookmill bench dedup|normalize|route`: a stage's real process, fed beforehand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from hookmill import pipeline
from hookmill.bench import stages
from hookmill.bench.figures import Check, Figure, Result, Row
from hookmill.bench.profile import profiled
from hookmill.cli.bench.bed import Bed, Running, bed, tell
from hookmill.cli.bench.feeding import came_out, fill, floor, until_quiet, worked_off, write_out
from hookmill.cli.bench.running import Against, Profile
from hookmill.cli.bench.running import run as run_bench
from hookmill.cli.options import AsJson
from hookmill.cli.sample import CALLED
from hookmill.cli.setup import now_us
from hookmill.core.record import Output
from hookmill.kafka.changelog import MARK_KEY, encode_mark
from hookmill.kafka.store import RocksStore
from hookmill.kafka.sweep import KEYS_PER_CHANGE
from hookmill.kafka.writer import writer
from hookmill.local.supervisor import Child

PER = 100_000
WARM_UP_SHARE = 0.2
CPU_SECS_MAX = {"dedup": 1.2, "normalize": 1.8, "route": 1.8}
RSS_MB_MAX = {1_000_000: 150.0, 10_000_000: 250.0}
COST_RATIO_MAX = 1.15
SEEDS = tuple(CALLED.values())
PRELOAD_RECORDS = 60_000
EXPIRED_MS = 5 * 86_400_000
"""Longer ago than Yoco's window of two days, and the two that a sighting is kept beyond it."""
PLACES: dict[str, dict[str, Sequence[str]]] = {
    "dedup": {pipeline.UNIQUE: (pipeline.UNIQUE,)},
    "normalize": {pipeline.NORMALIZED: (pipeline.NORMALIZED,)},
    "route": {
        "the topics of the kinds": tuple(pipeline.KIND_TOPICS.values()),
        "the handler's queue": (pipeline.HandlerTopics("log").queue,),
    },
}
"""Where a stage writes, and in each of them every event must be once."""
_TRANSACTION = re.compile(r"^hookmill_transaction_seconds_(sum|count)\{.*\} (\S+)$", re.M)

Records = Annotated[int, typer.Option(min=100, help="How many are measured, warm-up aside.")]
Partitions = Annotated[int, typer.Option(min=1, help="Of every topic.")]


def dedup(
    records: Records = 300_000,
    partitions: Partitions = 6,
    keys: Annotated[
        list[int] | None,
        typer.Option(
            help="Events seen before, kept in the state; again for a row each. Default: none.",
            show_default=False,
        ),
    ] = None,
    expired: Annotated[
        int, typer.Option(help="Of events seen before, as many more whose window has passed.")
    ] = 0,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Deduplication: bodies of 1 KB, a quarter of them redeliveries.

    The floor is the same records copied in transactions by bare aiokafka. With --keys 0 --keys
    1000000 --keys 10000000 --keys 0 it also shows what a large state costs, in CPU and in memory,
    next to the mean of before and after: a machine's speed changes within minutes. With --expired,
    how many keys that no window holds any more have left the state at the end: with each new one
    two are looked at.
    """
    wish = Wish(pipeline.DEDUP, records, partitions, tuple(keys or (0,)), profile, expired)
    run_bench(lambda: bench(wish), against=against, as_json=as_json)


def normalize(
    records: Records = 200_000,
    partitions: Partitions = 6,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Normalization: the bodies of Yoco, Rehive, Pay3 and Echezona in turn, as they sign them.

    The floor is the same records copied in transactions by bare aiokafka.
    """
    wish = Wish(pipeline.NORMALIZE, records, partitions, (0,), profile)
    run_bench(lambda: bench(wish), against=against, as_json=as_json)


def route(
    records: Records = 200_000,
    partitions: Partitions = 6,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Routing: what normalization made of the bodies of Yoco, Rehive, Pay3 and Echezona.

    Each event goes to the topic of its kind and to the queue of one handler: two records for one
    of the floor, which copies each once.
    """
    wish = Wish(pipeline.ROUTE, records, partitions, (0,), profile)
    run_bench(lambda: bench(wish), against=against, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured."""

    spec: pipeline.Stage
    records: int
    partitions: int
    keys: Sequence[int]
    profile: Path | None
    expired: int = 0

    @property
    def warm_up(self) -> int:
        """So many come first and are not counted."""
        return int(self.records * WARM_UP_SHARE)


@dataclass(frozen=True, slots=True)
class Measured:
    """One process on one bed."""

    row: Row
    floor: Row | None
    transaction_ms: float
    expired_left: int
    checks: tuple[Check, ...]


async def bench(wish: Wish) -> Result:
    """A bed for each size of the state; the floor beside the first."""
    found = [await _measured(wish, keys, first=not number) for number, keys in enumerate(wish.keys)]
    first = found[0]
    figures = [
        Figure(name=f"{each.row.name}: a transaction", value=each.transaction_ms, unit="ms")
        for each in found
    ]
    if wish.expired:
        left = Figure(
            name=f"of {wish.expired:,} expired keys still kept", value=first.expired_left,
            unit="keys", at_most=_left_at_most(wish),
        )  # fmt: skip
        figures.append(left)
    for keys, each in zip(wish.keys, found, strict=True):
        if keys in RSS_MB_MAX:
            figures.append(
                Figure(name=f"memory with {keys:,} keys", value=(each.row.rss_bytes or 0) / 1e6,
                       unit="MB", at_most=RSS_MB_MAX[keys])
            )  # fmt: skip
    costs = [each.row.cpu_for(PER) for each in found]
    for keys, ratio in stages.cost_ratios(wish.keys, costs):
        name = f"cost with {keys:,} keys to that with {wish.keys[0]:,}"
        figures.append(Figure(name=name, value=ratio, unit="", at_most=COST_RATIO_MAX))
    return Result(
        bench=wish.spec.name,
        unit="records",
        per=PER,
        floor=first.floor,
        rows=tuple(each.row for each in found),
        checks=tuple(check for each in found for check in each.checks),
        figures=tuple(figures),
        at_most=CPU_SECS_MAX[wish.spec.name],
    )


def _left_at_most(wish: Wish) -> float:
    """Of what has expired, what the sweep has not come to yet, and a tenth of the rest. Half of the
    new keys, on average, lie among what it looks at."""
    new = (wish.records + wish.warm_up) * (1 - stages.DUPLICATES)
    among = wish.keys[0] + wish.expired + new / 2
    looked_at = min(1.0, new * KEYS_PER_CHANGE / among)
    return wish.expired * (1 - 0.9 * looked_at)


async def _measured(wish: Wish, keys: int, *, first: bool) -> Measured:
    spec = wish.spec
    async with bed(partitions=wish.partitions) as ground:
        child = ground.part("stage", spec.name, "--instance", "0")
        await _remembers(ground, child, wish, keys)
        tell(f"making {wish.records + wish.warm_up:,} records for {spec.name}")
        made = list(_made(ground, spec, wish.records + wish.warm_up))
        feed = await fill(ground, spec.reads, made)
        copied = await floor(ground, feed, warm_up=wish.warm_up) if first else None
        async with ground.running(child) as running:
            tell(f"{spec.name} works")
            async with profiled(running.pid(child.name), wish.profile):
                progress = await worked_off(ground, running, child.name, spec, feed)
            seconds = await transaction_secs(running, child.name)
        name = f"{spec.name}, {keys:,} keys" if len(wish.keys) > 1 or keys else spec.name
        return Measured(
            progress.row(name, warm_up=wish.warm_up),
            copied,
            seconds * 1000,
            expired_kept(ground) if wish.expired else 0,
            stages.checks(
                (stages.identity(each.key, each.headers) for each in made),
                await _came_out(ground, spec),
            ),
        )


async def _remembers(ground: Bed, child: Child, wish: Wish, keys: int) -> None:
    """Give the stage its state beforehand, and let it come to rest: RocksDB goes on compacting for
    a while after a restore, and that is no part of what a record costs."""
    if keys:
        tell(f"writing {keys:,} earlier events to {wish.spec.changelog}")
        await preload(ground, keys)
    if wish.expired:
        await preload(ground, wish.expired, age_ms=EXPIRED_MS, called=stages.EXPIRED)
    if keys or wish.expired:
        async with ground.running(child) as running:
            tell(f"{wish.spec.name} restores its state")
            await until_quiet(running, child.name)


def _made(ground: Bed, spec: pipeline.Stage, count: int) -> Iterator[Output]:
    """What the stage reads: made by the decisions of the stages before it."""
    setup = ground.setup
    if spec is pipeline.DEDUP:
        return stages.padded(setup.endpoints["shop-za"], count)
    outputs: Iterator[Output] = stages.simulated([setup.endpoints[name] for name in SEEDS], count)
    for before in pipeline.STAGES.values():
        if before is spec:
            break
        decision = pipeline.decision(before, setup.endpoints, setup.rules, setup.names)
        outputs = stages.decided(decision, outputs, reads=before.reads)
    return outputs


async def preload(ground: Bed, keys: int, *, age_ms: int = 0, called: str = stages.EARLIER) -> None:
    """So many sightings in dedup's changelog, with the mark that its transactions end with."""
    partitions = ground.setup.config.kafka.partitions
    at_ms = now_us() // 1000 - age_ms
    mark = Output(pipeline.SEEN, MARK_KEY, encode_mark("bench", 0))
    async with writer(ground.setup.connection(), ground.setup.names) as to:
        for begin in range(0, keys, PRELOAD_RECORDS):
            numbers = range(begin, min(keys, begin + PRELOAD_RECORDS))
            seen = stages.seen_before("shop-za", numbers, at_ms=at_ms, called=called)
            waiting: list[list[Output]] = [[] for _ in range(partitions)]
            for number, each in zip(numbers, seen, strict=True):
                waiting[number % partitions].append(each)
            await write_out(to, waiting)
        await write_out(to, [[mark] for _ in range(partitions)])


def expired_kept(ground: Bed) -> int:
    """How many of the expired keys lie in the state of the process, which has ended."""
    kept = 0
    for folder in ground.folder.glob("state/*/*/0/*-dedup/[0-9]*"):
        store = RocksStore(folder)
        kept += sum(b"_expired|" in key for key, _ in store.items())
        store.close()
    return kept


async def transaction_secs(running: Running, name: str) -> float:
    """The mean time of its transactions, by its own metrics."""
    address = running.private(name) + "/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as page:
        found = {each[1]: float(each[2]) for each in _TRANSACTION.finditer(await page.text())}
    return found.get("sum", 0.0) / (found.get("count") or 1.0)


async def _came_out(ground: Bed, spec: pipeline.Stage) -> dict[str, dict[str, list[stages.Event]]]:
    """What lies where the stage writes."""
    return {
        place: {
            topic: [
                stages.identity(each.key, each.headers)
                async for records in came_out(ground, topic)
                for each in records
            ]
            for topic in topics
        }
        for place, topics in PLACES[spec.name].items()
    }
