"""Appends deliveries to Kafka: one open batch a partition, answered when it is acknowledged.

Idempotence is off on purpose: with it aiokafka hangs for ever while brokers are down. Order
holds all the same (one batch of a partition is under way at a time), and the duplicates that a
retry may make are what dedup is for.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.kafka.breaker import Breaker, State
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection
from hookmill.kafka.partitioner import partition_of
from hookmill.kafka.producing import stop
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

LINGER_SECS = 0.003
BATCH_BYTES_MAX = 256 * 1024
REQUEST_TIMEOUT_MS = 4_000
SEND_SECS_MAX = 30.0
PROBE_SECS = 0.25
TRIALS_MAX = 5


Settled = Callable[[NotKept | None], None]
"""Told once what became of a record: None when it is on every in-sync replica."""


class _OpenBatch:
    """Records of one partition on their way: one builder and one timer for all of them.

    The timer runs from the start, so that a batch behind a stuck one is given up in time too.
    """

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.waiting: list[Settled] = []
        self.is_settled = False
        self._timer: asyncio.TimerHandle | None = None

    def give_up_at(self, deadline: float, give_up: Callable[["_OpenBatch"], None]) -> None:
        """Give up at that time of the loop's clock, unless an earlier one is set already."""
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, give_up, self)

    def settle(self, error: NotKept | None) -> bool:
        """Tell the waiters; returns False if they were told before."""
        if self.is_settled:
            return False
        self.is_settled = True
        if self._timer is not None:
            self._timer.cancel()
        for tell in self.waiting:
            tell(error)
        return True


class _Lane:
    """One partition of one topic. Its flusher sends one batch at a time."""

    def __init__(self) -> None:
        self.open: _OpenBatch | None = None
        self.full: list[_OpenBatch] = []
        self.flusher: asyncio.Task[None] | None = None


