"""What each role may do in Kafka: derived from the map, asked for, and printed as commands."""

import re
import shlex

import msgspec
import pytest

from hookmill import pipeline
from hookmill.cli.doctor.acls import CODES, Need, commands, denied, needs, roles
from hookmill.cli.doctor.permissions import permissions
from hookmill.config.options import Configuration, Handler
from hookmill.kafka.survey import Seen, Survey
from hookmill.pipeline import Names, topics

CONFIG = Configuration(handlers={"ledger": Handler(type="ledger", retry_delays_secs=(30,))})
TOPICS = topics(CONFIG, {})
NEEDS = needs(CONFIG, TOPICS, Names())
ALL = sum(1 << code for code in CODES.values())


def survey(**changes: object) -> Survey:
    """A cluster with an authorizer that lets this client do everything, changed."""
    seen = Survey(
        cluster_id="c", brokers=(), requests={}, features={}, refused_topics=(), settings=None,
        found={},
        topics={each.name: Seen(each.name, (), ALL) for each in TOPICS},
        clock=None, authorizer=True, cluster_operations=ALL,
        groups={each.name: ALL for each in NEEDS if each.resource == "group"},
        refused_transactional_ids=(),
    )  # fmt: skip
    return msgspec.structs.replace(seen, **changes)


def allowed(role: str, resource: str, name: str) -> set[str]:
    """What the role is to be allowed on that thing."""
    return {
        operation
        for each in NEEDS
        if (each.role, each.resource, each.name) == (role, resource, name)
        for operation in each.operations
    }


def test_every_part_of_the_map_has_its_role() -> None:
    """In flow order, people's tools last."""
    assert roles(NEEDS) == [
        "ingress", "dedup", "normalize", "route", "handler-ledger", "dlq", "replay", "topics",
        "look",
    ]  # fmt: skip


def test_only_who_writes_a_topic_may_write_it() -> None:
    """As the map says who that is; letters and replays go where the map says too."""
    again = set(pipeline.sent_again_to(CONFIG.handlers).values())
    writers = {"ingress": "ingress", "dlq": "dlq", "handler ledger": "handler-ledger"}

    for topic in TOPICS:
        its = {each.role for each in NEEDS
               if each.name == topic.name and "Write" in each.operations}  # fmt: skip
        expected = {writers.get(topic.written_by, topic.written_by)}
        expected |= {"dlq"} if topic.name in again else set()
        assert its == expected | ({"replay"} if topic.name == "handler-ledger" else set())


def test_the_ingress_reads_nothing_and_has_no_transactions() -> None:
    """It appends, and looks at what it appends to."""
    its = [each for each in NEEDS if each.role == "ingress"]

    assert {each.resource for each in its} == {"topic"}
    assert allowed("ingress", "topic", "webhooks-raw") == {"Describe", "DescribeConfigs", "Write"}


def test_a_stage_reads_its_input_and_its_state_as_one_group() -> None:
    """And owns all transactional ids that begin with the group's name."""
    assert "Read" in allowed("dedup", "topic", "webhooks-raw")
    assert {"Read", "Write"} <= allowed("dedup", "topic", "dedup-seen")
    assert allowed("dedup", "group", "hookmill-dedup") == {"Read"}
    assert allowed("dedup", "transactional-id", "hookmill-dedup-") == {"Describe", "Write"}


def test_a_handler_reads_its_own_retry_topics() -> None:
    """What it put there comes back to it."""
    retry = allowed("handler-ledger", "topic", "handler-ledger-retry-30")

    assert {"Read", "Write"} <= retry
    assert "Read" not in allowed("handler-ledger", "topic", "handler-ledger-dlq")


def test_the_namespace_is_in_every_name() -> None:
    """Two installations on one cluster may not touch each other."""
    named = needs(CONFIG, TOPICS, Names("shop"))

    assert {each.name.startswith("shop-") for each in named if each.resource != "cluster"} == {True}


def test_operations_come_in_bits() -> None:
    """Bit 3 is Read, bit 4 Write."""
    need = Need("dedup", "topic", "x", ("Read", "Write", "Describe"))

    assert denied(need, 1 << 3 | 1 << 8) == ("Write",)
    assert denied(need, ALL) == ()


def test_a_command_names_what_needs_the_same_together() -> None:
    """Each a line that a shell takes."""
    lines = commands([each for each in NEEDS if each.role == "ingress"],
                     servers="k:9092", principal="User:ingress; rm -rf /")  # fmt: skip
    words = shlex.split(lines[0])

    assert len(lines) == 1
    assert words[:6] == ["kafka-acls.sh", "--bootstrap-server", "k:9092", "--add",
                         "--allow-principal", "User:ingress; rm -rf /"]  # fmt: skip
    assert [words[i + 1] for i, each in enumerate(words) if each == "--topic"] == [
        "webhooks-raw", "webhooks-deliveries", "webhooks-rejected"
    ]  # fmt: skip


def test_every_command_is_of_one_resource() -> None:
    """Prefixed only where names end in a number."""
    lines = commands(NEEDS, servers="k:9092", principal="User:x")
    kinds = [set(re.findall(r"--(topic|group|transactional-id|cluster)\b", each)) for each in lines]

    assert {len(each) for each in kinds} == {1}
    assert all(each.split()[-3].endswith("-") for each in lines if "prefixed" in each)


def test_who_may_do_everything_is_told_so_role_by_role() -> None:
    """A finding each."""
    found = list(permissions(survey(), NEEDS, local=False))

    assert [each.state for each in found] == ["ok"] * len(roles(NEEDS))


@pytest.mark.parametrize(
    ("role", "said", "changes"),
    [
        ("dedup", "Write on topic dedup-seen",
         {"topics": {"dedup-seen": Seen("dedup-seen", (), ALL & ~(1 << 4))}}),
        ("normalize", "Read on group hookmill-normalize", {"groups": {"hookmill-normalize": 0}}),
        ("route", "transactional-id hookmill-route-",
         {"refused_transactional_ids": ("hookmill-route-0",)}),
        ("look", "Describe, DescribeConfigs on cluster", {"cluster_operations": 0}),
        ("ingress", "Describe, DescribeConfigs, Write on topic webhooks-raw",
         {"topics": {}, "refused_topics": ("webhooks-raw",)}),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(role: str, said: str, changes: dict[str, object]) -> None:
    """With its operations, and how to get the command that allows it."""
    its = [each for each in NEEDS if each.role == role]
    (found,) = permissions(survey(**changes), its, local=False)

    assert found.state == "failure"
    assert said in found.what
    assert f"--role {role} --acls" in (found.do or "")


def test_a_cluster_without_an_authorizer_is_told() -> None:
    """On this machine it is how it should be."""
    states = [
        [each.state for each in permissions(survey(authorizer=False), NEEDS, local=local)]
        for local in (True, False)
    ]

    assert states == [["ok"], ["warning"]]


def test_what_the_brokers_do_not_tell_is_not_judged() -> None:
    """Neither well nor ill."""
    silent = survey(topics={}, groups={}, cluster_operations=None)

    assert {each.state for each in permissions(silent, NEEDS, local=False)} == {"warning"}
