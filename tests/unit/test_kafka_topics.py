"""Topics compared: what the cluster lacks, what can be mended, what needs a person."""

from typing import Any

import pytest
from msgspec.structs import replace

from hookmill.core.errors import UnsafeCluster
from hookmill.kafka.topics import (
    Difference,
    Found,
    Replication,
    Wanted,
    check_safety,
    compare,
    replication,
    wanted,
)
from hookmill.pipeline import Names, Topic

RAW = Topic("webhooks-raw", "ingress", 3_024_000_000, 1_310_720)
SEEN = Topic("dedup-seen", "dedup", 3_196_800_000, 1_572_864, "compact,delete")


def want(topic: Topic = RAW, *, partitions: int = 12, replication_factor: int = 3) -> Wanted:
    """How the topic must be."""
    return wanted(topic, Names(), partitions=partitions, replication_factor=replication_factor)


def found(like: Wanted, **settings: str) -> dict[str, Found]:
    """The cluster has it as wanted, but for these settings (`_` for `.`)."""
    changed = {
        **like.settings,
        **{name.replace("_", "."): value for name, value in settings.items()},
    }
    have = Found(like.name, like.partitions, like.replication_factor, changed, {})
    return {like.name: have}


def test_a_topic_of_the_map_as_it_must_be_in_the_cluster() -> None:
    """The settings that the promises need, under the namespace."""
    made = wanted(RAW, Names("eu"), partitions=12, replication_factor=3)

    assert made == Wanted(
        "eu-webhooks-raw",
        12,
        3,
        {
            "cleanup.policy": "delete",
            "retention.ms": "3024000000",
            "max.message.bytes": "1310720",
            "min.insync.replicas": "2",
            "unclean.leader.election.enable": "false",
            "message.timestamp.type": "LogAppendTime",
        },
    )


def test_a_changelog_closes_its_segments() -> None:
    """So that it is compacted, and a restore stays short."""
    made = wanted(SEEN, Names(), partitions=12, replication_factor=1)

    assert made.settings["segment.ms"] == "3600000"


STATE = Topic("handler-a-state", "handler a", 3_024_000_000, 1_572_864, "compact")


@pytest.mark.parametrize(
    ("topic", "settings", "said"),
    [
        (SEEN, {"cleanup_policy": "delete"}, "dedup-seen is not compacted"),
        (SEEN, {"retention_ms": "5"}, "dedup-seen keeps state for 5 ms only"),
        (STATE, {"cleanup_policy": "compact,delete"}, "handler-a-state deletes state by age"),
        (STATE, {"cleanup_policy": "delete"}, "handler-a-state is not compacted"),
    ],
)
def test_a_changelog_that_forgets_is_not_safe(
    topic: Topic, settings: dict[str, str], said: str
) -> None:
    """State that is gone before its time lets events through twice, or loses parked ones."""
    with pytest.raises(UnsafeCluster, match=said):
        check_safety([want(topic)], found(want(topic), **settings))


def test_a_compacted_topic_may_have_any_retention() -> None:
    """It is not applied to a topic that deletes nothing by age."""
    check_safety([want(STATE)], found(want(STATE), retention_ms="5"))


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "4")])
def test_all_replicas_but_one_must_have_a_record(replicas: int, in_sync: str) -> None:
    """At least one; one broker may be away."""
    made = want(replication_factor=replicas)

    assert in_sync == made.settings["min.insync.replicas"]


def test_nothing_differs_where_all_is_as_wanted() -> None:
    """A second `apply` does nothing."""
    wants = [want(RAW), want(SEEN)]

    assert compare(wants, {**found(wants[0]), **found(wants[1])}) == []


def test_other_topics_of_the_cluster_are_nobodys_business() -> None:
    """What is not in the map is never touched."""
    other = found(want(replace(RAW, name="orders")), retention_ms="1")

    assert compare([want()], {**found(want()), **other}) == []


def test_settings_that_are_not_ours_are_left_alone() -> None:
    """An SRE's own choices stand."""
    assert compare([want()], found(want(), compression_type="zstd")) == []


