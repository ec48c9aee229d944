"""What was found of the cluster means this: pure checks of the survey, each giving findings."""

from collections.abc import Iterator, Mapping, Sequence

from hookmill.cli.doctor.finding import Finding, failure, ok, some, warning
from hookmill.kafka.survey import INTERNAL_TOPICS, Clock, Survey
from hookmill.kafka.topics import Difference, Found, Wanted, compare
from hookmill.kafka.transaction import FEATURE, LEVEL, OWNED_TIMEOUT_MS

NEEDED_REQUESTS = {
    0: ("Produce", 12), 1: ("Fetch", 4), 2: ("ListOffsets", 1), 3: ("Metadata", 5),
    8: ("OffsetCommit", 2), 9: ("OffsetFetch", 2), 10: ("FindCoordinator", 1),
    11: ("JoinGroup", 5), 12: ("Heartbeat", 3), 13: ("LeaveGroup", 1), 14: ("SyncGroup", 3),
    19: ("CreateTopics", 1), 22: ("InitProducerId", 0), 26: ("EndTxn", 5),
    28: ("TxnOffsetCommit", 5), 32: ("DescribeConfigs", 1), 33: ("AlterConfigs", 0),
}  # fmt: skip
"""By number, the requests that hookmill sends and the version from which each can what is wanted:
read_committed (Kafka 0.11), the source of a setting (1.1), static members (2.3), transactions each
with an epoch of its own (4.0).
Source: https://kafka.apache.org/protocol"""
LEVELS = {7: "3.3", 8: "3.4", 11: "3.5", 14: "3.6", 19: "3.7", 20: "3.8", 21: "3.9", 25: "4.0",
          27: "4.1", 29: "4.2", 30: "4.3"}  # fmt: skip
"""The release by its last `metadata.version` (source: `StorageTool version-mapping` of 4.3.1)."""
TESTED_LEVEL_MIN = 22
"""Kafka 4.0; what hookmill is tested with is the version of its local broker."""
OFFSETS_KEPT_MINUTES_GOOD = 7 * 24 * 60
CLOCK_WARNING_MS = 2_000
CLOCK_FAILURE_MS = 30_000
SAFETY = ("min.insync.replicas", "unclean.leader.election.enable", "message.timestamp.type",
          "cleanup.policy")  # fmt: skip


def release(level: int) -> str:
    """The release of Kafka that has agreed on this `metadata.version`, as people call it."""
    for highest, name in LEVELS.items():
        if level <= highest:
            return name
    return f"{list(LEVELS.values())[-1]} or newer"


def version(seen: Survey) -> Iterator[Finding]:
    """It serves the requests that are needed, and is of a release that hookmill is tested with."""
    lacking = [
        f"{name} {least}"
        for key, (name, least) in NEEDED_REQUESTS.items()
        if seen.requests.get(key, (0, -1))[1] < least
    ]
    if lacking:
        yield failure("kafka.version", f"a broker does not serve {', '.join(lacking)}",
                      "upgrade the brokers to Apache Kafka 4.0 or newer")  # fmt: skip
        return
    level = seen.features.get("metadata.version")
    if level is None:
        yield warning("kafka.version", "the cluster serves every request that is needed, and says "
                      "no metadata.version: it is older than Apache Kafka 3.3, or another program",
                      "hookmill is tested with Apache Kafka 4; run its tests on this cluster "
                      "before money depends on it")  # fmt: skip
    elif level < TESTED_LEVEL_MIN:
        yield warning("kafka.version", f"the cluster has agreed on Apache Kafka {release(level)}",
                      "hookmill is tested with 4.0 and newer; upgrade the brokers, then the "
                      "metadata.version (kafka-features.sh upgrade)")  # fmt: skip
    else:
        yield ok("kafka.version", f"Apache Kafka {release(level)} (metadata.version {level})")
    transactions = seen.features.get(FEATURE, 0)
    if transactions < LEVEL:
        yield failure("kafka.version", f"{FEATURE} is {transactions}: no stage commits on it, its "
                      "transactions are not safe",
                      f"kafka-features.sh --bootstrap-server … upgrade --feature {FEATURE}={LEVEL}",
                      )  # fmt: skip


