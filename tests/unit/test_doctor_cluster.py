"""The doctor's checks of a cluster: what was found, and what it means."""

import msgspec
import pytest

from hookmill.cli.doctor import cluster
from hookmill.cli.doctor.finding import Finding, State
from hookmill.kafka.survey import Broker, Clock, Partition, Seen, Survey
from hookmill.kafka.topics import Found, Wanted, wanted
from hookmill.pipeline import Names, Topic

DAY_MS = 86_400_000
RAW = wanted(Topic("webhooks-raw", "ingress", 35 * DAY_MS, 1_310_720), Names(), partitions=2,
             replication_factor=3)  # fmt: skip
EVERYTHING = dict.fromkeys(range(80), (0, 20))


def survey(**changes: object) -> Survey:
    """A healthy cluster of three brokers, changed."""
    seen = Survey(
        cluster_id="c",
        brokers=tuple(Broker(each, f"kafka-{each}:9092") for each in (1, 2, 3)),
        requests=EVERYTHING,
        features={"metadata.version": 30, "transaction.version": 2},
        topics={RAW.name: topic((1, 2, 3), (1, 2, 3))},
        refused_topics=(),
        found={},
        settings={"transaction.max.timeout.ms": "900000", "auto.create.topics.enable": "false"},
        clock=Clock(broker_ms=1_000, asked_ms=999, answered_ms=1_003),
        authorizer=False,
        cluster_operations=None,
        groups={},
        refused_transactional_ids=(),
    )
    return msgspec.structs.replace(seen, **changes)


def topic(replicas: tuple[int, ...], in_sync: tuple[int, ...], leader: int = 1) -> Seen:
    """Two partitions of that shape."""
    return Seen("webhooks-raw", tuple(Partition(n, leader, replicas, in_sync) for n in (0, 1)), -1)


def found(**settings: str) -> dict[str, Found]:
    """The topic as it must be, with other settings."""
    changed = {key.replace("_", "."): value for key, value in settings.items()}
    have = {**RAW.settings, **changed}
    return {RAW.name: Found(RAW.name, RAW.partitions, RAW.replication_factor, have, have)}


def judged(seen: Survey, have: dict[str, Found] | None = None) -> list[Finding]:
    """Every finding."""
    have = found() if have is None else have
    return list(cluster.cluster(seen, [RAW], have, replication_factor=3, local=False))


def of(findings: list[Finding], check: str) -> set[State]:
    """The states of that check's findings."""
    return {each.state for each in findings if each.check == check}


def test_a_healthy_cluster_is_ok() -> None:
    """Nothing to do."""
    findings = judged(survey())

    assert {each.state for each in findings} == {"ok"}
    assert all(each.do is None for each in findings)


@pytest.mark.parametrize(
    ("expected", "features"),
    [
        ("ok", {"metadata.version": 22}),
        ("ok", {"metadata.version": 99}),
        ("warning", {"metadata.version": 21}),
        ("warning", {}),
    ],
)
def test_an_old_cluster_is_told(expected: State, features: dict[str, int]) -> None:
    """By the features that the brokers agreed on."""
    findings = judged(survey(features={"transaction.version": 2, **features}))
    assert of(findings, "kafka.version") == {expected}


def test_transactions_of_an_older_kind_are_a_failure() -> None:
    """A cluster that was upgraded from Kafka 3 has them until somebody says otherwise."""
    findings = judged(survey(features={"metadata.version": 25, "transaction.version": 1}))

    (failed,) = [each for each in findings if each.state == "failure"]
    assert "transaction.version is 1" in failed.what
    assert "--feature transaction.version=2" in (failed.do or "")


def test_releases_are_called_as_people_do() -> None:
    """Of a release that is not known yet, the newest that is."""
    levels = (1, 15, 25, 26, 30, 31)

    assert [cluster.release(each) for each in levels] == [
        "3.3", "3.7", "4.0", "4.1", "4.3", "4.3 or newer"
    ]  # fmt: skip


def test_a_request_that_is_not_served_is_a_failure() -> None:
    """JoinGroup 5 brought static members."""
    findings = judged(survey(requests={**EVERYTHING, 11: (0, 4)}))

    (failed,) = [each for each in findings if each.check == "kafka.version"]
    assert failed.state == "failure"
    assert "JoinGroup 5" in failed.what


def test_a_broker_that_cannot_be_reached_where_the_cluster_says_is_a_failure() -> None:
    """A wrong advertised listener is a common mistake."""
    brokers = (Broker(1, "kafka-1:9092"), Broker(2, "kafka-2:9092"), Broker(3, "lost:1", "no name"))

    assert of(judged(survey(brokers=brokers)), "kafka.broker") == {"ok", "failure"}


