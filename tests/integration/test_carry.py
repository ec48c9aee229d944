"""State carried to more partitions on a real broker: every key is where its subject goes now."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookmill.cli import carry as carry_command
from hookmill.cli.setup import load_setup
from hookmill.core.errors import ConfigurationError
from hookmill.kafka.carry import Place, carry, heirs
from hookmill.kafka.changelog import MARK_KEY
from hookmill.kafka.partitioner import partition_of
from hookmill.pipeline import RESOURCES, SEEN, Names, Topic
from support.brokers import BrokerLog

OLD, NEW = 2, 6
TOPICS = [Topic(name, "test", 1 << 40, 1_300_000, "compact,delete") for name in (SEEN, RESOURCES)]
SUBJECTS = [f"shop|p_{number}".encode() for number in range(24)]


@contextlib.asynccontextmanager
async def cluster(servers: list[str], namespace: str, partitions: int) -> AsyncIterator[BrokerLog]:
    """The topics of a namespace."""
    log = BrokerLog(servers, namespace)
    await log.start(TOPICS, partitions=partitions)
    yield log
    await log.stop()


@pytest.mark.broker
async def test_a_subjects_state_is_where_its_later_events_go(
    broker_servers: list[str], namespace: str
) -> None:
    """Deletions too, and twice is as once; the changelog's own marks stay behind."""
    new_name = f"{namespace}b"
    async with cluster(broker_servers, namespace, OLD) as old, \
            cluster(broker_servers, new_name, NEW) as new:  # fmt: skip
        for subject in SUBJECTS:
            at = partition_of(subject, OLD)
            for topic in (SEEN, RESOURCES):
                await old.produce(topic, at, b"of " + subject, topic.encode() + subject)
            await old.produce(SEEN, at, MARK_KEY, b'{"incarnation":"a","next_input_offset":9}')
        await old.produce(SEEN, 0, b"gone", b"")
        source = Place(old.connection, Names(namespace), OLD)
        target = Place(new.connection, Names(new_name), NEW)
        counts = [await carry(source, target) for _ in range(2)]

        assert counts == [{SEEN: len(SUBJECTS) + 1, RESOURCES: len(SUBJECTS)}] * 2
        for topic in (SEEN, RESOURCES):
            kept = {}
            for partition in range(NEW):
                records = await new.read(topic, partition)
                assert MARK_KEY not in {each.key for each in records}
                kept[partition] = {each.key: each.value for each in records}
            for subject in SUBJECTS:
                theirs = kept[partition_of(subject, NEW)]
                assert theirs[b"of " + subject] == topic.encode() + subject


def test_each_new_partition_inherits_from_one_old_one() -> None:
    """All of them, each once."""
    inherited = [heir for old in range(4) for heir in heirs(old, old=4, new=12)]

    assert list(heirs(1, old=4, new=12)) == [1, 5, 9]
    assert sorted(inherited) == list(range(12))


@pytest.mark.parametrize(
    ("said", "partitions", "namespace"),
    [("no multiple", 18, "b"), ("same kafka.namespace", 24, "a")],
)
def test_what_cannot_be_carried_is_refused(
    said: str, partitions: int, namespace: str, tmp_path: Path
) -> None:
    """Before anything is asked of Kafka."""
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text('[kafka]\nnamespace = "a"\npartitions = 12\n')
    new.write_text(f'[kafka]\nnamespace = "{namespace}"\npartitions = {partitions}\n')

    with pytest.raises(ConfigurationError, match=said):
        carry_command.check_counts(load_setup(old), load_setup(new))
