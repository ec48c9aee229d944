"""Looks at a cluster without changing it: brokers, versions, replicas, permissions, its clock."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.protocol.admin import DescribeAclsRequest, DescribeConfigsRequest
from aiokafka.protocol.api import Request
from aiokafka.protocol.coordination import FindCoordinatorRequest

from hookmill.kafka.client import Connection, reachable
from hookmill.kafka.requests import (
    AuthorizedGroupRequest,
    AuthorizedMetadataRequest,
    QuorumRequest,
    VersionsRequest,
    finalized_features,
)
from hookmill.kafka.topics import Found, found_topic, settings_of

CONNECT_TIMEOUT_SECS = 15.0
SURVEY_TIMEOUT_SECS = 60.0
BROKER_TIMEOUT_SECS = 5.0
ANY, TOPIC_MATCH_ANY, TRANSACTION = 1, 1, 1
TOPIC_REFUSED, GROUP_REFUSED, TRANSACTIONAL_ID_REFUSED, SECURITY_DISABLED = 29, 30, 53, 54
NOT_SAID = -(2**31)
"""Authorized operations that were not asked for, or of a broker that does not tell them."""
INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state")


class Broker(msgspec.Struct, frozen=True):
    """A broker as the cluster names it to its clients, and why it cannot be reached there."""

    node_id: int
    address: str
    problem: str | None = None


class Partition(msgspec.Struct, frozen=True):
    """One partition and where its copies are; `leader` is -1 where there is none."""

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class Seen(msgspec.Struct, frozen=True):
    """A topic as this client sees it. `operations` is a set of bits, None where not told."""

    name: str
    partitions: tuple[Partition, ...]
    operations: int | None


class Clock(msgspec.Struct, frozen=True):
    """The leading controller's time, and ours before asking and after the answer."""

    broker_ms: int
    asked_ms: int
    answered_ms: int


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. None: the cluster does not tell this client."""

    cluster_id: str
    brokers: tuple[Broker, ...]
    requests: dict[int, tuple[int, int]]
    """By the number of a request: the versions that every broker serves."""
    features: dict[str, int]
    topics: dict[str, Seen]
    found: dict[str, Found]
    """The same topics with their settings, empty where this client may not read them."""
    refused_topics: tuple[str, ...]
    """Those that this client may not even describe: they may be there or not."""
    settings: dict[str, str] | None
    """Of one broker."""
    clock: Clock | None
    authorizer: bool | None
    cluster_operations: int | None
    groups: dict[str, int | None]
    """By group what this client may do with it; empty where nobody is refused anything."""
    refused_transactional_ids: tuple[str, ...]


async def survey(
    connection: Connection,
    *,
    topics: Iterable[str],
    groups: Iterable[str],
    transactional_ids: Iterable[str],
    now_ms: Callable[[], int],
) -> Survey:
    """Look at the cluster and at these of its things; nothing is changed, no group is joined.

    Raises KafkaUnavailable when it cannot be reached.
    """
    client = AIOKafkaAdminClient(**connection.arguments("hookmill-doctor"))
    async with reachable(connection):
        async with asyncio.timeout(CONNECT_TIMEOUT_SECS):
            await client.start()
        try:
            async with asyncio.timeout(SURVEY_TIMEOUT_SECS):
                return await _Surveyor(client, now_ms).look(
                    sorted(topics), sorted(groups), sorted(transactional_ids)
                )
        finally:
            await client.close()


class _Surveyor:
    """Asks; what one kind of cluster does not answer is None, the rest is found all the same."""

    def __init__(self, admin: AIOKafkaAdminClient, now_ms: Callable[[], int]) -> None:
        self._admin = admin
        self._client = admin._client
        self._now_ms = now_ms
        self._up: list[int] = []

    async def look(
        self, topics: list[str], groups: Sequence[str], transactional_ids: Sequence[str]
    ) -> Survey:
        """Everything; the brokers one after another, as each may be slow to refuse."""
        seen = await self._any(AuthorizedMetadataRequest([*topics, *INTERNAL_TOPICS]))
        brokers = [await self._broker(*each[:3]) for each in seen.brokers]
        self._up = [each.node_id for each in brokers if each.problem is None]
        versions = [await self._send(each, VersionsRequest()) for each in self._up]
        authorizer = await _told(self._has_authorizer)
        asked = authorizer is not False
        there = {each[1]: _seen(*each[1:]) for each in seen.topics if each[0] == 0}
        return Survey(
            cluster_id=str(seen.cluster_id),
            brokers=tuple(brokers),
            requests=_common([each.api_versions for each in versions]),
            features=finalized_features(versions[0].tags) if versions else {},
            topics=there,
            found=await self._found([each for name, each in there.items() if name in topics]),
            refused_topics=tuple(each[1] for each in seen.topics if each[0] == TOPIC_REFUSED),
            settings=await _told(self._settings),
            clock=await _told(self._clock),
            authorizer=authorizer,
            cluster_operations=_bits(seen.authorized_operations),
            groups={each: await _told(partial(self._group, each)) for each in groups if asked},
            refused_transactional_ids=tuple(
                [each for each in transactional_ids if asked and await self._refuses(each)]
            ),
        )

    async def _any(self, request: Request[Any]) -> Any:
        """The answer of the first broker that gives one: some may be down."""
        nodes = self._up or [each.nodeId for each in self._client.cluster.brokers()]
        for node_id in nodes[:-1]:
            with contextlib.suppress(KafkaError, TimeoutError):
                return await self._send(node_id, request)
        return await self._send(nodes[-1], request)

    async def _send(self, node_id: int, request: Request[Any]) -> Any:
        async with asyncio.timeout(BROKER_TIMEOUT_SECS):
            return await self._client.send(node_id, request)

    async def _broker(self, node_id: int, host: str, port: int) -> Broker:
        problem: str | None = "it does not answer there"
        try:
            async with asyncio.timeout(BROKER_TIMEOUT_SECS):
                if await self._client.ready(node_id):
                    problem = None
        except Exception as error:  # whatever the client raises: it cannot be reached there
            problem = f"{type(error).__name__}: {error}".rstrip(": ")
        return Broker(node_id, f"{host}:{port}", problem)

    async def _has_authorizer(self) -> bool:
        """Whether anybody is refused anything."""
        request = DescribeAclsRequest(ANY, None, TOPIC_MATCH_ANY, None, None, ANY, ANY)
        return bool((await self._any(request)).error_code != SECURITY_DISABLED)

    async def _group(self, group: str) -> int | None:
        """What this client may do with the group; 0 where it may not even describe it."""
        try:
            coordinator = await self._admin.find_coordinator(group)
        except GroupAuthorizationFailedError:
            return 0
        answer = await self._send(coordinator, AuthorizedGroupRequest(group))
        error, *_, operations = answer.groups[0]
        if error == GROUP_REFUSED:
            return 0
        return None if error else _bits(operations)

    async def _settings(self) -> dict[str, str] | None:
        """Those of the first broker that is up."""
        node_id = self._up[0]
        kind = int(ConfigResourceType.BROKER)
        answer = await self._send(node_id, DescribeConfigsRequest([(kind, str(node_id), None)]))
        return {name: value for each in answer.resources
                for name, (value, _) in settings_of(each).items()} or None  # fmt: skip

    async def _found(self, seen: Sequence[Seen]) -> dict[str, Found]:
        if not seen:
            return {}
        kind = int(ConfigResourceType.TOPIC)
        asked = DescribeConfigsRequest([(kind, each.name, None) for each in seen])
        answer = await self._any(asked)
        settings = {each[3]: settings_of(each) for each in answer.resources}
        return {
            each.name: found_topic(
                each.name, [part.replicas for part in each.partitions], settings[each.name]
            )
            for each in seen
        }

    async def _clock(self) -> Clock | None:
        asked_ms = self._now_ms()
        answer = await self._any(QuorumRequest())
        answered_ms = self._now_ms()
        if answer.error_code or answer.topics[0][1][0][1]:
            return None
        _, _, leader, _, _, voters, *_ = answer.topics[0][1][0]
        times = [each[3] for each in voters if each[0] == leader and each[3] > 0]
        return Clock(times[0], asked_ms, answered_ms) if times else None

    async def _refuses(self, transactional_id: str) -> bool:
        with contextlib.suppress(Exception):  # no coordinator yet: nothing is refused
            answer = await self._any(FindCoordinatorRequest(transactional_id, TRANSACTION))
            return bool(answer.error_code == TRANSACTIONAL_ID_REFUSED)
        return False


async def _told(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What is answered; None where the cluster does not know the question or gives no answer."""
    try:
        return await ask()
    except Exception:  # whatever the client raises: it is not known, and said so
        return None


def _bits(operations: int) -> int | None:
    return None if operations == NOT_SAID else operations


def _common(several: Sequence[Sequence[Sequence[Any]]]) -> dict[int, tuple[int, int]]:
    """The versions of each request that all of these brokers serve."""
    each_ones = [{key: (low, high) for key, low, high, *_ in versions} for versions in several]
    keys = set.intersection(*(set(each) for each in each_ones)) if each_ones else set()
    return {
        key: (max(each[key][0] for each in each_ones), min(each[key][1] for each in each_ones))
        for key in sorted(keys)
    }


def _seen(name: str, internal: bool, partitions: Sequence[Sequence[Any]], operations: int) -> Seen:
    return Seen(
        name,
        tuple(
            sorted(
                (Partition(number, leader, tuple(replicas), tuple(in_sync))
                 for _, number, leader, _, replicas, in_sync, _ in partitions),
                key=lambda each: each.number,
            )
        ),
        _bits(operations),
    )  # fmt: skip