@pytest.mark.parametrize(
    ("expected", "brokers", "copies", "local"),
    [
        ("ok", 3, 3, False), ("failure", 2, 3, False), ("warning", 3, 2, False),
        ("warning", 1, 1, False), ("ok", 1, 1, True),
    ],
)  # fmt: skip
def test_copies_are_as_many_as_money_needs(
    expected: State, brokers: int, copies: int, local: bool
) -> None:
    """One copy is for a trial on this machine."""
    seen = survey(brokers=tuple(Broker(each, "kafka:9092") for each in range(brokers)))
    findings = list(cluster.brokers(seen, copies, local=local))

    assert of(findings, "kafka.replication") == {expected}


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ("failure", {"min_insync_replicas": "1"}),
        ("failure", {"unclean_leader_election_enable": "true"}),
        ("failure", {"message_timestamp_type": "CreateTime"}),
        ("failure", {"cleanup_policy": "compact"}),
        ("failure", {"retention_ms": "1000"}),
        ("warning", {"retention_ms": "-1"}),
        ("failure", {"max_message_bytes": "1048588"}),
        ("warning", {"max_message_bytes": "9000000"}),
    ],
)
def test_a_setting_that_is_weaker_is_a_failure(expected: State, settings: dict[str, str]) -> None:
    """One that is more than is needed may stay."""
    findings = judged(survey(), found(**settings))

    assert of(findings, "kafka.topic") == {expected}


def test_what_is_missing_or_of_another_shape_is_a_failure() -> None:
    """The first is made by a command, the second never changed in place."""
    other = {RAW.name: msgspec.structs.replace(found()[RAW.name], partitions=6)}
    missing = [each for each in judged(survey(), {}) if each.check == "kafka.topic"]
    shaped = [each for each in judged(survey(), other) if each.check == "kafka.topic"]

    assert [(each.state, each.do) for each in missing] == [("failure", "hookmill topics apply")]
    assert [each.state for each in shaped] == ["failure"]
    assert "has 6 partitions" in shaped[0].what


def test_what_may_not_be_looked_at_is_not_judged() -> None:
    """Neither the topic, nor settings that are not told."""
    hidden = judged(survey(topics={}, refused_topics=(RAW.name,)), {})
    silent = {RAW.name: msgspec.structs.replace(found()[RAW.name], settings={})}

    assert of(hidden, "kafka.topic") == {"warning"}
    assert of(judged(survey(), silent), "kafka.topic") == {"warning"}


@pytest.mark.parametrize(
    ("expected", "in_sync", "leader"),
    [("ok", (1, 2, 3), 1), ("warning", (1, 2), 1), ("failure", (1,), 1), ("failure", (1,), -1)],
)
def test_copies_are_in_sync(expected: State, in_sync: tuple[int, ...], leader: int) -> None:
    """Fewer than min.insync.replicas means that nothing can be written."""
    topics = {RAW.name: topic((1, 2, 3), in_sync, leader)}

    assert of(judged(survey(topics=topics)), "kafka.replicas") == {expected}


def test_copies_on_a_broker_that_cannot_be_reached_are_lost() -> None:
    """Without a quorum of controllers the others go on telling that all are in sync."""
    lost = tuple(Broker(each, f"kafka-{each}:9092", "it does not answer there") for each in (2, 3))
    topics = {RAW.name: topic((1, 2, 3), (1, 2, 3))}

    assert of(judged(survey(brokers=(Broker(1, "kafka-1:9092"), *lost), topics=topics)),
              "kafka.replicas") == {"failure"}  # fmt: skip


def test_kafkas_own_topics_are_as_safe_as_ours() -> None:
    """Else no transaction commits while a broker is away."""
    seen = survey()
    own = msgspec.structs.replace(topic((1,), (1,)), name="__transaction_state")
    findings = judged(survey(topics={**seen.topics, own.name: own}))

    assert of(findings, "kafka.replicas") == {"ok", "failure"}


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ({"warning"}, None),
        ({"failure"}, {"transaction.max.timeout.ms": "10000"}),
        ({"ok", "warning"}, {"auto.create.topics.enable": "true"}),
        ({"ok", "warning"}, {"offsets.retention.minutes": "60"}),
    ],
)
def test_the_brokers_settings_suffice(
    expected: set[State], settings: dict[str, str] | None
) -> None:
    """Those that hookmill rests on."""
    assert of(judged(survey(settings=settings)), "kafka.settings") == expected


@pytest.mark.parametrize(
    ("expected", "broker_ms"),
    [
        ("ok", 100_001),
        ("ok", 101_500),
        ("warning", 97_000),
        ("warning", 104_000),
        ("failure", 60_000),
        ("failure", 140_000),
    ],
)
def test_the_clocks_agree(expected: State, broker_ms: int) -> None:
    """What the question took is nobody's fault."""
    clock = Clock(broker_ms, asked_ms=100_000, answered_ms=100_010)

    assert cluster.clock(clock).state == expected
    assert cluster.clock(None).state == "warning"


def test_a_clock_that_is_behind_is_called_so() -> None:
    """To the nearer of the two moments."""
    behind = cluster.clock(Clock(broker_ms=105_000, asked_ms=100_000, answered_ms=101_000))
    ahead = cluster.clock(Clock(broker_ms=95_000, asked_ms=100_000, answered_ms=101_000))

    assert "4.0 s behind" in behind.what
    assert "5.0 s ahead" in ahead.what


def test_the_wanted_topic_of_these_tests_is_one() -> None:
    """Else they would hold of nothing."""
    assert isinstance(RAW, Wanted)
    assert RAW.settings["min.insync.replicas"] == "2"
