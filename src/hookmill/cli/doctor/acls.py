"""Who needs to be allowed what in Kafka: derived from the map, role by role. Pure.

`IdempotentWrite` is in no list: the ingress writes without idempotence, and whoever may write with
a transactional id needs it no more (KIP-679, since Kafka 2.8).
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from hookmill import pipeline
from hookmill.config.options import Configuration
from hookmill.pipeline import HandlerTopics, Names, Topic

Resource = Literal["topic", "group", "transactional-id", "cluster"]
CODES = {
    "Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10,
    "AlterConfigs": 11,
}  # fmt: skip
"""By operation its number (source: Kafka's AclOperation); in a set of operations, its bit."""
LOOK = ("Describe", "DescribeConfigs")
"""A process looks at its topics at its start, and again and again: weaker ones are refused."""


class Need(msgspec.Struct, frozen=True):
    """That a role must be allowed these operations; `prefixed`: on all whose names begin so."""

    role: str
    resource: Resource
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def needs(config: Configuration, topics: Sequence[Topic], names: Names) -> list[Need]:
    """What each role needs, in flow order; the last four are people's tools."""
    found = _process("ingress", names, writes=_written(topics, "ingress"))
    for stage in pipeline.STAGES.values():
        writes = _written(topics, stage.name)
        found += _process(stage.name, names, reads=[stage.reads, stage.changelog], writes=writes)
        found += _transactional(stage.name, stage.name, names)
    for name in config.handlers:
        its = HandlerTopics(name)
        writes = _written(topics, f"handler {name}")
        reads = [its.queue, *(each for each in writes if each != its.dead_letters)]
        found += _process(its.part, names, reads=reads, writes=writes)
        found += _transactional(its.part, its.part, names)
    return [*found, *_tools(config, topics, names)]


def roles(found: Iterable[Need]) -> list[str]:
    """The roles that there are, in flow order."""
    return list(dict.fromkeys(each.role for each in found))


def _tools(config: Configuration, topics: Sequence[Topic], names: Names) -> list[Need]:
    again = pipeline.sent_again_to(config.handlers)
    dlq = _process("dlq", names, reads=[*again, pipeline.DECISIONS],
                   writes=[pipeline.DECISIONS, *dict.fromkeys(again.values())])  # fmt: skip
    every = [each.name for each in topics]
    queues = [HandlerTopics(each).queue for each in config.handlers]
    groups = [*pipeline.STAGES, *(HandlerTopics(each).part for each in config.handlers)]
    return [
        *dlq,
        Need("dlq", "transactional-id", names.group("dlq"), ("Describe", "Write")),
        *_process("replay", names, reads=[pipeline.NORMALIZED], writes=queues),
        Need("replay", "transactional-id", names.group("replay"), ("Describe", "Write")),
        Need("replay", "group", names.group("replay-"), ("Read",), prefixed=True),
        *_on("topics", names, every, ("Create", "Describe", "DescribeConfigs", "AlterConfigs")),
        *_on("look", names, every, ("Describe", "DescribeConfigs", "Read")),
        *(Need("look", "group", names.group(each), ("Describe",)) for each in groups),
        Need("look", "cluster", "kafka-cluster", LOOK),
    ]


def _process(
    role: str, names: Names, *, reads: Sequence[str] = (), writes: Sequence[str] = ()
) -> list[Need]:
    both = list(dict.fromkeys([*reads, *writes]))
    found = []
    for topic in both:
        may = ("Read",) * (topic in reads) + ("Write",) * (topic in writes)
        found += _on(role, names, [topic], (*LOOK, *may))
    return found


def _transactional(role: str, part: str, names: Names) -> list[Need]:
    """Its group, and its transactional ids: the group's name, the topic's and the partition."""
    group = names.group(part)
    return [
        Need(role, "group", group, ("Read",)),
        Need(role, "transactional-id", f"{group}-", ("Describe", "Write"), prefixed=True),
    ]


def _on(role: str, names: Names, topics: Iterable[str], operations: tuple[str, ...]) -> list[Need]:
    return [Need(role, "topic", names.topic(each), operations) for each in topics]


def _written(topics: Sequence[Topic], writer: str) -> list[str]:
    return [each.name for each in topics if each.written_by == writer]


def denied(need: Need, operations: int) -> tuple[str, ...]:
    """Which of the operations are not in a set of allowed ones, as the broker tells it in bits."""
    return tuple(each for each in need.operations if not operations >> CODES[each] & 1)


def commands(found: Iterable[Need], *, servers: str, principal: str) -> list[str]:
    """The lines of `kafka-acls.sh` that allow it all to the principal, `User:hookmill`.

    Things of a role that need the same share a line.
    """
    together: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for need in found:
        key = (need.role, need.resource, need.operations, need.prefixed)
        together.setdefault(key, []).append(need.name)
    return [
        _command(resource, operations, things, prefixed, servers=servers, principal=principal)
        for (_, resource, operations, prefixed), things in together.items()
    ]


def _command(
    resource: str, operations: Sequence[str], things: Sequence[str], prefixed: bool,
    *, servers: str, principal: str,
) -> str:  # fmt: skip
    words = ["kafka-acls.sh", "--bootstrap-server", servers, "--add",
             "--allow-principal", principal]  # fmt: skip
    for each in operations:
        words += ["--operation", each]
    if resource == "cluster":
        words.append("--cluster")
    else:
        for thing in things:
            words += [f"--{resource}", thing]
    if prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)
