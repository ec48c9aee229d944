"""Fills topics, lets a process work them off, and notes how far it is and what it has used."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from hookmill import pipeline
from hookmill.bench.figures import Row
from hookmill.bench.floor_stage import Found, Work
from hookmill.bench.usage import Usage
from hookmill.cli.bench.bed import Bed, Running
from hookmill.core.errors import HookmillError
from hookmill.core.record import Output, Record
from hookmill.kafka.client import Patience
from hookmill.kafka.partitioner import partition_of
from hookmill.kafka.reader import at_rest, reader
from hookmill.kafka.topics import admin, wanted
from hookmill.kafka.writer import Writer, writer

WRITE_RECORDS = 5_000
SAMPLE_SECS = 0.05
FLOOR_TOPIC = "bench-floor"
FLOOR_SECS_MAX = 120.0
QUIET_SECS, QUIET_SAMPLES, QUIET_SHARE = 0.5, 6, 0.05
"""At rest is who takes less than so much of a core, so many times after one another."""
REST_SECS_MAX = 300.0


@dataclass(slots=True)
class Feed:
    """What lies in a topic: how many records in each partition."""

    topic: str
    ends: list[int]

    @property
    def records(self) -> int:
        """All of them."""
        return sum(self.ends)


async def fill(ground: Bed, topic: str, outputs: Iterable[Output]) -> Feed:
    """Write them to their topic, each to the partition of its key."""
    partitions = ground.setup.config.kafka.partitions
    feed = Feed(topic, [0] * partitions)
    waiting: list[list[Output]] = [[] for _ in range(partitions)]
    async with writer(ground.setup.connection(), ground.setup.names) as to:
        for number, each in enumerate(outputs, start=1):
            partition = partition_of(each.key, partitions)
            feed.ends[partition] += 1
            waiting[partition].append(each)
            if number % (WRITE_RECORDS * partitions) == 0:
                await write_out(to, waiting)
        await write_out(to, waiting)
    return feed


async def write_out(to: Writer, waiting: Sequence[list[Output]]) -> None:
    """Write what waits for each partition, all partitions at once, and empty the lists."""
    await asyncio.gather(*(to.write(each, n) for n, each in enumerate(waiting) if each))
    for each in waiting:
        each.clear()


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a process was, and what it had used up to then. `at_secs` is monotonic."""

    at_secs: float
    done: int
    usage: Usage


@dataclass(slots=True)
class Progress:
    """How a process worked off its topic."""

    moments: list[Moment] = field(default_factory=list)

    def row(self, name: str, *, warm_up: int) -> Row:
        """What it cost from the first moment at which the warm-up was done."""
        first = next(each for each in self.moments if each.done >= warm_up)
        last = self.moments[-1]
        return Row(
            name=name,
            work=last.done - first.done,
            wall_secs=last.at_secs - first.at_secs,
            cpu_secs=last.usage.cpu_secs - first.usage.cpu_secs,
            rss_bytes=max(each.usage.rss_bytes for each in self.moments),
        )


async def worked_off(
    ground: Bed, running: Running, name: str, spec: pipeline.Stage, feed: Feed
) -> Progress:
    """Wait until the stage's group has committed all of it; raises TimeoutError if it stands."""
    progress, patience = Progress(), Patience()
    group = ground.setup.names.group(spec.name)
    async with reader(ground.setup.connection()) as source:
        while True:
            usage = running.usage(name)
            offsets = await source.committed(group)
            done = sum(offset for offset in offsets.values() if offset >= 0)
            if progress.moments and done == 0:
                progress.moments.clear()  # it still starts
            progress.moments.append(Moment(time.monotonic(), done, usage))
            if done >= feed.records:
                return progress
            patience.watch((done, int(usage.cpu_secs)))
            await asyncio.sleep(SAMPLE_SECS)


async def until_quiet(running: Running, name: str) -> None:
    """Wait until that process, which has nothing to do, does nothing. Raises TimeoutError."""
    async with asyncio.timeout(REST_SECS_MAX):
        quiet, before = 0, running.usage(name).cpu_secs
        while quiet < QUIET_SAMPLES:
            await asyncio.sleep(QUIET_SECS)
            now = running.usage(name).cpu_secs
            quiet = quiet + 1 if now - before < QUIET_SHARE * QUIET_SECS else 0
            before = now


async def came_out(ground: Bed, topic: str) -> AsyncIterator[list[Record]]:
    """What a read_committed reader finds in a topic that nobody writes to any more."""
    name = ground.setup.names.topic(topic)
    connection = ground.setup.connection()
    async with reader(connection) as source, reader(connection, committed=False) as log:
        async for records in source.read(name, await at_rest(source, log, name)):
            yield records


async def floor(ground: Bed, feed: Feed, *, warm_up: int) -> Row:
    """What bare aiokafka takes to copy the same records in transactions, in a process of its own.

    Raises HookmillError where it fails.
    """
    setup = ground.setup
    kafka = setup.config.kafka
    topic = next(each for each in setup.topics() if each.name == feed.topic)
    want = wanted(
        msgspec.structs.replace(topic, name=FLOOR_TOPIC, cleanup="delete"), setup.names,
        partitions=kafka.partitions, replication_factor=kafka.replication_factor,
    )  # fmt: skip
    async with admin(setup.connection()) as client:
        await client.apply([want], {})
    work = Work(
        servers=list(ground.broker.bootstrap_servers), reads=setup.names.topic(feed.topic),
        writes=want.name, ends=feed.ends, warm_up=warm_up,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hookmill.bench.floor_stage",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(
            process.communicate(msgspec.json.encode(work)), FLOOR_SECS_MAX
        )
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise HookmillError(f"the floor ended with status {process.returncode}")
    found = msgspec.json.decode(said, type=Found)
    async with admin(setup.connection()) as client:
        await client.delete([want.name])
    return Row(
        name="floor: bare aiokafka", work=found.records, wall_secs=found.wall_secs,
        cpu_secs=found.cpu_secs, rss_bytes=found.rss_bytes,
    )  # fmt: skip
