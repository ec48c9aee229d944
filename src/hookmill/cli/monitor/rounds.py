"""One round after another: replication, members, lags and dead letters into metrics."""

import asyncio
import time
from collections.abc import Collection

from hookmill.cli.lag import Group, ahead, groups, unread
from hookmill.cli.letterbox import sent_again_to
from hookmill.cli.monitor.letters import Letterbox
from hookmill.cli.process import private_port, until
from hookmill.cli.setup import Setup, now_us
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS
from hookmill.kafka.reader import Reader, reader
from hookmill.kafka.topics import Admin, admin, check_present
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

INTERVAL_SECS = 15.0
COUNTED_OFFSETS_MAX = 100
"""So many offsets of a group and partition are read and counted in a round; more are counted by
their offsets, markers of transactions among them."""
FETCH_BYTES = 64 * 1024
"""Of a partition at once: mostly the first record is all that is wanted."""
ROUND_SECS_MAX = 4 * NETWORK_TIMEOUT_SECS


class Monitor:
    """Looks again and again; `live` and `ready` say how that goes."""

    def __init__(self, setup: Setup, *, interval_secs: float) -> None:
        self._setup = setup
        self._interval_secs = interval_secs
        self._groups = groups(setup)
        self._letterbox = Letterbox(setup.names, sent_again_to(setup))
        self._problem: str | None = "no round is over yet"
        self._turned_secs = time.monotonic()

    def live(self) -> str | None:
        """None while rounds come to an end, good or bad."""
        still_secs = time.monotonic() - self._turned_secs
        return None if still_secs < 2 * (ROUND_SECS_MAX + self._interval_secs) else "stands still"

    def ready(self) -> str | None:
        """None if the last round saw everything."""
        return self._problem

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set. After any error the next round begins with new clients."""
        while not stopping.is_set():
            try:
                await self._rounds(stopping)
            except Exception as error:  # whatever the client raises, the answer is to try again
                self._turned(str(error) or type(error).__name__)
                await until(stopping, self._interval_secs)

    async def _rounds(self, stopping: asyncio.Event) -> None:
        connection = self._setup.connection()
        async with (
            admin(connection) as cluster,
            reader(connection, partition_fetch_bytes=FETCH_BYTES) as source,
        ):
            while not stopping.is_set():
                async with asyncio.timeout(ROUND_SECS_MAX):
                    await self._look(cluster, source)
                catalog.MONITOR_SUCCESS.set(now_us() / 1_000_000)
                self._turned(None)
                await until(stopping, self._interval_secs)

    def _turned(self, problem: str | None) -> None:
        self._problem = problem
        self._turned_secs = time.monotonic()
        if problem is not None:
            say("kafka_unavailable", error=problem[:300])

    async def _look(self, cluster: Admin, source: Reader) -> None:
        """A round. What needs least comes first: replication is shown while no group answers."""
        names = [self._setup.names.topic(each.name) for each in self._setup.topics()]
        found = await cluster.replication(names)
        for topic, state in found.items():
            catalog.UNDER_REPLICATED.labels(topic).set(state.under_replicated)
            catalog.BELOW_MIN_INSYNC.labels(topic).set(state.below_min_insync)
            catalog.OFFLINE.labels(topic).set(state.offline)
        for each in self._groups:
            group = self._setup.names.group(each.part)
            catalog.GROUP_MEMBERS.labels(group).set(await source.members(group))
        check_present(names, found)
        for each in self._groups:
            await self._measure(source, each, found)
        for topic, letters in (await self._letterbox.counts(source)).items():
            catalog.DEAD_LETTERS_OPEN.labels(topic).set(letters)

    async def _measure(self, source: Reader, group: Group, there: Collection[str]) -> None:
        """The group's lag by its position: what its handler settled out of turn counts too."""
        name = self._setup.names.group(group.part)
        committed = await source.committed(name)
        spans = await unread(source, self._setup.names, group, committed, there)
        topic = self._setup.names.topic(group.reads)
        aheads = await ahead(source, topic, spans, {}, counted_max=COUNTED_OFFSETS_MAX)
        oldest_ms = min((at for each in aheads if (at := each.oldest_ms) is not None), default=None)
        age_secs = 0.0 if oldest_ms is None else max(0.0, now_us() / 1_000_000 - oldest_ms / 1000)
        catalog.GROUP_LAG_RECORDS.labels(name).set(sum(each.records for each in aheads))
        catalog.GROUP_LAG_SECONDS.labels(name).set(age_secs)


async def serve(
    setup: Setup, stopping: asyncio.Event, *, interval_secs: float, admin_port: int
) -> None:
    """Monitor until `stopping` is set."""
    monitor = Monitor(setup, interval_secs=interval_secs)
    host = setup.config.ingress.admin_host
    async with private_port(host, admin_port, live=monitor.live, ready=monitor.ready) as private:
        say("process_started", private=private)
        await monitor.run(stopping)
