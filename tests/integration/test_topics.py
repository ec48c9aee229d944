"""Topics on a real cluster: made, mended, and left alone where only a person may decide."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from hookmill import pipeline
from hookmill.core.errors import UnsafeCluster
from hookmill.kafka.topics import Wanted, admin, check_safety, compare, wanted
from support.brokers import BrokerLog, until

pytestmark = pytest.mark.broker

TOPICS = [pipeline.Topic(name, "test", pipeline.KEEP_MS, 1_300_000) for name in ("one", "two")]


def wants(log: BrokerLog, *, partitions: int = 2) -> list[Wanted]:
    """Both topics as they must be."""
    return [wanted(t, log.names, partitions=partitions, replication_factor=1) for t in TOPICS]


async def test_what_was_made_is_as_it_must_be(broker_servers: list[str], namespace: str) -> None:
    """After `apply`, `plan` finds nothing, and nothing is unsafe."""
    log = BrokerLog(broker_servers, namespace)
    async with admin(log.connection) as client:
        before = compare(wants(log), await client.find(want.name for want in wants(log)))
        await client.apply(wants(log), {})
        found = await client.find(want.name for want in wants(log))

    assert [each.action for each in before] == ["create", "create"]
    assert compare(wants(log), found) == []
    check_safety(wants(log), found)


async def test_a_setting_changed_by_hand_is_mended_and_others_stay(
    broker_servers: list[str], namespace: str
) -> None:
    """The old AlterConfigs resets whatever is not sent along: everything that stands is."""
    log = BrokerLog(broker_servers, namespace)
    name = log.names.topic("one")
    async with admin(log.connection) as client:
        await client.apply(wants(log), {})
        await alter(log, name, {**wants(log)[0].settings, "retention.ms": "60000",
                                "segment.bytes": "1048576"})  # fmt: skip

        async def altered() -> bool:
            return "segment.bytes" in (await client.find([name]))[name].overrides

        await until(altered, timeout_secs=10)
        found = await client.find([name, log.names.topic("two")])
        [difference] = compare(wants(log), found)
        await client.apply(wants(log), found)
        after = await client.find([name])

    assert (difference.topic, difference.action) == (name, "change")
    assert difference.what == f"retention.ms: 60000 → {pipeline.KEEP_MS}"
    assert after[name].settings["message.timestamp.type"] == "LogAppendTime"
    assert after[name].overrides["segment.bytes"] == "1048576"


async def test_an_unsafe_topic_is_refused(broker_servers: list[str], namespace: str) -> None:
    """Unclean leader election may lose what was acknowledged."""
    log = BrokerLog(broker_servers, namespace)
    name = log.names.topic("one")
    async with admin(log.connection) as client:
        await client.apply(wants(log), {})
        await alter(log, name, {"unclean.leader.election.enable": "true"})

        async def altered() -> bool:
            found = await client.find([name])
            return found[name].settings["unclean.leader.election.enable"] == "true"

        await until(altered, timeout_secs=10)
        found = await client.find([name])

    with pytest.raises(UnsafeCluster, match="unclean leader election"):
        check_safety(wants(log), found)


async def test_a_partition_count_is_never_changed(
    broker_servers: list[str], namespace: str
) -> None:
    """It would send a subject's later events elsewhere."""
    log = BrokerLog(broker_servers, namespace)
    async with admin(log.connection) as client:
        await client.apply(wants(log), {})
        found = await client.find(want.name for want in wants(log))

    assert {each.action for each in compare(wants(log, partitions=3), found)} == {"refuse"}
    with pytest.raises(UnsafeCluster, match="has 2 partitions, configured are 3"):
        check_safety(wants(log, partitions=3), found)


async def alter(log: BrokerLog, name: str, settings: dict[str, str]) -> None:
    """As an operator would by hand."""
    client = AIOKafkaAdminClient(**log.connection.arguments("operator"))
    await client.start()
    try:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])
    finally:
        await client.close()