def test_a_missing_topic_is_created() -> None:
    """With its shape, in the map's order."""
    assert compare([want(RAW), want(SEEN, partitions=6)], {}) == [
        Difference("webhooks-raw", "create", "12 partitions, replication 3"),
        Difference("dedup-seen", "create", "6 partitions, replication 3"),
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("retention.ms", "604800000"),
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("message.timestamp.type", "CreateTime"),
        ("cleanup.policy", "compact"),
    ],
)
def test_a_setting_that_differs_is_changed(setting: str, value: str) -> None:
    """It says from what to what."""
    like = want()
    have = found(like, **{setting.replace(".", "_"): value})

    assert compare([like], have) == [
        Difference("webhooks-raw", "change", f"{setting}: {value} → {like.settings[setting]}")
    ]


def test_a_setting_that_the_cluster_does_not_tell_is_changed() -> None:
    """An old broker may not know it; then it says so when asked to."""
    like = want()
    have = found(like)
    del have["webhooks-raw"].settings["retention.ms"]

    assert compare([like], have) == [
        Difference("webhooks-raw", "change", "retention.ms: None → 3024000000")
    ]


def test_the_order_of_cleanup_policies_does_not_matter() -> None:
    """Kafka gives them back as it likes."""
    assert compare([want(SEEN)], found(want(SEEN), cleanup_policy="delete,compact")) == []


@pytest.mark.parametrize("partitions", [1, 11, 13])
def test_another_partition_count_needs_a_person(partitions: int) -> None:
    """Keys would move; it is never changed in place, neither up nor down."""
    have = found(want(partitions=partitions))

    assert compare([want()], have) == [
        Difference("webhooks-raw", "refuse", f"has {partitions} partitions, configured are 12")
    ]


def test_fewer_replicas_than_configured_need_a_person() -> None:
    """More do not: that is only safer."""
    less, more = found(want()), found(want())
    less["webhooks-raw"] = replace(less["webhooks-raw"], replication_factor=2)
    more["webhooks-raw"] = replace(more["webhooks-raw"], replication_factor=4)

    assert compare([want()], more) == []
    assert compare([want()], less) == [
        Difference("webhooks-raw", "refuse", "has replication 2, configured is 3")
    ]


@pytest.mark.parametrize(
    "have",
    [
        pytest.param({}, id="missing topics are not its business"),
        pytest.param(found(want()), id="as wanted"),
        pytest.param(found(want(), min_insync_replicas="3"), id="stricter"),
        pytest.param(found(want(), retention_ms="1"), id="retention is for `plan`"),
    ],
)
def test_a_cluster_that_keeps_the_promises_is_safe(have: dict[str, Found]) -> None:
    """Ingress may start on it."""
    check_safety([want()], have)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"min_insync_replicas": "1"}, "raw has min.insync.replicas below"),
        ({"unclean_leader_election_enable": "true"}, "raw allows unclean leader election"),
        ({"message_timestamp_type": "CreateTime"}, "raw takes its timestamps from clients"),
    ],
)
def test_a_weaker_topic_is_refused(changed: dict[str, Any], why: str) -> None:
    """Acknowledged would not mean kept; the message says what to run."""
    with pytest.raises(UnsafeCluster, match=why) as refused:
        check_safety([want()], found(want(), **changed))

    assert "run `hookmill topics plan` and `topics apply`" in str(refused.value)


def test_another_partition_count_is_refused() -> None:
    """The ingress would put a subject where no stage looks for it."""
    with pytest.raises(UnsafeCluster, match="has 6 partitions, configured are 12"):
        check_safety([want()], found(want(partitions=6)))


def test_every_weakness_is_told_at_once() -> None:
    """Nobody should have to mend them one start at a time."""
    wants = [want(RAW), want(SEEN)]
    have = {
        **found(wants[0], unclean_leader_election_enable="true", min_insync_replicas="1"),
        **found(wants[1], message_timestamp_type="CreateTime"),
    }
    with pytest.raises(UnsafeCluster) as refused:
        check_safety(wants, have)

    assert str(refused.value).count("webhooks-raw") == 2
    assert str(refused.value).count("dedup-seen") == 1


def test_replication_is_counted_by_what_is_lacking() -> None:
    """A partition may lack a replica and yet take records; without a leader it takes none."""

    def partition(leader: int, *in_sync: int) -> dict[str, Any]:
        return {"leader": leader, "replicas": [1, 2, 3], "isr": list(in_sync)}

    partitions = [partition(1, 1, 2, 3), partition(1, 1, 2), partition(2, 2), partition(-1)]

    assert replication(partitions, 2) == Replication(
        under_replicated=3, below_min_insync=2, offline=1
    )
