"""What a transactional producer makes of a broker's answers, which are played from a list."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.struct import Struct

from hookmill.core.errors import UnsafeCluster
from hookmill.core.record import Output
from hookmill.kafka import transaction
from hookmill.kafka.client import Connection
from hookmill.kafka.produce_request import Produce
from hookmill.kafka.transaction import TransactionalProducer

LEADER, COORDINATOR = 1, 2
INPUT = TopicPartition("ns-in", 0)
PRODUCER_AT, EPOCH_AT, SEQUENCE_AT = slice(43, 51), slice(51, 53), slice(53, 57)
"""In the header of a batch (https://kafka.apache.org/documentation/#recordbatch)."""

FENCED = (47, 90)
EARLY, MOVED, DENIED = 51, 6, 29
NOT_COORDINATOR = 16
UNKNOWN_ID = 105


class Cluster:
    """One broker leads all, and answers what the test says for the next request of each kind."""

    def __init__(self) -> None:
        self.cluster = self
        self.level = 2
        self.ended = (7, 1)
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, int, Any]] = []
        self.renewed = self.looked_up = 0
        self.unauthorized_topics: set[str] = set()
        self.open: list[tuple[str, list[int], Any]] = []
        self.leaders: list[int] = []

    async def bootstrap(self) -> None:
        """Connected."""

    async def close(self) -> None:
        """Gone."""

    def get_random_node(self) -> int:
        """Any."""
        return LEADER

    def partitions_for_topic(self, topic: str) -> set[int]:
        """One."""
        return {0}

    def leader_for_partition(self, at: TopicPartition) -> int:
        """Of all."""
        return LEADER

    async def force_metadata_update(self) -> bool:
        """Counted."""
        self.renewed += 1
        return True

    async def coordinator_lookup(self, kind: Any, key: str) -> int:
        """Counted."""
        self.looked_up += 1
        return COORDINATOR

    async def send(self, node: int, request: Any) -> Any:
        """The next answer for that kind of request: a code, an exception; well if there is none."""
        kind = type(request).__name__
        self.asked.append((kind, node, request))
        waiting = self.answers.get(kind)
        said = waiting.pop(0) if waiting else 0
        if isinstance(said, Exception):
            raise said
        return self.answer(kind, request, said)

    def answer(self, kind: str, request: Any, code: int) -> Any:
        """As the broker's, as far as anybody looks at it."""
        match kind:
            case "VersionsRequest":
                name = b"\x14transaction.version"
                return SimpleNamespace(
                    tags={2: b"\x02" + name + b"\x00%c\x00\x00\x00" % self.level}
                )
            case "InitProducerIdRequest":
                return SimpleNamespace(error_code=code, producer_id=7, producer_epoch=0)
            case "Produce":
                topics = [(at.topic, [(0, code, 100)], {}) for at in request._batches]
                return SimpleNamespace(topics=topics)
            case "DescribeTransaction":
                its = (code, "id", "Ongoing", 60_000, 0, 7, 0, self.open, {})
                return SimpleNamespace(transactions=[its])
            case "AuthorizedMetadataRequest":
                partition = (0, 0, self.leaders.pop(0), 0, [], [], [])
                topics = [(0, topic, False, [partition], 0) for topic, _, _ in self.open]
                return SimpleNamespace(topics=topics)
            case "TransactionalOffsets":
                return SimpleNamespace(topics=[("ns-in", [(0, code, {})], {})])
            case _:
                its_id, its_epoch = self.ended
                return SimpleNamespace(
                    error_code=code, producer_id=its_id, producer_epoch=its_epoch
                )

    def batches(self) -> list[bytes]:
        """Every batch that was sent, in order."""
        return [
            bytes(batch)
            for kind, _, request in self.asked
            if kind == "Produce"
            for batch in request._batches.values()
        ]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Nothing is waited for."""
    cluster = Cluster()
    monkeypatch.setattr(transaction, "AIOKafkaClient", lambda **_: cluster)
    monkeypatch.setattr(transaction, "AGAIN_SECS", 0.0)
    monkeypatch.setattr(transaction, "RENEW_SECS", 0.0)
    return cluster


async def started(cluster: Cluster) -> TransactionalProducer:
    """A producer that has fenced."""
    connection = Connection(("unused:1",), {"security_protocol": "PLAINTEXT"})
    producer = TransactionalProducer(connection, "id", client_id="test", batch_bytes_max=300)
    await producer.fence()
    return producer


async def commit(producer: TransactionalProducer, *, records: int = 1) -> dict[str, int]:
    """One transaction of so many records, and an offset."""
    outputs = [Output("out", b"key", b"v" * 100) for _ in range(records)]
    return await producer.commit(
        producer.pack(outputs), 0, lambda topic: f"ns-{topic}", group="group", offsets={INPUT: 5}
    )


async def test_a_transaction_is_three_requests(cluster: Cluster) -> None:
    """The leader's, the group coordinator's, the transaction coordinator's; each found once."""
    producer = await started(cluster)
    cluster.asked.clear()

    assert await commit(producer) == {"out": 100}
    assert await commit(producer) == {"out": 100}

    assert [(kind, node) for kind, node, _ in cluster.asked] == [
        ("Produce", LEADER),
        ("TransactionalOffsets", COORDINATOR),
        ("Commit", COORDINATOR),
    ] * 2
    assert cluster.looked_up == 2


