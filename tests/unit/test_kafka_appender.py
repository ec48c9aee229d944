"""The appender's requests: what travels together, what is sent again, who is told what and when."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.record.default_records import DefaultRecordBatch

from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.kafka import appender as module
from hookmill.kafka.appender import Appender
from hookmill.kafka.breaker import State
from hookmill.kafka.client import Connection
from hookmill.kafka.partitioner import partition_of

TOPIC, PARTITIONS = "raw", 4
MOVED, TOO_LARGE = 6, 10
"""NOT_LEADER_OR_FOLLOWER, MESSAGE_TOO_LARGE."""
SECS = 5.0


class Cluster:
    """A client and its brokers. `script` has for each request to come a code for all of its
    batches, an exception, or what is awaited before the answer."""

    def __init__(self) -> None:
        self.cluster = self
        self.leaders = dict.fromkeys(range(PARTITIONS), 1)
        self.script: deque[Any] = deque()
        self.sent: list[tuple[int, dict[int, list[bytes]]]] = []
        self.under_way = self.most_under_way = self.looked_around = 0
        self.unauthorized_topics: set[str] = set()
        self.closed = False

    async def bootstrap(self) -> None:
        """Connected."""

    async def close(self) -> None:
        """Gone."""
        self.closed = True

    async def set_topics(self, topics: Any) -> None:
        """Known."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        """As many as there are."""
        return {*self.leaders}

    def available_partitions_for_topic(self, topic: str) -> set[int]:
        """Those that have a leader."""
        return {each for each, leader in self.leaders.items() if leader >= 0}

    def leader_for_partition(self, at: TopicPartition) -> int:
        """Of the partition."""
        return self.leaders[at.partition]

    async def force_metadata_update(self) -> bool:
        """Counted."""
        self.looked_around += 1
        return True

    async def send(self, leader: int, request: Any) -> Any:
        """What the script says next; all is well at its end."""
        self.sent.append(
            (leader, {at.partition: values(data) for at, data in request._batches.items()})
        )
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        said = self.script.popleft() if self.script else 0
        if isinstance(said, asyncio.Event):
            await said.wait()
            said = 0
        self.under_way -= 1
        if isinstance(said, Exception):
            raise said
        its = [] if said == "nothing" else [(at.partition, said, 7) for at in request._batches]
        return SimpleNamespace(topics=[(TOPIC, its, {})])


def values(data: bytearray) -> list[bytes]:
    """The values of a batch's records, whose checksum must be right."""
    batch = DefaultRecordBatch(bytes(data))
    assert batch.validate_crc()
    return [record.value for record in batch]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Nothing is waited for longer than it must."""
    cluster = Cluster()
    monkeypatch.setattr(module, "AIOKafkaClient", lambda **_: cluster)
    monkeypatch.setattr(module, "AGAIN_SECS", 0.0)
    monkeypatch.setattr(module, "PROBE_SECS", 0.0)
    return cluster


@pytest.fixture
async def appender(cluster: Cluster) -> AsyncIterator[Appender]:
    """Connected."""
    appender = Appender(
        Connection(("unused:1",), {}), topics=[TOPIC], partitions=PARTITIONS
    )  # fmt: skip
    await appender.connect()
    yield appender
    await appender.close(timeout_secs=SECS)


def key(partition: int) -> bytes:
    """One that belongs there."""
    return next(
        each for each in (b"%d" % n for n in range(1_000))
        if partition_of(each, PARTITIONS) == partition
    )  # fmt: skip


def append(
    appender: Appender, value: bytes, *, partition: int = 0, secs: float = SECS
) -> asyncio.Future[None]:
    """On its way."""
    deadline = asyncio.get_running_loop().time() + secs
    return asyncio.ensure_future(
        appender.append(TOPIC, Output(TOPIC, key(partition), value), deadline=deadline)
    )


async def until(condition: Any) -> None:
    """Wait for it, within a limit."""
    async with asyncio.timeout(SECS):
        while not condition():
            await asyncio.sleep(0)


async def test_what_comes_together_travels_in_one_request_a_broker(
    appender: Appender, cluster: Cluster
) -> None:
    """The batches of every partition that it leads."""
    cluster.leaders |= {2: 9}
    await asyncio.gather(
        append(appender, b"a", partition=0),
        append(appender, b"b", partition=1),
        append(appender, b"c", partition=2),
        append(appender, b"d", partition=0),
    )

    assert cluster.sent == [(1, {0: [b"a", b"d"], 1: [b"b"]}), (9, {2: [b"c"]})]


async def test_who_has_company_does_not_linger(
    appender: Appender, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in that turn of the loop goes too; the next ones linger anew."""
    monkeypatch.setattr(module, "LINGER_SECS", 10 * SECS)
    texts = [b"%d" % number for number in range(module.COMPANY_RECORDS + 2)]
    first = [append(appender, each, partition=n % 2) for n, each in enumerate(texts)]
    await asyncio.gather(*first)
    assert cluster.sent == [(1, {0: texts[::2], 1: texts[1::2]})]

    few = [append(appender, each) for each in texts[1 : module.COMPANY_RECORDS]]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(cluster.sent) == 1
    assert not any(each.done() for each in few)

    await asyncio.gather(append(appender, texts[0]), *few)
    assert cluster.sent[1:] == [(1, {0: [*texts[1 : module.COMPANY_RECORDS], texts[0]]})]


