"""What the cluster's topics are, what they must be, and making them so; never deletes any."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from hookmill.core.errors import HookmillError, TopicsMissing, UnsafeCluster
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, reachable
from hookmill.pipeline import Names, Topic

TOPIC_OVERRIDE = 1
"""DescribeConfigs: the source of a value that was set on the topic itself (KIP-226)."""


class TopicsNotMade(HookmillError):
    """The cluster refused to make or to change a topic; the message says which and why."""


class Wanted(msgspec.Struct, frozen=True):
    """A topic as it must be in the cluster."""

    name: str
    partitions: int
    replication_factor: int
    settings: dict[str, str]


class Difference(msgspec.Struct, frozen=True):
    """One thing that the cluster lacks or has otherwise.

    `create` and `change` are mended by `apply`; `refuse` needs a person: a partition count or a
    replication factor is never changed in place.
    """

    topic: str
    action: Literal["create", "change", "refuse"]
    what: str


class Found(msgspec.Struct, frozen=True):
    """A topic as the cluster has it; `overrides` are the settings made on the topic itself."""

    name: str
    partitions: int
    replication_factor: int
    settings: dict[str, str]
    overrides: dict[str, str]


class Replication(msgspec.Struct, frozen=True):
    """How many of a topic's partitions lack something: a replica in sync, enough of them for a
    write to be taken, a leader."""

    under_replicated: int
    below_min_insync: int
    offline: int


def wanted(topic: Topic, names: Names, *, partitions: int, replication_factor: int) -> Wanted:
    """How a topic of the map must be in this cluster."""
    settings = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(topic.message_bytes_max),
        "min.insync.replicas": str(max(1, replication_factor - 1)),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.segment_ms is not None:
        settings["segment.ms"] = str(topic.segment_ms)
    return Wanted(names.topic(topic.name), partitions, replication_factor, settings)


def compare(wants: Sequence[Wanted], found: dict[str, Found]) -> list[Difference]:
    """What differs, topic by topic. Pure."""
    differences = []
    for want in wants:
        have = found.get(want.name)
        if have is None:
            shape = f"{want.partitions} partitions, replication {want.replication_factor}"
            differences.append(Difference(want.name, "create", shape))
            continue
        differences += _refusals(want, have)
        for key, value in want.settings.items():
            if not _same(key, have.settings.get(key, ""), value):
                what = f"{key}: {have.settings.get(key)} → {value}"
                differences.append(Difference(want.name, "change", what))
    return differences


def found_topic(
    name: str, replicas: Sequence[Sequence[int]], settings: Mapping[str, tuple[str, bool]]
) -> Found:
    """A topic from the copies of each partition and its settings as `settings_of` gives them."""
    return Found(
        name,
        len(replicas),
        min(map(len, replicas), default=0),
        {key: value for key, (value, _) in settings.items()},
        {key: value for key, (value, overridden) in settings.items() if overridden},
    )


def settings_of(resource: Sequence[Any]) -> dict[str, tuple[str, bool]]:
    """By name the value, and whether it was set on the topic: of one answer to DescribeConfigs."""
    return {entry[0]: (entry[1] or "", entry[3] == TOPIC_OVERRIDE) for entry in resource[4]}


def _refusals(want: Wanted, have: Found) -> list[Difference]:
    refusals = []
    if have.partitions != want.partitions:
        what = f"has {have.partitions} partitions, configured are {want.partitions}"
        refusals.append(Difference(want.name, "refuse", what))
    if have.replication_factor < want.replication_factor:
        what = f"has replication {have.replication_factor}, configured is {want.replication_factor}"
        refusals.append(Difference(want.name, "refuse", what))
    return refusals


def _same(key: str, have: str, want: str) -> bool:
    if key == "cleanup.policy":
        return set(have.split(",")) == set(want.split(","))
    return have == want


def replication(partitions: Iterable[Mapping[str, Any]], min_insync: int) -> Replication:
    """What a topic's metadata say: `leader`, `replicas` and `isr` of each partition. Pure."""
    shown = list(partitions)
    return Replication(
        sum(len(each["isr"]) < len(each["replicas"]) for each in shown),
        sum(len(each["isr"]) < min_insync for each in shown),
        sum(each["leader"] < 0 for each in shown),
    )


def check_safety(wants: Sequence[Wanted], found: dict[str, Found]) -> None:
    """Raise UnsafeCluster if a topic that exists is weaker than the promises need.

    Missing topics are not its business.
    """
    weak = []
    for want in wants:
        have = found.get(want.name)
        if have is None:
            continue
        weak += [f"{each.topic} {each.what}" for each in _refusals(want, have)]
        if int(have.settings["min.insync.replicas"]) < max(1, have.replication_factor - 1):
            weak.append(
                f"{want.name} has min.insync.replicas below its replication factor "
                f"({have.replication_factor}, see kafka.replication_factor) less 1"
            )
        if "compact" in want.settings["cleanup.policy"]:
            weak += _forgetful(want, have)
        if have.settings["unclean.leader.election.enable"] != "false":
            weak.append(f"{want.name} allows unclean leader election")
        if have.settings["message.timestamp.type"] != "LogAppendTime":
            weak.append(f"{want.name} takes its timestamps from clients")
    if weak:
        raise UnsafeCluster(f"{'; '.join(weak)}: run `hookmill topics plan` and `topics apply`")