def brokers(seen: Survey, replication_factor: int, *, local: bool) -> Iterator[Finding]:
    """Each answers where the cluster says it is, and there are enough of them."""
    for each in seen.brokers:
        if each.problem is None:
            yield ok("kafka.broker", f"broker {each.node_id} answers at {each.address}")
        else:
            yield failure("kafka.broker", f"broker {each.node_id} cannot be reached at "
                          f"{each.address}: {each.problem}",
                          "bring it back; if it runs, its advertised.listeners must be reachable "
                          "from here")  # fmt: skip
    if len(seen.brokers) < replication_factor:
        yield failure("kafka.replication", f"{len(seen.brokers)} brokers, and "
                      f"kafka.replication_factor is {replication_factor}",
                      "no topic can be made so; bring the others back, or lower it")  # fmt: skip
    elif replication_factor < 3 and not local:
        yield warning("kafka.replication", f"kafka.replication_factor is {replication_factor}: "
                      + ("one lost disk loses what was acknowledged" if replication_factor == 1 else
                         "with a broker away the other is the only copy"),
                      "3 brokers and replication_factor 3, for anything but a trial; a topic's "
                      "is not changed in place")  # fmt: skip
    else:
        yield ok("kafka.replication", f"brokers: {len(seen.brokers)}, copies: {replication_factor}")


def topics(seen: Survey, wants: Sequence[Wanted], found: Mapping[str, Found]) -> Iterator[Finding]:
    """Each is there, as `topics apply` makes it."""
    known = [each for each in wants if each.name not in seen.refused_topics]
    if len(known) < len(wants):
        hidden = sorted({each.name for each in wants} & set(seen.refused_topics))
        yield warning("kafka.topic", f"may not be looked at: {some(hidden)}",
                      "nothing can be said of them; see kafka.acl below")  # fmt: skip
    silent = [each.name for each in known if each.name in found and not found[each.name].settings]
    if silent:
        yield warning("kafka.topic", f"settings may not be read: {some(silent)}",
                      "allow DescribeConfigs on them; see kafka.acl below")  # fmt: skip
    asked = [each for each in known if each.name not in silent]
    differences = compare(asked, dict(found))
    missing = [each.topic for each in differences if each.action == "create"]
    if missing:
        yield failure("kafka.topic", f"missing: {some(missing)}",
                      "hookmill topics apply")  # fmt: skip
    wanted = {each.name: each for each in wants}
    for each in differences:
        if each.action != "create":
            yield _different(each, wanted[each.topic], found[each.topic])
    good = len(asked) - len({each.topic for each in differences})
    if good:
        yield ok("kafka.topic", f"{good} topics are there and set as they must be")


def _different(difference: Difference, want: Wanted, have: Found) -> Finding:
    what = f"{difference.topic}: {difference.what}"
    if difference.action == "refuse":
        return failure("kafka.topic", f"{difference.topic} {difference.what}",
                       "it is never changed in place; set kafka.partitions and "
                       "kafka.replication_factor to what is there, or move to a new "
                       "kafka.namespace (docs/RUNBOOK.md)")  # fmt: skip
    key = difference.what.partition(":")[0]
    apply = "hookmill topics apply"
    if key in SAFETY:
        return failure("kafka.topic", what, f"{apply}; until then processes refuse to start on "
                       "it")  # fmt: skip
    if _less(have.settings.get(key, ""), want.settings[key]):
        return failure("kafka.topic", what, apply)
    return warning("kafka.topic", what, f"{apply}, or leave it: it is more than is needed")


def _less(have: str, want: str) -> bool:
    """Whether a limit is lower than wanted; -1 is none at all."""
    try:
        return 0 <= int(have) < int(want)
    except ValueError:
        return True


def replicas(seen: Survey, wants: Sequence[Wanted]) -> Iterator[Finding]:
    """Every partition has a leader, and its copies are in sync.

    One on a broker that cannot be reached counts as lost: without a quorum of controllers the
    others go on telling how it was.
    """
    up = {each.node_id for each in seen.brokers if each.problem is None}
    in_sync_min = {each.name: int(each.settings["min.insync.replicas"]) for each in wants}
    leaderless, below, under, good = [], [], [], 0
    for name, least in in_sync_min.items():
        for each in seen.topics[name].partitions if name in seen.topics else ():
            in_sync = up.intersection(each.in_sync)
            if each.leader not in up:
                leaderless.append(f"{name}:{each.number}")
            elif len(in_sync) < least:
                below.append(f"{name}:{each.number}")
            elif len(in_sync) < len(each.replicas):
                under.append(f"{name}:{each.number}")
            else:
                good += 1
    bring = "bring the broker back; see docs/RUNBOOK.md, Kafka is down"
    if leaderless:
        yield failure("kafka.replicas", f"no leader that answers: {some(leaderless)}", bring)
    if below:
        yield failure("kafka.replicas", "fewer copies in sync than min.insync.replicas, so nothing "
                      f"can be written: {some(below)}", bring)  # fmt: skip
    if under:
        yield warning("kafka.replicas", f"not every copy is in sync: {some(under)}", bring)
    if good:
        yield ok("kafka.replicas", f"{good} partitions have a leader and every copy in sync")