async def test_each_transaction_has_the_epoch_that_the_one_before_was_answered(
    cluster: Cluster,
) -> None:
    """Now and then another producer id too; sequence numbers begin anew."""
    producer = await started(cluster)
    cluster.ended = (9, 3)
    await commit(producer)
    await commit(producer)

    first, second = cluster.batches()
    assert (int.from_bytes(first[PRODUCER_AT]), int.from_bytes(first[EPOCH_AT])) == (7, 0)
    assert (int.from_bytes(second[PRODUCER_AT]), int.from_bytes(second[EPOCH_AT])) == (9, 3)
    assert first[SEQUENCE_AT] == second[SEQUENCE_AT] == bytes(4)


async def test_what_fills_several_batches_has_one_sequence(cluster: Cluster) -> None:
    """Each batch is sent when the one before is acknowledged."""
    producer = await started(cluster)

    assert await commit(producer, records=5) == {"out": 100}
    assert [int.from_bytes(each[SEQUENCE_AT]) for each in cluster.batches()] == [0, 2, 4]


@pytest.mark.parametrize(
    "answers",
    [
        {"Produce": [MOVED, KafkaConnectionError(), OSError(), EARLY]},
        {"TransactionalOffsets": [NOT_COORDINATOR, KafkaConnectionError(), EARLY]},
        {"Commit": [EARLY, NOT_COORDINATOR, KafkaConnectionError()]},
        {"InitProducerIdRequest": [EARLY, NOT_COORDINATOR, KafkaConnectionError()]},
    ],
    ids=lambda answers: next(iter(answers)),
)
async def test_what_a_broker_is_not_ready_for_is_sent_again_as_it_was(
    cluster: Cluster, answers: dict[str, list[Any]]
) -> None:
    """The same bytes, so that a batch which did arrive is known again by its number."""
    (kind,) = answers
    cluster.answers = {kind: list(answers[kind])}
    producer = await started(cluster)

    assert await commit(producer) == {"out": 100}
    sent = [each for each in cluster.asked if each[0] == kind]
    assert len(sent) == len(answers[kind]) + 1
    assert len(set(cluster.batches())) == 1
    assert cluster.renewed


@pytest.mark.parametrize("code", FENCED)
@pytest.mark.parametrize("kind", ["Produce", "TransactionalOffsets", "Commit"])
async def test_one_who_was_fenced_is_told_so(cluster: Cluster, kind: str, code: int) -> None:
    """At whatever step it finds out."""
    producer = await started(cluster)
    cluster.answers = {kind: [code]}

    with pytest.raises(ProducerFenced):
        await commit(producer)