def check_present(names: Iterable[str], found: Container[str]) -> None:
    """Raise TopicsMissing while a topic is missing."""
    missing = sorted(name for name in names if name not in found)
    if missing:
        raise TopicsMissing(f"topics missing: {', '.join(missing)}; run `hookmill topics apply`")


def _forgetful(want: Wanted, have: Found) -> list[str]:
    """How a changelog would forget state that is still needed."""
    weak = []
    policies = have.settings["cleanup.policy"].split(",")
    kept_ms = int(have.settings["retention.ms"])
    if "compact" not in policies:
        weak.append(f"{want.name} is not compacted")
    if "delete" not in want.settings["cleanup.policy"]:
        if "delete" in policies:
            weak.append(f"{want.name} deletes state by age")
    elif 0 <= kept_ms < int(want.settings["retention.ms"]):
        weak.append(f"{want.name} keeps state for {kept_ms} ms only")
    return weak


class Admin:
    """The cluster's administration, within time limits."""

    def __init__(self, client: AIOKafkaAdminClient) -> None:
        self._client = client

    async def cluster_id(self) -> str:
        """The cluster's id."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            described = await self._client.describe_cluster()
        return str(described["cluster_id"])

    async def names(self) -> set[str]:
        """The names of all topics that are there."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            return set(await self._client.list_topics())

    async def find(self, names: Iterable[str]) -> dict[str, Found]:
        """Those of the topics that exist."""
        asked = sorted(set(names))
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            described = await self._client.describe_topics(asked)
            shapes = {
                each["topic"]: each["partitions"] for each in described if each["error_code"] == 0
            }
            settings = await self._settings(list(shapes)) if shapes else {}
        return {
            name: found_topic(name, [each["replicas"] for each in partitions], settings[name])
            for name, partitions in shapes.items()
        }

    async def replication(self, names: Iterable[str]) -> dict[str, Replication]:
        """How those of the topics that exist are replicated now."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            described = await self._client.describe_topics(sorted(set(names)))
            shapes = {each["topic"]: each["partitions"] for each in described if each["partitions"]}
            settings = await self._settings(list(shapes)) if shapes else {}
        return {
            name: replication(partitions, int(settings[name]["min.insync.replicas"][0]))
            for name, partitions in shapes.items()
        }

    async def apply(self, wants: Sequence[Wanted], found: dict[str, Found]) -> None:
        """Create what is missing and mend settings; raises TopicsNotMade if refused."""
        missing = [want for want in wants if want.name not in found]
        if missing:
            await self._create(missing)
        different = {each.topic for each in compare(wants, found) if each.action == "change"}
        changed = [want for want in wants if want.name in different]
        if changed:
            await self._alter(changed, found)
        await self._until_applied(wants)

    async def delete(self, names: Iterable[str]) -> None:
        """Delete topics: for what a demo or a test made itself."""
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await self._client.delete_topics(sorted(names))

    async def _create(self, missing: Sequence[Wanted]) -> None:
        topics = [
            NewTopic(
                want.name,
                want.partitions,
                want.replication_factor,
                topic_configs=want.settings,
            )
            for want in missing
        ]
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            response = await self._client.create_topics(topics)
        refused = [
            f"{topic}: {message or for_code(code).__name__}"
            for topic, code, message in (each[:3] for each in response.topic_errors)
            if code not in (0, 36)
        ]
        if refused:
            raise TopicsNotMade("; ".join(refused))

    async def _alter(self, changed: Sequence[Wanted], found: dict[str, Found]) -> None:
        """The old AlterConfigs replaces every override, so all that stand are sent again."""
        resources = [
            ConfigResource(
                ConfigResourceType.TOPIC,
                want.name,
                {**found[want.name].overrides, **want.settings},
            )
            for want in changed
        ]
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            responses = await self._client.alter_configs(resources)
        refused = [
            f"{each[3]}: {each[1] or for_code(each[0]).__name__}"
            for response in responses
            for each in response.resources
            if each[0] != 0
        ]
        if refused:
            raise TopicsNotMade("; ".join(refused))

    async def _settings(self, names: list[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, tuple[str, bool]]] = {}
        for response in await self._client.describe_configs(resources):
            for resource in response.resources:
                found[resource[3]] = settings_of(resource)
        return found

    async def _until_known(self, names: set[str]) -> None:
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            while True:
                described: list[dict[str, Any]] = await self._client.describe_topics(sorted(names))
                if all(
                    each["error_code"] == 0 and all(p["leader"] >= 0 for p in each["partitions"])
                    for each in described
                ):
                    return
                await asyncio.sleep(0.1)

    async def _until_applied(self, wants: Sequence[Wanted]) -> None:
        """A broker learns of a change a moment after the controller took it."""
        names = {want.name for want in wants}
        await self._until_known(names)
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            while any(each.action == "change" for each in compare(wants, await self.find(names))):
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def admin(connection: Connection) -> AsyncIterator[Admin]:
    """An administration client for as long as it is needed.

    Raises KafkaUnavailable when Kafka cannot be reached, at the start or in the middle.
    """
    client = AIOKafkaAdminClient(**connection.arguments("hookmill-admin"))
    async with reachable(connection):
        async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
            await client.start()
        try:
            yield Admin(client)
        finally:
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await client.close()
