"""Transactions of one owner, as Kafka 4 has them (KIP-890): write, commit offsets, end; no more.

The broker itself adds a partition to the transaction with the first batch that comes for it, and
each transaction has an epoch of its own: no marker of one can ever end another, as it can with
clients that speak the protocol before (aiokafka does: two round trips more, and an epoch that
stays). Connections, security, metadata and the format of batches are aiokafka's.

What becomes of an error is simple, because every user of this begins again with a fence at any
doubt: what a broker or coordinator may just not be ready for is sent again as it is, which is safe
(a batch has its sequence number), until the time for it is over; all else is raised.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.transaction import InitProducerIdRequest

from hookmill.core.errors import UnsafeCluster
from hookmill.core.record import Output
from hookmill.kafka.client import (
    CLOSE_TIMEOUT_SECS,
    ELSEWHERE,
    NETWORK_TIMEOUT_SECS,
    UNANSWERED,
    Connection,
    close,
)
from hookmill.kafka.packing import Packed
from hookmill.kafka.produce_request import Produce, produced
from hookmill.kafka.producing import BATCH_BYTES_MAX
from hookmill.kafka.requests import (
    AuthorizedMetadataRequest,
    VersionsRequest,
    finalized_features,
)
from hookmill.kafka.transaction_requests import Commit, DescribeTransaction, TransactionalOffsets

TRANSACTION_TIMEOUT_MS = 15_000
"""After this the cluster aborts a transaction that nobody ends; its readers wait until then."""
OWNED_TIMEOUT_MS = 60_000
"""The same for a partition's: its next owner ends it at once, and while it has this one the
cluster should not decide before it was asked again (`_settle`)."""
COMMIT_TIMEOUT_SECS = 20.0
AGAIN_SECS = 0.01
"""Before a request that came too early goes out again: mostly the markers of the transaction before
are not yet written."""
RENEW_SECS = 0.1
"""Before it goes elsewhere."""
FEATURE, LEVEL = "transaction.version", 2

_FENCED = frozenset({47, 90})
"""INVALID_PRODUCER_EPOCH, PRODUCER_FENCED."""
_UNKNOWN_ID = 105
"""TRANSACTIONAL_ID_NOT_FOUND."""
_EARLY = frozenset({14, 51})
"""COORDINATOR_LOAD_IN_PROGRESS, CONCURRENT_TRANSACTIONS: the same place, a moment later."""


class TransactionalProducer:
    """Commits transactions under its id, once it has fenced whoever had the id before.

    After any error it commits nothing until it has fenced anew: what became of its last transaction
    is known then.
    """

    def __init__(
        self,
        connection: Connection,
        transactional_id: str,
        *,
        client_id: str,
        batch_bytes_max: int = BATCH_BYTES_MAX,
        timeout_ms: int = TRANSACTION_TIMEOUT_MS,
    ) -> None:
        self._id = transactional_id
        self._timeout_ms = timeout_ms
        self._batch_bytes_max = batch_bytes_max
        self._arguments = connection.arguments(client_id)
        self._client: Any = None
        self._coordinators: dict[Any, int] = {}
        self._producer = (-1, -1)
        self._in_doubt = True
        self._ends = False

    async def fence(self) -> None:
        """Connect anew, settle the last transaction, and take the id over: who had it can commit
        nothing any more.

        Raises UnsafeCluster where the cluster has not these transactions, KafkaError, TimeoutError.
        """
        await self._disconnect()
        self._client = AIOKafkaClient(
            **self._arguments, request_timeout_ms=int(COMMIT_TIMEOUT_SECS * 1000)
        )
        self._coordinators.clear()
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await self._client.bootstrap()
            await self._check_cluster()
            await self._settle()
            await self._until_led()
            request = InitProducerIdRequest(self._id, self._timeout_ms)
            answer = await self._ask(CoordinationType.TRANSACTION, self._id, request, _own_code)
        self._producer = (answer.producer_id, answer.producer_epoch)
        self._in_doubt = False

    def pack(self, outputs: Iterable[Output] = ()) -> Packed:
        """The next transaction's outputs: these, and what is added to it."""
        packed = Packed(self._producer, batch_bytes_max=self._batch_bytes_max)
        packed.add(outputs)
        return packed

    async def commit(
        self,
        packed: Packed,
        partition: int,
        name: Callable[[str], str],
        *,
        group: str = "",
        offsets: Mapping[TopicPartition, int] = {},
    ) -> dict[str, int]:
        """Write what was packed since the commit before to that partition of its topics, and the
        group's offsets, or nothing.

        `name` maps a topic of ours to its name in the cluster. Returns, by topic, the offset of the
        last record written. Raises ProducerFenced where another has the id now, KafkaError and
        TimeoutError at any doubt.
        """
        if self._in_doubt:
            raise IllegalOperation("a producer in doubt commits nothing: fence first")
        self._in_doubt = True
        async with asyncio.timeout(COMMIT_TIMEOUT_SECS):
            written = await self._write(packed, partition, name)
            if offsets:
                request = TransactionalOffsets(
                    self._id, self._producer, group, list(offsets.items())
                )
                await self._ask(CoordinationType.GROUP, group, request, _codes_of_each)
            self._ends = True
            await self._end()
        self._ends = self._in_doubt = False
        return written

    async def stop(self) -> None:
        """Disconnect within a time limit, whatever state it is in; the last transaction is settled
        before, where that can be done soon."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECS):
                    await self._settle()
        finally:
            await self._disconnect()

    async def _settle(self) -> None:
        """Ask for the end of the last transaction again, if that was asked for and not answered.

        A coordinator that crashed may have decided what its successor has not heard of, and tell
        partitions of it when it comes back (Apache Kafka 4.3.1, two of three brokers killed: it
        reads its log beyond the high watermark). A successor that is asked for the same decides the
        same; one that is asked for a fence aborts the rest, and half a transaction is committed.

        Returns once a coordinator has answered: what it refuses was decided before.
        """
        if self._ends:
            await self._until_led()
            with contextlib.suppress(KafkaError):
                await self._end()
            self._ends = False

    async def _until_led(self) -> None:
        """Wait until every partition of the transaction that is open under the id has a leader.

        A coordinator that ends a transaction takes a partition without a leader for one that was
        deleted, and never tells it (Apache Kafka 4.3.1, `TransactionMarkerChannelManager`: "likely
        deleted already and hence can be skipped"). The records stay open there, and the end of the
        next transaction is taken for theirs too: what was aborted is committed with it.
        """
        while open_ones := await self._open_partitions():
            topics = sorted({at.topic for at in open_ones})
            try:
                seen = await self._client.send(
                    self._coordinators[CoordinationType.TRANSACTION],
                    AuthorizedMetadataRequest(topics),
                )
            except UNANSWERED:
                self._coordinators.clear()
            else:
                led = {
                    TopicPartition(topic, partition)
                    for _, topic, _, partitions, _ in seen.topics
                    for _, partition, leader, *_ in partitions
                    if leader >= 0
                }
                if open_ones <= led:
                    return
            await asyncio.sleep(RENEW_SECS)

    async def _open_partitions(self) -> set[TopicPartition]:
        """Those of the transaction that is open under the id, whoever began it."""
        request = DescribeTransaction(self._id)
        answer = await self._ask(CoordinationType.TRANSACTION, self._id, request, _codes_of_open)
        return {
            TopicPartition(topic, partition)
            for *_, topics, _ in answer.transactions
            for topic, partitions, _ in topics
            for partition in partitions
        }

    async def _disconnect(self) -> None:
        self._in_doubt = True
        if self._client is not None:
            await close(self._client)

    async def _check_cluster(self) -> None:
        answer = await self._client.send(self._client.get_random_node(), VersionsRequest())
        level = finalized_features(answer.tags).get(FEATURE, 0)
        if level < LEVEL:
            raise UnsafeCluster(
                f"the cluster's {FEATURE} is {level}: its transactions are not safe; raise it with "
                f"`kafka-features.sh --bootstrap-server … upgrade --feature {FEATURE}={LEVEL}`"
            )

    async def _end(self) -> None:
        """Commit; the next transaction has another epoch, and now and then another id."""
        request = Commit(self._id, self._producer)
        answer = await self._ask(CoordinationType.TRANSACTION, self._id, request, _own_code)
        self._producer = (answer.producer_id, answer.producer_epoch)

    async def _write(
        self, packed: Packed, partition: int, name: Callable[[str], str]
    ) -> dict[str, int]:
        """Batch after batch of each topic, those of all topics together."""
        left = {
            topic: (TopicPartition(name(topic), partition), deque(batches))
            for topic, batches in packed.batches()
        }
        last = dict.fromkeys(left, -1)
        while left:
            begins = await self._produce({at: batches[0].data for at, batches in left.values()})
            for topic, (at, batches) in list(left.items()):
                last[topic] = begins[at] + batches.popleft().count - 1
                if not batches:
                    del left[topic]
        return last

    async def _produce(
        self, batches: Mapping[TopicPartition, bytearray]
    ) -> dict[TopicPartition, int]:
        """The offset at which each batch begins, once it is on every in-sync replica.

        One broker after the other: two that add partitions to a transaction at the same moment get
        into each other's way, and one of them then waits for longer.
        """
        cluster = self._client.cluster
        waiting, offsets = dict(batches), {}
        while waiting:
            by_leader: dict[int | None, dict[TopicPartition, bytearray]] = defaultdict(dict)
            for at, records in waiting.items():
                if cluster.partitions_for_topic(at.topic) is None:
                    await self._client.add_topic(at.topic)
                if at.topic in cluster.unauthorized_topics:
                    raise TopicAuthorizationFailedError(at.topic)
                by_leader[cluster.leader_for_partition(at)][at] = records
            codes = set()
            for leader, its in by_leader.items():
                for at, code, offset in await self._sent(leader, its):
                    if code:
                        codes.add(code)
                    else:
                        offsets[at] = offset
                        del waiting[at]
            if waiting:
                await self._before_next(codes, self._client.force_metadata_update)
        return offsets

    async def _sent(
        self, leader: int | None, batches: Mapping[TopicPartition, bytearray]
    ) -> list[tuple[TopicPartition, int, int]]:
        """What the leader said of each: an error's code or 0, and the offset."""
        if leader is None or leader < 0:
            return []
        request = Produce(self._id, batches, timeout_ms=int(COMMIT_TIMEOUT_SECS * 1000))
        try:
            answer = await self._client.send(leader, request)
        except UNANSWERED:
            return []
        return produced(answer)

    async def _ask(
        self, kind: Any, key: str, request: Any, codes_of: Callable[[Any], Iterable[int]]
    ) -> Any:
        """The coordinator's answer without any error in it."""

        async def forget() -> None:
            self._coordinators.pop(kind, None)

        while True:
            codes: set[int] = set()
            try:
                if kind not in self._coordinators:
                    self._coordinators[kind] = await self._client.coordinator_lookup(kind, key)
                answer = await self._client.send(self._coordinators[kind], request)
            except UNANSWERED:
                await self._client.force_metadata_update()
            else:
                codes = {code for code in codes_of(answer) if code}
                if not codes:
                    return answer
            await self._before_next(codes, forget)

    async def _before_next(self, codes: set[int], renew: Callable[[], Awaitable[Any]]) -> None:
        """Wait, and find out who is to be asked now, where that helps; raise what will not pass."""
        if codes & _FENCED:
            raise ProducerFenced
        if failed := codes - _EARLY - ELSEWHERE:
            raise for_code(min(failed))(self._id)
        if codes and codes <= _EARLY:
            await asyncio.sleep(AGAIN_SECS)
            return
        await renew()
        await asyncio.sleep(RENEW_SECS)


def _own_code(answer: Any) -> tuple[int]:
    return (answer.error_code,)


def _codes_of_each(answer: Any) -> list[int]:
    return [code for _, partitions, _ in answer.topics for _, code, _ in partitions]


def _codes_of_open(answer: Any) -> list[int]:
    return [code for code, *_ in answer.transactions if code != _UNKNOWN_ID]
