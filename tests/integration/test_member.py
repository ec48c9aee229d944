"""What a member of a group does when it cannot go on: it leaves, and says why."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerIdMapping,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
)

from hookmill import pipeline
from hookmill.cli.process import guarded
from hookmill.core.errors import KafkaUnavailable, Stuck, TopicsMissing, UnsafeCluster
from hookmill.kafka.member import Member, PartitionWorker
from hookmill.kafka.safely import OffsetOutOfRange
from hookmill.kafka.topics import admin
from support.brokers import BrokerLog, until

pytestmark = pytest.mark.broker

TOPIC = pipeline.Topic(pipeline.RAW, "ingress", pipeline.KEEP_MS, 1_048_576)
PATIENCE_SECS = 15.0


class Idle:
    """A worker that polls nothing, as one whose consumer hangs."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.turns = 0
        self.pending_since_ms: int | None = None

    async def run(self) -> None:
        """Do nothing for ever."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """There is nothing to let go of."""


class Fenced(Idle):
    """A worker that another owner has fenced."""

    async def run(self) -> None:
        """Say so."""
        raise ProducerFenced


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Two partitions of the raw topic, with nothing in them."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([TOPIC], partitions=2)
    yield log
    await log.stop()


def member(
    log: BrokerLog, make: Callable[[], PartitionWorker], *, partitions: int = 2, **options: Any
) -> Member:
    """A member whose workers are made so; they begin at the start of the log."""

    def make_worker(partition: int, consumer: Any) -> PartitionWorker:
        for each in consumer.assignment():
            consumer.seek(each, 0)
        return make()

    return Member(
        log.connection,
        group=log.names.group("dedup"),
        topic=log.names.topic(pipeline.RAW),
        instance_id=None,
        session_timeout_secs=6,
        make_worker=make_worker,
        partitions=partitions,
        **options,
    )


async def test_a_consumer_that_stands_still_before_records_ends_the_process(log: BrokerLog) -> None:
    """The broker has a record for it, and nobody reads it."""
    await log.produce(pipeline.RAW, 1, b"k", b"v")
    async with asyncio.timeout(PATIENCE_SECS):
        with pytest.raises(Stuck, match=r"partition 1 of .*-webhooks-raw has records.* at 0 for"):
            await member(log, Idle, stuck_secs=1.0).run(asyncio.Event())


@pytest.mark.parametrize("records", [0, 1], ids=["at the end of the log", "holding a record"])
async def test_who_has_nothing_to_fetch_is_not_stuck(log: BrokerLog, records: int) -> None:
    """Nothing may come for long, and a handler may take its time over what has come."""

    def resting() -> Idle:
        worker = Idle()
        worker.pending_since_ms = 1 if records else None
        return worker

    for _ in range(records):
        await log.produce(pipeline.RAW, 0, b"k", b"v")
    stopping = asyncio.Event()
    running = asyncio.ensure_future(member(log, resting, stuck_secs=0.4).run(stopping))
    done, _ = await asyncio.wait({running}, timeout=4)
    stopping.set()

    assert not done
    await running


@pytest.mark.parametrize(
    ("defect", "noticed"),
    [
        (RuntimeError("a defect"), pytest.raises(RuntimeError, match="a defect")),
        (asyncio.CancelledError(), pytest.raises(Stuck, match="cancelled by nobody")),
    ],
    ids=["raises", "looks cancelled"],
)
async def test_a_worker_that_ends_by_a_defect_ends_the_process(
    log: BrokerLog, monkeypatch: pytest.MonkeyPatch, defect: BaseException, noticed: Any
) -> None:
    """A partition without a worker must not go unnoticed."""

    async def fail(_: Member) -> None:
        raise defect

    monkeypatch.setattr(Member, "_confirm_membership", fail)
    async with asyncio.timeout(PATIENCE_SECS):
        with noticed:
            await member(log, Fenced).run(asyncio.Event())


async def test_whatever_the_client_raises_the_worker_begins_again(log: BrokerLog) -> None:
    """Time-outs, lost connections, a fence, an id that the broker has forgotten after idle days, a
    cancellation that is not ours."""
    errors = [
        TimeoutError(), ConnectionError("reset"), KafkaTimeoutError(), InvalidProducerIdMapping(),
        ProducerFenced(), OutOfOrderSequenceNumber(), IllegalOperation("aborting"), OSError("disk"),
        asyncio.CancelledError(),
    ]  # fmt: skip
    left = {0: list(errors), 1: list(errors)}
    made: list[int] = []

    class Failing(Idle):
        """Fails each time it is run, in another way; then works."""

        def __init__(self) -> None:
            super().__init__()
            self.partition = len(made)
            made.append(self.partition)

        async def run(self) -> None:
            """Turn once and fail, until nothing is left to fail of."""
            self.turns += 1
            if left[self.partition]:
                raise left[self.partition].pop(0)
            await asyncio.Event().wait()

    stopping = asyncio.Event()
    running = asyncio.ensure_future(member(log, Failing).run(stopping))
    await until(lambda: not any(left.values()), timeout_secs=2 * PATIENCE_SECS)
    stopping.set()

    await running
    assert made == [0, 1]


async def test_an_error_that_only_a_person_can_mend_ends_the_process(log: BrokerLog) -> None:
    """What hookmill itself found wrong is not tried again; nor is what never gets better."""

    class Refused(Idle):
        """A client that may not do this, whatever the pause."""

        async def run(self) -> None:
            """Fail without having turned."""
            raise TopicAuthorizationFailedError

    class Outside(Idle):
        """The offset is gone."""

        async def run(self) -> None:
            """Say so."""
            raise OffsetOutOfRange("outside the log")

    with pytest.raises(OffsetOutOfRange):
        await asyncio.wait_for(member(log, Outside).run(asyncio.Event()), PATIENCE_SECS)
    with pytest.raises(TopicAuthorizationFailedError):
        await asyncio.wait_for(
            member(log, Refused, failures_max=3).run(asyncio.Event()), PATIENCE_SECS
        )


async def test_more_partitions_than_configured_are_refused(log: BrokerLog) -> None:
    """Somebody changed their number under it: order and state would be lost."""
    async with asyncio.timeout(PATIENCE_SECS):
        with pytest.raises(UnsafeCluster, match="more than 1 partitions"):
            await member(log, Idle, partitions=1).run(asyncio.Event())


async def test_a_topic_deleted_under_it_ends_the_work(log: BrokerLog) -> None:
    """The check finds it gone, twice; the work is cancelled and its clean-up done."""
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def check() -> None:
        async with admin(log.connection) as client:
            if not await client.find([log.names.topic(pipeline.RAW)]):
                raise TopicsMissing("topics missing: webhooks-raw")

    running = asyncio.ensure_future(guarded(work(), check, every_secs=0.1))
    done, _ = await asyncio.wait({running}, timeout=1)
    assert not done
    async with admin(log.connection) as client:
        await client.delete([log.names.topic(pipeline.RAW)])
    with pytest.raises(TopicsMissing, match="webhooks-raw"):
        await asyncio.wait_for(running, PATIENCE_SECS)
    assert cleaned.is_set()


async def test_while_kafka_is_out_the_work_goes_on() -> None:
    """That is no verdict; nor is a topic that a broker does not know for a moment."""
    answers: list[Exception | None] = [
        KafkaUnavailable("out"), TopicsMissing("gone"), None, TopicsMissing("gone"), OSError("out"),
    ]  # fmt: skip
    asked = asyncio.Event()

    async def check() -> None:
        if not answers:
            asked.set()
        elif (answer := answers.pop(0)) is not None:
            raise answer

    async def work() -> None:
        await until(asked.is_set, timeout_secs=PATIENCE_SECS)

    await guarded(work(), check, every_secs=0.01)