class Appender:
    """Keeps records in Kafka with `acks=all`. `topics` are the ones it may be asked to write."""

    def __init__(self, connection: Connection, *, topics: Sequence[str], partitions: int) -> None:
        self._connection = connection
        self._topics = topics
        self._partitions = partitions
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._producer: AIOKafkaProducer | None = None
        self._prober: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._due.set()
        self.breaker = Breaker()

    async def connect(self) -> None:
        """Connect and resolve the topics' partitions; raises KafkaError while none answers."""
        self._producer = await self._connected()
        self.breaker = Breaker(closed=True)
        catalog.BREAKER_OPEN.set(0)

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._connection.arguments("hookmill-ingress"),
            acks="all",
            enable_idempotence=False,
            linger_ms=0,
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await producer.start()
                for topic in self._topics:
                    await producer.partitions_for(topic)
        except BaseException:
            await stop(producer)
            raise
        return producer

    @property
    def available(self) -> bool:
        """False while Kafka is known to be out: a delivery would be refused anyway."""
        return self.breaker.state is not State.OPEN

    def admits(self) -> bool:
        """Whether a record may be appended now; while the breaker tries, only one may."""
        return self._producer is not None and self.breaker.admits()

    async def append(self, topic: str, output: Output, *, deadline: float) -> None:
        """Return when the record is on every in-sync replica.

        `deadline` is on the loop's clock. Raises NotKept when it passed, or Kafka refused.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: NotKept | None) -> None:
            if done.done():
                return  # whoever waited has gone
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.post(topic, output, deadline=deadline, settled=settled)
        await done

    def post(self, topic: str, output: Output, *, deadline: float, settled: Settled) -> None:
        """As `append`, but `settled` is told, later, and must not raise: a future and a task for
        each delivery cost as much as all else that is done here for it."""
        assert self._producer is not None, "append before connect"
        self._add(topic, output, deadline).waiting.append(settled)

    async def close(self, *, timeout_secs: float) -> None:
        """Flush what is open within the time limit and disconnect."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_secs):
                for lane in self._lanes.values():
                    if lane.flusher is not None:
                        await asyncio.wait([lane.flusher])
        if self._prober is not None:
            self._prober.cancel()
        if self._producer is not None:
            await stop(self._producer)

    def _add(self, topic: str, output: Output, deadline: float) -> _OpenBatch:
        partition = partition_of(output.key, self._partitions)
        lane = self._lanes.setdefault((topic, partition), _Lane())
        if lane.open is not None and lane.open.is_settled:
            lane.open = None  # given up behind a stuck one: what joined it would never be tried
        if lane.open is None or not _fits(lane.open, output):
            if lane.open is not None:
                lane.full.append(lane.open)
            assert self._producer is not None
            lane.open = _OpenBatch(self._producer.create_batch())
            added = _fits(lane.open, output)
            assert added, "an empty batch takes any record"
        batch = lane.open
        batch.give_up_at(deadline, self._give_up)
        if lane.flusher is None or lane.flusher.done():
            lane.flusher = asyncio.ensure_future(self._flush(lane, topic, partition))
        return batch

    async def _flush(self, lane: _Lane, topic: str, partition: int) -> None:
        await self._linger()
        while True:
            if lane.full:
                batch = lane.full.pop(0)
            elif lane.open is not None:
                batch, lane.open = lane.open, None
            else:
                return
            await self._send(batch, topic, partition)

    async def _linger(self) -> None:
        """Wait until the lanes that have begun to fill are sent, all at one moment: what is sent
        together travels in one request a broker, and is acknowledged by one answer."""
        if self._due.is_set():
            self._due.clear()
            asyncio.get_running_loop().call_later(LINGER_SECS, self._due.set)
        await self._due.wait()

    async def _send(self, batch: _OpenBatch, topic: str, partition: int) -> None:
        """Send one batch; its waiters hear at their deadline, the lane waits for the outcome."""
        assert self._producer is not None
        if batch.is_settled:
            return  # given up while it waited: the providers were told to try again
        began = time.perf_counter()
        try:
            async with asyncio.timeout(SEND_SECS_MAX):  # aiokafka's own limit is far below it
                sent = await self._producer.send_batch(batch.builder, topic, partition=partition)
                await sent
        except (KafkaError, TimeoutError, ConnectionError, OSError) as error:
            self._fail(batch, f"{type(error).__name__}: {error}")
        else:
            catalog.APPEND_SECONDS.observe(time.perf_counter() - began)
            self._succeed(batch)

    def _give_up(self, batch: _OpenBatch) -> None:
        self._fail(batch, "no acknowledgement in time")

    def _succeed(self, batch: _OpenBatch) -> None:
        if batch.settle(None) and self.breaker.succeeded():
            catalog.BREAKER_OPEN.set(0)
            say("breaker_closed")

    def _fail(self, batch: _OpenBatch, why: str) -> None:
        if not batch.settle(NotKept(why)):
            return
        if self.breaker.failed():
            catalog.BREAKER_OPEN.set(1)
            say("breaker_opened", error=why[:300])
        if self._prober is None or self._prober.done():
            self._prober = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        """While the breaker is not closed: as soon as every partition has a leader, let one try.

        A producer that fails again and again with leaders there may be dead for good (any
        unexpected error in its sender ends it): another one takes its place.
        """
        trials = 0
        while self.breaker.state is not State.CLOSED:
            await asyncio.sleep(PROBE_SECS)
            if self.breaker.state is not State.OPEN or not await self._leaders_known():
                continue
            if trials and trials % TRIALS_MAX == 0:
                await self._renew()
            trials += 1
            self.breaker.probed()

    async def _renew(self) -> None:
        """Put another producer in place of this one; without a connection this one stays."""
        try:
            producer = await self._connected()
        except (KafkaError, TimeoutError, OSError):
            return
        assert self._producer is not None
        old, self._producer = self._producer, producer
        say("producer_renewed")
        await stop(old)

    async def _leaders_known(self) -> bool:
        assert self._producer is not None
        client = self._producer.client
        try:
            async with asyncio.timeout(2.0):
                if not await client.force_metadata_update():
                    return False
        except (KafkaError, TimeoutError, OSError):
            return False
        return all(
            len(client.cluster.available_partitions_for_topic(topic) or ()) == self._partitions
            for topic in self._topics
        )


def _fits(batch: _OpenBatch, output: Output) -> bool:
    added = batch.builder.append(
        timestamp=None, key=output.key, value=output.value, headers=list(output.headers)
    )
    return added is not None
