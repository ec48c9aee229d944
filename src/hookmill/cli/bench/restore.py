"""`hookmill bench restore`: how long a stage with much state stands still when it starts again."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterable
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
from hookmill.cli.bench.feeding import Feed, came_out, worked_off, write_out
from hookmill.cli.bench.running import Against, Profile
from hookmill.cli.bench.running import run as run_bench
from hookmill.cli.bench.stages import preload
from hookmill.cli.options import AsJson
from hookmill.kafka.client import Patience
from hookmill.kafka.reader import reader
from hookmill.kafka.writer import writer
from hookmill.local.supervisor import Child
from hookmill.stages import headers

PER = 1_000_000
KEYS_PER_SEC_MIN = 250_000.0
START_SECS_MAX = 3.0
SAMPLE_SECS = 0.1
SAMPLED = 1_000
"""So many of the earlier events come again after the restore, and none may go on."""
_RESTORED = re.compile(r"^hookmill_restored_records_total\{.*\} (\S+)$", re.M)
ENDPOINT = "shop-za"


def restore(
    keys: Annotated[int, typer.Option(min=1_000, help="Events seen before.")] = 1_000_000,
    partitions: Annotated[int, typer.Option(min=1, help="Of every topic.")] = 6,
    against: Against = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """A member of dedup comes back: once without its disk, once with it.

    Without it the state is read from the changelog: keys a second, all partitions together. With
    it, killed as hard as can be, it counts from the start of the process to its first commit.
    """

    async def work() -> Result:
        async with bed(partitions=partitions) as ground:
            tell(f"writing {keys:,} earlier events to {pipeline.SEEN}")
            await preload(ground, keys)
            child = ground.part("stage", "dedup", "--instance", "0")
            lost = await _disk_lost(ground, child, keys, profile)
            intact_secs = await _disk_intact(ground, child, keys)
            return _result(keys, lost, intact_secs, await _right(ground))

    run_bench(work, against=against, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore from nothing: what the process took, and until when it had committed again."""

    row: Row
    working_secs: float


async def _disk_lost(ground: Bed, child: Child, keys: int, profile: Path | None) -> Restored:
    """Start it on an empty disk, and feed it; at the end it is killed."""
    feed = await _feed(ground, "lost", [])
    began_secs = time.monotonic()
    async with ground.running(child) as running:
        tell("its disk is lost: restoring")
        async with profiled(running.pid(child.name), profile):
            row = await _restored(running, child.name, keys)
        await worked_off(ground, running, child.name, pipeline.DEDUP, feed)
        working_secs = time.monotonic() - began_secs
        os.kill(running.pid(child.name), signal.SIGKILL)
    return Restored(row, working_secs)


async def _disk_intact(ground: Bed, child: Child, keys: int) -> float:
    """Start it again where it was killed: seconds from the start to a commit on each partition."""
    feed = await _feed(ground, "intact", range(0, keys, max(1, keys // SAMPLED)))
    tell("its disk is intact: starting again")
    began_secs = time.monotonic()
    async with ground.running(child) as running:
        await worked_off(ground, running, child.name, pipeline.DEDUP, feed)
        return time.monotonic() - began_secs


async def _restored(running: Running, name: str, keys: int) -> Row:
    """Wait until it has read so many keys; the work is counted from its first to its last."""
    patience, address = Patience(), running.private(name) + "/metrics"
    moments = [(0, time.monotonic(), running.usage(name))]
    async with aiohttp.ClientSession() as session:
        while moments[-1][0] < keys:
            async with session.get(address) as page:
                found = _RESTORED.search(await page.text())
            read = int(float(found[1])) if found else 0
            if not read:
                moments.clear()  # it still starts
            moments.append((read, time.monotonic(), running.usage(name)))
            patience.watch(read)
            await asyncio.sleep(SAMPLE_SECS)
    (first, began_secs, before), (last, ended_secs, after) = moments[0], moments[-1]
    return Row(
        name="disk lost",
        work=last - first,
        wall_secs=ended_secs - began_secs,
        cpu_secs=after.cpu_secs - before.cpu_secs,
        rss_bytes=max(usage.rss_bytes for _, _, usage in moments),
    )


async def _feed(ground: Bed, fresh: str, earlier: Iterable[int]) -> Feed:
    """A new event for each partition, and earlier ones again; what the input then holds."""
    setup = ground.setup
    partitions = setup.config.kafka.partitions
    waiting = [[stages.arrived(ENDPOINT, f"{fresh}_{each}")] for each in range(partitions)]
    for number in earlier:
        event_id = stages.known_as(stages.EARLIER, number)
        waiting[number % partitions].append(stages.arrived(ENDPOINT, event_id))
    async with writer(setup.connection(), setup.names) as to:
        await write_out(to, waiting)
    async with reader(setup.connection()) as source:
        bounds = await source.bounds(setup.names.topic(pipeline.RAW))
    return Feed(pipeline.RAW, [end for _, end in bounds.values()])


async def _right(ground: Bed) -> Check:
    """Every new event went on and none of the earlier ones did."""
    setup = ground.setup
    partitions = setup.config.kafka.partitions
    wanted = sorted(f"{name}_{each}" for name in ("lost", "intact") for each in range(partitions))
    found = sorted(
        [
            record.header(headers.EVENT_ID) or ""
            async for records in came_out(ground, pipeline.UNIQUE)
            for record in records
        ]
    )
    return Check("what was seen before does not go on, and what is new does", found == wanted)


def _result(keys: int, lost: Restored, intact_secs: float, check: Check) -> Result:
    return Result(
        bench="restore",
        unit="keys",
        per=PER,
        floor=None,
        rows=(lost.row,),
        checks=(check,),
        figures=(
            Figure(name="disk lost: keys a second", value=lost.row.per_sec, unit="keys/s",
                   at_least=KEYS_PER_SEC_MIN),
            Figure(name="disk lost: from the start to the last first commit",
                   value=lost.working_secs, unit="s"),
            Figure(name="disk intact: from the start to the last first commit", value=intact_secs,
                   unit="s", at_most=START_SECS_MAX),
        ),
        notes=(f"{keys:,} keys; the process was killed with SIGKILL in between",),
    )  # fmt: skip