async def test_what_comes_meanwhile_waits_for_the_answer(
    appender: Appender, cluster: Cluster
) -> None:
    """One request a broker at a time, of whichever partition: then all that came goes together."""
    answered = asyncio.Event()
    cluster.script.append(answered)
    first = append(appender, b"1")
    await until(lambda: cluster.under_way == 1)
    later = [append(appender, b"2"), append(appender, b"x", partition=1), append(appender, b"3")]
    await asyncio.sleep(3 * module.LINGER_SECS)
    assert not first.done()

    answered.set()
    await asyncio.gather(first, *later)

    assert cluster.sent == [(1, {0: [b"1"]}), (1, {0: [b"2", b"3"], 1: [b"x"]})]
    assert cluster.most_under_way == 1


async def test_a_broker_that_does_not_answer_holds_up_no_other(
    appender: Appender, cluster: Cluster
) -> None:
    """Each has a request of its own under way."""
    cluster.leaders |= {1: 9}
    stuck = asyncio.Event()
    cluster.script.append(stuck)
    held = append(appender, b"held", partition=0)
    await until(lambda: cluster.under_way == 1)

    await append(appender, b"through", partition=1)

    assert not held.done()
    stuck.set()
    await held


@pytest.mark.parametrize(
    "said", [MOVED, KafkaConnectionError("gone"), OSError("reset"), "nothing"], ids=str
)
async def test_it_is_sent_again_where_that_may_help(
    appender: Appender, cluster: Cluster, said: Any
) -> None:
    """To whoever leads by then, as it was, and before what comes after it."""
    cluster.script.append(said)
    first = append(appender, b"1")
    await until(lambda: len(cluster.sent) == 1)
    cluster.leaders[0] = 9
    second = append(appender, b"2")
    await asyncio.gather(first, second)

    assert cluster.sent[0] == (1, {0: [b"1"]})
    assert [value for leader, batches in cluster.sent[1:] for value in batches[0]] == [b"1", b"2"]
    assert {leader for leader, _ in cluster.sent[1:]} == {9}
    assert cluster.looked_around >= 1
    assert appender.breaker.state is State.CLOSED


async def test_without_a_leader_it_waits_for_one(appender: Appender, cluster: Cluster) -> None:
    """Nobody is asked meanwhile."""
    cluster.leaders[0] = -1
    waiting = append(appender, b"1")
    await until(lambda: cluster.looked_around >= 2)
    assert cluster.sent == []

    cluster.leaders[0] = 1
    await waiting

    assert cluster.sent == [(1, {0: [b"1"]})]


