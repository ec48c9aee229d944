"""Members with stable names: a restart moves no partition; one that will not return is let go."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hookmill import pipeline
from hookmill.kafka.leaving import take_out
from hookmill.kafka.member import Member
from support.brokers import BrokerLog, until

pytestmark = pytest.mark.broker

TOPIC = pipeline.Topic(pipeline.RAW, "ingress", pipeline.KEEP_MS, 1_048_576)
SESSION_SECS = 300.0
"""Longer than the test may take: nothing that happens here has waited for it."""
PATIENCE_SECS = 20.0


class Idle:
    """A worker that says which partition it has, and when it loses it."""

    position, turns, pending_since_ms = 0, 0, None

    def __init__(self, history: list[str], partition: int) -> None:
        self._history = history
        self._partition = partition
        history.append(f"+{partition}")

    async def run(self) -> None:
        """Do nothing for ever."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """The partition is given away."""
        self._history.append(f"-{self._partition}")


class Running:
    """A member at work, and the partitions that it got and lost, in order."""

    def __init__(self, log: BrokerLog, name: str) -> None:
        self.history: list[str] = []
        self._stopping = asyncio.Event()
        self._member = Member(
            log.connection,
            group=log.names.group("dedup"),
            topic=log.names.topic(pipeline.RAW),
            instance_id=name,
            session_timeout_secs=SESSION_SECS,
            make_worker=self._worker,
            partitions=4,
        )
        self._task = asyncio.ensure_future(self._member.run(self._stopping))

    def _worker(self, partition: int, consumer: Any) -> Idle:
        consumer.seek(next(each for each in consumer.assignment() if each.partition == partition),
                      0)  # fmt: skip
        return Idle(self.history, partition)

    @property
    def has(self) -> set[str]:
        """The partitions that it has now."""
        lost = {each[1:]: self.history.count(each) for each in self.history if each[0] == "-"}
        return {each[1:] for each in self.history if each[0] == "+"
                and self.history.count(each) > lost.get(each[1:], 0)}  # fmt: skip

    async def stop(self) -> None:
        """Stop, as on SIGTERM: to the group a member with a name looks just like one that died."""
        self._stopping.set()
        await self._task


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Four partitions of the raw topic."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([TOPIC], partitions=4)
    yield log
    await log.stop()


@pytest.fixture
async def two(log: BrokerLog) -> AsyncIterator[list[Running]]:
    """Two members that have two partitions each; whatever is in the list at the end is stopped."""
    members = [Running(log, "a")]
    await until(lambda: len(members[0].has) == 4, timeout_secs=PATIENCE_SECS)
    members.append(Running(log, "b"))
    await until(lambda: [len(each.has) for each in members] == [2, 2], timeout_secs=PATIENCE_SECS)
    yield members
    for each in members:
        await each.stop()


async def test_a_member_that_comes_back_has_its_partitions_and_no_other_is_asked(
    log: BrokerLog, two: list[Running]
) -> None:
    """There is no rebalance: the other one's workers are those that it had."""
    stays, goes = two
    before, had = list(stays.history), set(goes.has)
    await goes.stop()
    two[1] = back = Running(log, "b")
    await until(lambda: back.has == had, timeout_secs=PATIENCE_SECS)

    assert stays.history == before


async def test_a_member_that_is_taken_out_leaves_its_partitions_to_the_others(
    log: BrokerLog, two: list[Running]
) -> None:
    """At once, long before its session would have timed out."""
    stays, goes = two
    await goes.stop()
    del two[1]
    group = log.names.group("dedup")

    assert await take_out(log.connection, group, "b")
    await until(lambda: stays.has == {"0", "1", "2", "3"}, timeout_secs=PATIENCE_SECS)
    assert not await take_out(log.connection, group, "b")