@pytest.mark.parametrize("kind", ["Produce", "TransactionalOffsets", "Commit"])
async def test_after_an_error_nothing_is_committed_any_more(cluster: Cluster, kind: str) -> None:
    """What became of the transaction only the next fence can know."""
    producer = await started(cluster)
    cluster.answers = {kind: [DENIED]}
    with pytest.raises(TopicAuthorizationFailedError):
        await commit(producer)

    sent = len(cluster.asked)
    with pytest.raises(IllegalOperation):
        await commit(producer)
    assert len(cluster.asked) == sent


async def test_a_topic_that_may_not_be_written_is_named(cluster: Cluster) -> None:
    """At once: its metadata says so, and no leader would ever be told."""
    producer = await started(cluster)
    cluster.unauthorized_topics = {"ns-out"}

    with pytest.raises(TopicAuthorizationFailedError, match="ns-out"):
        await commit(producer)


async def test_before_the_fence_and_after_the_end_nothing_is_committed(cluster: Cluster) -> None:
    """It has no epoch."""
    connection = Connection(("unused:1",), {"security_protocol": "PLAINTEXT"})
    producer = TransactionalProducer(connection, "id", client_id="test")
    with pytest.raises(IllegalOperation):
        await commit(producer)
    await producer.fence()
    await producer.stop()
    with pytest.raises(IllegalOperation):
        await commit(producer)


async def test_an_open_transaction_is_ended_once_all_of_its_partitions_have_a_leader(
    cluster: Cluster,
) -> None:
    """One without a leader would never hear of the end, and take the next transaction's for it.
    The coordinator says what it sees, for it is the one that must see the leaders."""
    cluster.open = [("ns-out", [0], {}), ("ns-other", [0], {})]
    cluster.leaders = [-1, LEADER]
    cluster.answers = {"AuthorizedMetadataRequest": [KafkaConnectionError()]}
    await started(cluster)

    asked = [(kind, node) for kind, node, _ in cluster.asked]
    assert asked == [
        ("VersionsRequest", LEADER),
        *[("DescribeTransaction", COORDINATOR), ("AuthorizedMetadataRequest", COORDINATOR)] * 3,
        ("InitProducerIdRequest", COORDINATOR),
    ]
    assert not cluster.leaders


async def test_a_commit_that_is_asked_for_again_waits_for_the_leaders_too(
    cluster: Cluster,
) -> None:
    """Also at the end of the process."""
    producer = await started(cluster)
    cluster.answers = {"Commit": [DENIED]}
    with pytest.raises(TopicAuthorizationFailedError):
        await commit(producer)
    cluster.open, cluster.leaders = [("ns-out", [0], {})], [-1, LEADER]
    cluster.asked.clear()
    await producer.stop()

    assert [kind for kind, _, _ in cluster.asked] == [
        *["DescribeTransaction", "AuthorizedMetadataRequest"] * 2,
        "Commit",
    ]


async def test_an_id_that_no_coordinator_knows_has_nothing_open(cluster: Cluster) -> None:
    """It is the first time; any other error is raised."""
    cluster.answers = {"DescribeTransaction": [UNKNOWN_ID]}
    await started(cluster)
    cluster.answers = {"DescribeTransaction": [DENIED]}
    with pytest.raises(TopicAuthorizationFailedError):
        await started(cluster)


async def test_a_cluster_without_these_transactions_is_refused(cluster: Cluster) -> None:
    """With what to do."""
    cluster.level = 1
    with pytest.raises(UnsafeCluster, match=r"upgrade --feature transaction.version=2"):
        await started(cluster)


def test_a_produce_request_is_encoded_as_its_schema_says() -> None:
    """In one go; of any length, of several topics and partitions; of a transaction or of none."""
    at = [TopicPartition("a", 1), TopicPartition("topic", 0), TopicPartition("a", 7)]
    for batches in (
        {},
        {at[0]: bytearray()},
        {at[0]: bytearray(300), at[1]: bytearray(20_000), at[2]: bytearray(9)},
    ):
        for transactional_id in ("id", None):
            built = Produce(transactional_id, batches, timeout_ms=5).build(Produce._CLASSES[0])
            assert built.encode() == Struct.encode(built)
            assert len(built.topics) == len({each.topic for each in batches})