def internals(seen: Survey, replication_factor: int) -> Iterator[Finding]:
    """Kafka's own topics of positions and transactions are as safe as ours."""
    for name in INTERNAL_TOPICS:
        topic = seen.topics.get(name)
        if topic is None or not topic.partitions:
            continue  # made when the first group or transaction comes, or not ours to see
        copies = min(len(each.replicas) for each in topic.partitions)
        if copies < replication_factor:
            yield failure("kafka.replicas", f"{name} has {copies} copies, our topics "
                          f"{replication_factor}: with one broker lost no transaction commits",
                          "give it more with kafka-reassign-partitions.sh; a new cluster by "
                          "offsets.topic.replication.factor and its like")  # fmt: skip


def settings(seen: Survey) -> Iterator[Finding]:
    """What the brokers are set to that hookmill rests on."""
    if seen.settings is None:
        yield warning("kafka.settings", "the brokers' settings may not be read",
                      "allow DescribeConfigs on the cluster, or check there: transaction.max."
                      "timeout.ms, auto.create.topics.enable")  # fmt: skip
        return
    longest_ms = int(seen.settings.get("transaction.max.timeout.ms") or 900_000)
    if longest_ms < OWNED_TIMEOUT_MS:
        yield failure("kafka.settings", f"transaction.max.timeout.ms is {longest_ms}",
                      f"raise it to {OWNED_TIMEOUT_MS} or more: the stages' transactions "
                      "are refused")  # fmt: skip
    else:
        yield ok("kafka.settings", f"transaction.max.timeout.ms is {longest_ms}")
    if seen.settings.get("auto.create.topics.enable") == "true":
        yield warning("kafka.settings", "auto.create.topics.enable is on: a topic that is missing "
                      "is made by whoever asks for it, with other settings",
                      "switch it off on the brokers")  # fmt: skip
    kept = int(seen.settings.get("offsets.retention.minutes") or OFFSETS_KEPT_MINUTES_GOOD)
    if kept < OFFSETS_KEPT_MINUTES_GOOD:
        yield warning("kafka.settings", f"offsets.retention.minutes is {kept}: positions of a "
                      "group that stands still are forgotten after that",
                      f"raise it to {OFFSETS_KEPT_MINUTES_GOOD} or more; ours are in the "
                      "changelogs too, a team's own readers have none")  # fmt: skip


def clock(found: Clock | None) -> Finding:
    """Ours and the cluster's agree: a provider's time is held to ours, a window to the brokers'."""
    check = "clock"
    if found is None:
        return warning(check, "the cluster does not tell its time without being written to",
                       "compare `date` on this machine and on the brokers, or allow Describe on "
                       "the cluster")  # fmt: skip
    ahead_ms = max(found.asked_ms - found.broker_ms, 0) or min(
        found.answered_ms - found.broker_ms, 0
    )
    way = "ahead of" if ahead_ms > 0 else "behind"
    apart = f"this machine's clock is {abs(ahead_ms) / 1000:.1f} s {way} the controller's"
    mend = "run NTP (chrony, systemd-timesyncd) on this machine and on the brokers"
    if abs(ahead_ms) >= CLOCK_FAILURE_MS:
        return failure(check, f"{apart}: signatures that carry a time are refused by whichever is "
                       "wrong, and ages are not true", mend)  # fmt: skip
    if abs(ahead_ms) >= CLOCK_WARNING_MS:
        return warning(check, apart, mend)
    sure_ms = found.answered_ms - found.asked_ms
    return ok(check, f"this machine's and the controller's agree (to {max(1, sure_ms)} ms); each "
              "broker's own cannot be asked")  # fmt: skip


def cluster(
    seen: Survey,
    wants: Sequence[Wanted],
    found: Mapping[str, Found],
    *,
    replication_factor: int,
    local: bool,
) -> Iterator[Finding]:
    """Every finding about the cluster but permissions."""
    yield ok("kafka", f"cluster {seen.cluster_id}")
    yield from version(seen)
    yield from brokers(seen, replication_factor, local=local)
    yield from topics(seen, wants, found)
    yield from replicas(seen, wants)
    yield from internals(seen, replication_factor)
    yield from settings(seen)
    yield clock(seen.clock)