@pytest.mark.parametrize(
    ("said", "why"),
    [(KafkaConnectionError("gone"), "KafkaConnectionError"), (MOVED, "NotLeaderForPartition"),
     ("nothing", "not answered")],
    ids=str,
)  # fmt: skip
async def test_it_is_not_tried_for_ever(
    appender: Appender, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, said: Any, why: str
) -> None:
    """Then it is said why, and nothing more is taken."""
    monkeypatch.setattr(module, "TRY_SECS_MAX", 0.0)
    monkeypatch.setattr(module, "PROBE_SECS", SECS)
    cluster.script.append(said)

    with pytest.raises(NotKept, match=why):
        await append(appender, b"1")

    assert len(cluster.sent) == 1
    assert not appender.admits()


@pytest.mark.parametrize(
    ("said", "why"), [(TOO_LARGE, "MessageSizeTooLarge"), (ValueError("odd"), "ValueError: odd")]
)
async def test_what_will_not_pass_is_told_at_once(
    appender: Appender, cluster: Cluster, said: Any, why: str
) -> None:
    """A defect of our own too; what comes after it goes on."""
    cluster.script.append(said)
    with pytest.raises(NotKept, match=why):
        await append(appender, b"1")
    await append(appender, b"2")

    assert [batches for _, batches in cluster.sent] == [{0: [b"1"]}, {0: [b"2"]}]
    assert appender.breaker.state is State.CLOSED


async def test_at_the_deadline_it_is_told_and_what_was_not_sent_never_is(
    appender: Appender, cluster: Cluster
) -> None:
    """The batch under way keeps its place until its outcome is known."""
    stuck = asyncio.Event()
    cluster.script.append(stuck)
    under_way = append(appender, b"under way", secs=0.02)
    await until(lambda: cluster.under_way == 1)
    behind = append(appender, b"behind", secs=0.03)

    for each in (under_way, behind):
        with pytest.raises(NotKept, match="no acknowledgement in time"):
            await each
    assert appender.breaker.state is not State.CLOSED
    after = append(appender, b"after")
    await asyncio.sleep(3 * module.LINGER_SECS)
    assert len(cluster.sent) == 1
    stuck.set()
    await after

    assert [batches for _, batches in cluster.sent] == [{0: [b"under way"]}, {0: [b"after"]}]


async def test_a_full_batch_goes_before_the_one_behind_it(
    appender: Appender, cluster: Cluster
) -> None:
    """One of a partition at a time, in order."""
    large = [b"%d" % number * 100_000 for number in range(5)]
    await asyncio.gather(*(append(appender, value) for value in large))

    assert [batches[0] for _, batches in cluster.sent] == [large[:2], large[2:4], large[4:]]


async def test_closing_sends_what_waits(appender: Appender, cluster: Cluster) -> None:
    """At once, and then it is disconnected."""
    waiting = append(appender, b"1")
    await asyncio.sleep(0)
    await appender.close(timeout_secs=SECS)

    await waiting
    assert cluster.closed


async def test_closing_waits_no_longer_than_it_may(appender: Appender, cluster: Cluster) -> None:
    """For a broker that never answers."""
    cluster.script.append(asyncio.Event())
    waiting = append(appender, b"1", secs=0.05)
    await until(lambda: cluster.under_way == 1)

    await appender.close(timeout_secs=0.01)

    assert cluster.closed
    with pytest.raises(NotKept):
        await waiting


async def test_an_appender_that_never_connected_can_be_closed(cluster: Cluster) -> None:
    """Nothing was sent, nothing is there to be closed."""
    appender = Appender(Connection(("unused:1",), {}), topics=[TOPIC], partitions=PARTITIONS)
    assert not appender.admits()

    await appender.close(timeout_secs=SECS)

    assert not cluster.closed
