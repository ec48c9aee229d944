"""Appends deliveries to Kafka: one open batch a partition, answered when it is acknowledged.

The batches of all partitions that a broker leads travel in one request, and while it is under way
the next ones fill: one request a broker at a time. Idempotence is off on purpose: order holds all
the same (one batch of a partition is under way at a time), the duplicates that a retry may make are
what dedup is for, and aiokafka's idempotent producer hangs for ever while brokers are down. Its
plain one costs a task, two futures and a time limit for each batch, which was a quarter of all that
a delivery cost; its connections and its metadata are used here without it.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, for_code

from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.kafka.breaker import Breaker, State
from hookmill.kafka.client import ELSEWHERE, NETWORK_TIMEOUT_SECS, UNANSWERED, Connection, close
from hookmill.kafka.lanes import Lane, OpenBatch, Settled
from hookmill.kafka.partitioner import partition_of
from hookmill.kafka.produce_request import Produce, produced
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

LINGER_SECS = 0.003
COMPANY_RECORDS = 16
"""A record lingers for company. Where so many have come there is enough: with 64 connections
13,000 deliveries a second instead of 8,000 at the same CPU, p50 5 ms instead of 8."""
REQUEST_TIMEOUT_MS = 4_000
TRY_SECS_MAX = 4.0
"""How long from its first request on a batch is sent again, where a broker gave no answer, or does
not lead any more."""
AGAIN_SECS = 0.1
PROBE_SECS = 0.25
PROBE_SECS_MAX = 2.0


class Appender:
    """Keeps records in Kafka with `acks=all`. `topics` are the ones it may be asked to write."""

    def __init__(self, connection: Connection, *, topics: Sequence[str], partitions: int) -> None:
        self._connection = connection
        self._topics = topics
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()  # asked once: it is a system call
        self._client: AIOKafkaClient | None = None
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._due: list[Lane] = []
        self._lingering: asyncio.Handle | None = None
        self._gathered = 0
        self._queues: dict[int, list[Lane]] = defaultdict(list)
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._prober: asyncio.Task[None] | None = None
        self.breaker = Breaker()

    async def connect(self) -> None:
        """Connect and resolve the topics' partitions; raises KafkaError while none answers."""
        self._client = await self._connected(NETWORK_TIMEOUT_SECS)
        self.breaker = Breaker(closed=True)
        catalog.BREAKER_OPEN.set(0)

    @property
    def available(self) -> bool:
        """False while Kafka is known to be out: a delivery would be refused anyway."""
        return self.breaker.state is not State.OPEN

    def admits(self) -> bool:
        """Whether a record may be appended now; while the breaker tries, only one may."""
        return self._client is not None and self.breaker.admits()

    async def append(self, topic: str, output: Output, *, deadline: float) -> None:
        """Return when the record is on every in-sync replica.

        `deadline` is on the loop's clock. Raises NotKept when it passed, or Kafka refused.
        """
        done: asyncio.Future[None] = self._loop.create_future()

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
        assert self._client is not None, "append before connect"
        place = (topic, partition_of(output.key, self._partitions))
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(TopicPartition(*place))
        lane.add(output, settled).give_up_at(deadline, self._give_up, self._loop)
        if not lane.is_moving:
            lane.is_moving = True
            self._due.append(lane)
            if self._lingering is None:
                self._lingering = self._loop.call_later(LINGER_SECS, self._send_due)
                self._gathered = 0
        self._gathered += 1
        if self._gathered == COMPANY_RECORDS and self._lingering is not None:
            self._lingering.cancel()
            self._lingering = self._loop.call_soon(self._send_due)

    async def close(self, *, timeout_secs: float) -> None:
        """Flush what is open within the time limit and disconnect."""
        if self._client is None:
            return
        self._send_due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_secs):
                while self._serving:
                    await asyncio.wait(self._serving.values())
        for task in (*self._serving.values(), self._prober):
            if task is not None:
                task.cancel()
        self._serving.clear()
        await close(self._client)

    async def _connected(self, timeout_secs: float) -> AIOKafkaClient:
        client = AIOKafkaClient(
            **self._connection.arguments("hookmill-ingress"),
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(timeout_secs):
                await client.bootstrap()
                await client.set_topics(self._topics)
                while unknown := [
                    topic
                    for topic in self._topics
                    if client.cluster.partitions_for_topic(topic) is None
                ]:
                    if denied := client.cluster.unauthorized_topics & {*unknown}:
                        raise TopicAuthorizationFailedError(min(denied))
                    await asyncio.sleep(AGAIN_SECS)
                    await client.force_metadata_update()
        except BaseException:
            await close(client)
            raise
        return client

    def _send_due(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        due, self._due = self._due, []
        self._queue(due)

    def _queue(self, lanes: Iterable[Lane]) -> None:
        """Let each lane wait for the broker that leads it now; -1 stands for none."""
        assert self._client is not None
        for lane in lanes:
            leader = self._client.cluster.leader_for_partition(lane.at)
            leader = -1 if leader is None else leader
            self._queues[leader].append(lane)
            if leader not in self._serving:
                self._serving[leader] = asyncio.ensure_future(self._serve(leader))

    async def _serve(self, leader: int) -> None:
        """Send the next batch of each lane that waits for the leader, until none has any."""
        while lanes := self._queues.pop(leader, None):
            batches: dict[Lane, OpenBatch] = {}
            for lane in lanes:
                batch = lane.take()
                if batch is None:
                    lane.is_moving = False
                else:
                    batches[lane] = batch
            if not batches:
                continue
            try:
                await self._send(leader, batches)
            except Exception as error:  # a defect must not leave a delivery without an answer
                for batch in batches.values():
                    self._fail(batch, f"{type(error).__name__}: {error}")
            self._queue(batches)
        del self._serving[leader]

    async def _send(self, leader: int, batches: Mapping[Lane, OpenBatch]) -> None:
        """Send one batch of each lane; what may go better a moment later is put back.

        Waiters hear at their deadline, the lane waits for the outcome.
        """
        now = self._loop.time()
        data = {lane.at: batch.data(now) for lane, batch in batches.items()}
        codes, why = await self._asked(leader, data)
        waits, now = False, self._loop.time()
        for lane, batch in batches.items():
            code = codes.get(lane.at)
            may_pass = code is None or code in ELSEWHERE
            if code == 0:
                self._succeed(batch)
            elif may_pass and now < batch.sent_at + TRY_SECS_MAX:
                lane.put_back(batch)
                waits = True
            else:
                self._fail(batch, why if code is None else for_code(code).__name__)
        if waits:
            await self._look_around()

    async def _asked(
        self, leader: int, batches: Mapping[TopicPartition, bytearray]
    ) -> tuple[dict[TopicPartition, int], str]:
        """The leader's code for each batch, 0 where it is kept; or none, and why."""
        if leader < 0:
            return {}, "no leader"
        assert self._client is not None
        began = time.perf_counter()
        request = Produce(None, batches, timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            answer = await self._client.send(leader, request)
        except UNANSWERED as error:
            return {}, f"{type(error).__name__}: {error}"
        catalog.APPEND_SECONDS.observe(time.perf_counter() - began)
        return {at: code for at, code, _ in produced(answer)}, "not answered"

    async def _look_around(self) -> None:
        """Find out who leads what now, and give it a moment."""
        assert self._client is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_SECS_MAX):
                await self._client.force_metadata_update()
        await asyncio.sleep(AGAIN_SECS)

    def _give_up(self, batch: OpenBatch) -> None:
        self._fail(batch, "no acknowledgement in time")

    def _succeed(self, batch: OpenBatch) -> None:
        if batch.settle(None) and self.breaker.succeeded():
            catalog.BREAKER_OPEN.set(0)
            say("breaker_closed")

    def _fail(self, batch: OpenBatch, why: str) -> None:
        if not batch.settle(NotKept(why)):
            return
        if self.breaker.failed():
            catalog.BREAKER_OPEN.set(1)
            say("breaker_opened", error=why[:300])
        if self._prober is None or self._prober.done():
            self._prober = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        """While the breaker is not closed: as soon as every partition has a leader, let one try."""
        while self.breaker.state is not State.CLOSED:
            await asyncio.sleep(PROBE_SECS)
            if self.breaker.state is State.OPEN and await self._leaders_known():
                self.breaker.probed()

    async def _leaders_known(self) -> bool:
        assert self._client is not None
        try:
            async with asyncio.timeout(PROBE_SECS_MAX):
                if not await self._client.force_metadata_update():
                    return False
        except TimeoutError:  # or the client's own task for that has ended: it would wait for good
            if not await self._renew():
                return False
        cluster = self._client.cluster
        return all(
            len(cluster.available_partitions_for_topic(topic) or ()) == self._partitions
            for topic in self._topics
        )

    async def _renew(self) -> bool:
        """Put another client in place of this one; False if it cannot connect: this one stays."""
        try:
            client = await self._connected(PROBE_SECS_MAX)
        except (KafkaError, TimeoutError, OSError):
            return False
        assert self._client is not None
        old, self._client = self._client, client
        say("client_renewed")
        await close(old)
        return True
