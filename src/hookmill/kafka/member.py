"""One member of a consumer group: a worker for each partition that the group assigns to it.

Workers start when partitions are assigned and end before they are given away. Nothing slow
happens inside the rebalance callbacks: no heartbeat is sent while they run. A worker that meets
an error is run anew after a growing pause; each pulls its own partition, so none waits for
another.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, ProducerFenced

from hookmill.core.errors import HookmillError, Stuck, UnsafeCluster
from hookmill.kafka.client import (
    MEMBER_HEARTBEAT_MS,
    NETWORK_TIMEOUT_SECS,
    REBALANCE_TIMEOUT_MS,
    Connection,
    stop,
)
from hookmill.kafka.inbox import Inbox
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

PAUSE_SECS_FIRST = 0.2
PAUSE_SECS_MAX = 5.0
STUCK_SECS = 120.0
WATCH_SECS = 5.0
FAILURES_MAX = 20
MONITOR_SECS = 1.0
FETCH_BYTES = 512 * 1024
ANSWER_BYTES = 1024 * 1024
"""Of all partitions together, which take turns. An answer is held twice while it is read; what
comes while a transaction fills goes out with it, so a small one costs no more CPU. Twice as much
took 4 MB more and saved nothing, eight times as much 40 more."""
POLL_INTERVAL_MS_MAX = 24 * 3600 * 1000
"""A queue may rest for long while its handler waits for retries; whether the process makes progress
is what `live` says."""


class PartitionWorker(Protocol):
    """What works on one partition."""

    @property
    def position(self) -> int:
        """The next input offset; -1 before it is known."""

    @property
    def turns(self) -> int:
        """Grows as long as it polls."""

    @property
    def pending_since_ms(self) -> int | None:
        """Append time of the oldest record fetched and not yet done."""

    async def run(self) -> None:
        """Work until cancelled."""

    async def close(self) -> None:
        """Let go of what it holds."""


MakeWorker = Callable[[int, Inbox], PartitionWorker]


async def pause_growing(attempt: int) -> None:
    """Wait before the n-th attempt in a row: doubling, jittered, at most five seconds."""
    longest = min(PAUSE_SECS_MAX, PAUSE_SECS_FIRST * 2 ** min(attempt, 10))
    await asyncio.sleep(longest * random.uniform(0.5, 1.0))


class Member:
    """Belongs to the group until `stop`; `run` raises what a restart of the process must mend."""

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topic: str,
        instance_id: str | None,
        session_timeout_secs: float,
        make_worker: MakeWorker,
        partitions: int,
        stuck_secs: float = STUCK_SECS,
        failures_max: int = FAILURES_MAX,
    ) -> None:
        self._group = group
        self._partitions = partitions
        self._stuck_secs = stuck_secs
        self._failures_max = failures_max
        self._topic = topic
        self._make_worker = make_worker
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._workers: dict[int, PartitionWorker] = {}
        self._turned: dict[int, tuple[int, float]] = {}
        self._joined = False
        self._failed: asyncio.Future[Any] | None = None
        self._consumer = Inbox(
            **connection.arguments(group),
            group_id=group,
            group_instance_id=instance_id,
            session_timeout_ms=int(session_timeout_secs * 1000),
            heartbeat_interval_ms=min(MEMBER_HEARTBEAT_MS, int(session_timeout_secs * 1000 / 3)),
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            partition_assignment_strategy=[RangePartitionAssignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=ANSWER_BYTES,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; raises what only a new process can mend."""
        self._failed = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await self._consumer.start()
        watching = asyncio.ensure_future(self._watch())
        watching.add_done_callback(self._ended)
        try:
            self._consumer.subscribe([self._topic], listener=_Listener(self))
            await self._until(stopping)
        finally:
            watching.cancel()
            await self._give_away(list(self._tasks))
            await self._leave()

    async def _leave(self) -> None:
        """Stop the consumer; with the broker gone it fails, and we end anyway."""
        if (error := await stop(self._consumer)) is not None:
            say("kafka_unavailable", error=f"{type(error).__name__}: {error}"[:300])

    def live(self) -> str | None:
        """None while every worker turns, else which partition stands still."""
        now = time.monotonic()
        for partition, (_, since) in self._turned.items():
            if now - since > self._stuck_secs:
                return f"partition {partition} stands still"
        return None

    def ready(self) -> str | None:
        """None once the group has given this member its partitions (or none)."""
        return None if self._joined else "waiting for the group"

    async def _until(self, stopping: asyncio.Event) -> None:
        assert self._failed is not None
        wait: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                await asyncio.wait(
                    {wait, self._failed}, timeout=MONITOR_SECS, return_when="FIRST_COMPLETED"
                )
                if self._failed.done():
                    self._failed.result()
                self._measure()
        finally:
            wait.cancel()

    def take(self, partitions: Iterable[int]) -> None:
        """Start a worker for each partition."""
        self._joined = True
        for partition in partitions:
            if partition >= self._partitions:
                self._fail(
                    UnsafeCluster(
                        f"{self._topic} has more than {self._partitions} partitions "
                        "(kafka.partitions); their number cannot be changed in place"
                    )
                )
                return
            self._tasks[partition] = asyncio.ensure_future(self._keep(partition))
            self._tasks[partition].add_done_callback(self._ended)
        catalog.ASSIGNED.labels(self._group).set(len(self._tasks))
        say("partitions_assigned", group=self._group, partitions=sorted(self._tasks))

    async def give_away(self, partitions: list[int]) -> None:
        """Finish the transactions under way and end these workers."""
        if partitions:
            say("partitions_revoked", group=self._group, partitions=sorted(partitions))
        await self._give_away(partitions)
        catalog.ASSIGNED.labels(self._group).set(len(self._tasks))

    async def _give_away(self, partitions: list[int]) -> None:
        tasks = [self._tasks.pop(each) for each in partitions if each in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for partition in partitions:
            self._workers.pop(partition, None)
            self._turned.pop(partition, None)
            for gauge in (catalog.LAG_RECORDS, catalog.LAG_SECONDS):
                with contextlib.suppress(KeyError):
                    gauge.remove(self._group, str(partition))

    async def _made(self, partition: int) -> PartitionWorker:
        """A worker; what keeps it from being made (a full disk) is told and tried again."""
        attempt = 0
        while True:
            try:
                return self._make_worker(partition, self._consumer)
            except Exception as error:
                attempt += 1
                self._report(partition, error)
                await pause_growing(attempt)

    async def _keep(self, partition: int) -> None:
        worker = self._workers[partition] = await self._made(partition)
        attempt, failures, turns = 0, 0, 0
        try:
            while True:
                try:
                    await worker.run()
                except HookmillError as error:
                    self._fail(error)
                    return
                except ProducerFenced:
                    catalog.WORKER_RESTARTS.labels(self._group, "ProducerFenced").inc()
                    say("worker_fenced", group=self._group, partition=partition)
                    await self._confirm_membership()
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                        raise  # else it is one of the client's own, that it let out
                    attempt = 1 if worker.turns > turns else attempt + 1
                    retriable = not isinstance(error, KafkaError) or error.retriable
                    failures = 0 if retriable or attempt == 1 else failures + 1
                    turns = worker.turns
                    self._report(partition, error)
                    if failures >= self._failures_max:
                        self._fail(error)
                        return
                    await pause_growing(attempt)
        finally:
            await worker.close()

    async def _confirm_membership(self) -> None:
        """Wait until the group says that this member belongs to its present generation.

        Two owners would otherwise fence each other for ever; a member that was thrown out is
        cancelled here by the rebalance that follows.
        """
        attempt = 0
        while True:
            attempt += 1
            await pause_growing(attempt)
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                    if await self._consumer._coordinator._do_heartbeat():
                        return

    async def _watch(self) -> None:
        """Fail once a consumer stands still before records that the broker has for it.

        Consumers have been seen to hang for good after broker restarts (aiokafka #703, #1154);
        they then know no newer end of the log, so the broker is asked. While it does not answer
        there is no verdict. A worker that holds records is at work, however slowly.
        """
        standing: dict[TopicPartition, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(min(WATCH_SECS, self._stuck_secs / 4))
            waiting = [
                TopicPartition(self._topic, partition)
                for partition, worker in self._workers.items()
                if worker.position >= 0 and worker.pending_since_ms is None
            ]
            try:
                before = await self._before_records(waiting)
            except (KafkaError, TimeoutError, OSError):
                before = {}
            now = time.monotonic()
            standing = {
                tp: standing[tp] if standing.get(tp, (-1, 0.0))[0] == position else (position, now)
                for tp, position in before.items()
            }
            for tp, (position, since) in standing.items():
                if now - since > self._stuck_secs:
                    raise Stuck(
                        f"partition {tp.partition} of {tp.topic} has records, and its consumer "
                        f"has stood at {position} for {self._stuck_secs:g} s"
                    )

    async def _before_records(self, waiting: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The positions of those consumers that are not at the end (markers are behind them)."""
        if not waiting:
            return {}
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            ends = await self._consumer.end_offsets(waiting)
            at = {tp: await self._consumer.position(tp) for tp in waiting}
        return {tp: position for tp, position in at.items() if position < ends[tp]}

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that should run until it is cancelled has ended: that is for a new process."""
        if task.cancelled():
            if not task.cancelling():
                self._fail(Stuck("a task was cancelled by nobody: its partition has no worker"))
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _report(self, partition: int, error: BaseException) -> None:
        kind = type(error).__name__
        catalog.WORKER_RESTARTS.labels(self._group, kind).inc()
        say(
            "worker_failed",
            group=self._group,
            partition=partition,
            error=f"{kind}: {error}"[:300],
        )

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _measure(self) -> None:
        now, now_ms = time.monotonic(), time.time() * 1000
        for partition, worker in self._workers.items():
            if self._turned.get(partition, (-1, 0.0))[0] != worker.turns:
                self._turned[partition] = (worker.turns, now)
            highwater = self._consumer.highwater(TopicPartition(self._topic, partition))
            if highwater is None or worker.position < 0:
                continue
            labels = (self._group, str(partition))
            catalog.LAG_RECORDS.labels(*labels).set(max(0, highwater - worker.position))
            since_ms = worker.pending_since_ms
            age = 0.0 if since_ms is None else max(0.0, (now_ms - since_ms) / 1000)
            catalog.LAG_SECONDS.labels(*labels).set(age)


def _is_cancelled() -> bool:
    """Whether somebody has asked for the end of this task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes the group's decisions on to the member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Before a rebalance: everything is given away."""
        await self._member.give_away([each.partition for each in revoked])

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """After it: start, and return at once."""
        self._member.take([each.partition for each in assigned])
