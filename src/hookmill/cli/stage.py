"""`hookmill stage`: one member of a stage's consumer group."""

import asyncio
import socket
from functools import partial
from pathlib import Path
from typing import Any

from hookmill import pipeline
from hookmill.cli.process import guarded, private_port, until_kafka_answers
from hookmill.cli.setup import Setup, now_us
from hookmill.core.errors import HookmillError
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome
from hookmill.core.record import Record
from hookmill.kafka.member import Member, PartitionWorker, pause_growing
from hookmill.kafka.partition import BATCH_BYTES_MAX, KafkaPort
from hookmill.kafka.store import InstanceLock, RocksStore, Store, lock_instance
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.kafka.worker import Worker
from hookmill.stages import headers
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

BATCH_OVERHEAD_BYTES = 1024


async def serve(
    setup: Setup,
    stage: pipeline.Stage,
    stopping: asyncio.Event,
    *,
    instance: str | None,
    admin_port: int,
) -> None:
    """Work until `stopping` is set. A named instance is a static member of the group."""
    decision = pipeline.decision(stage, setup.endpoints, setup.rules, setup.names)
    topics = _topics_of(setup, stage)
    cluster_id = await find_cluster(setup, topics, stopping)
    if cluster_id is None:
        return
    group = setup.names.group(stage.name)
    lock = lock_state(setup, cluster_id, group, instance)
    limits = {topic.name: topic.message_bytes_max for topic in setup.topics()}
    connection = setup.connection()

    def make_worker(partition: int, consumer: Any) -> PartitionWorker:
        port = KafkaPort(
            connection,
            setup.names,
            stage,
            partition,
            consumer,
            batch_bytes_max=min(BATCH_BYTES_MAX, *limits.values()) - BATCH_OVERHEAD_BYTES,
        )
        store: Store = RocksStore(lock.folder / str(partition))
        return Worker(
            decision,
            stage,
            port,
            store,
            watcher=StageTelemetry(stage.name, partition),
            pause=pause_growing,
            now_us=now_us,
            value_bytes_max=lambda topic: limits[topic] - BATCH_OVERHEAD_BYTES,
        )

    member = Member(
        connection,
        group=group,
        topic=setup.names.topic(stage.reads),
        instance_id=static_id(group, instance),
        session_timeout_secs=setup.config.kafka.session_timeout_secs,
        make_worker=make_worker,
        partitions=setup.config.kafka.partitions,
    )
    try:
        host = setup.config.ingress.admin_host
        async with private_port(host, admin_port, live=member.live, ready=member.ready) as private:
            say("process_started", private=private, instance=lock.name)
            await guarded(member.run(stopping), partial(check_cluster, setup, topics))
    finally:
        lock.release()


async def find_cluster(setup: Setup, topics: list[str], stopping: asyncio.Event) -> str | None:
    """The cluster's id, once it answers and has these topics; None if asked to stop meanwhile.

    Raises UnsafeCluster where a topic has another partition count than configured.
    """
    return await until_kafka_answers(partial(check_cluster, setup, topics), stopping)


async def check_cluster(setup: Setup, topics: list[str]) -> str:
    """The cluster's id; raises TopicsMissing, or UnsafeCluster for topics weaker than wanted."""
    wanted = {setup.names.topic(name) for name in topics}
    async with admin(setup.connection()) as client:
        found = await client.find(wanted)
        check_present(wanted, found)
        check_safety([want for want in setup.wanted() if want.name in wanted], found)
        return await client.cluster_id()


def lock_state(setup: Setup, cluster_id: str, group: str, instance: str | None) -> InstanceLock:
    """The state folder of this instance, locked; raises HookmillError if it is another's."""
    namespace = setup.config.kafka.namespace or "-"
    root = Path(setup.config.local.dir) / "state" / cluster_id / namespace
    try:
        return lock_instance(root, group, instance)
    except BlockingIOError as error:
        raise HookmillError(f"{error}; choose another --instance") from None


def static_id(group: str, instance: str | None) -> str | None:
    """The static member's id: host and instance. None (a dynamic member) without a name."""
    return None if instance is None else f"{socket.gethostname()}-{group}-{instance}"


def _topics_of(setup: Setup, stage: pipeline.Stage) -> list[str]:
    writer = [topic.name for topic in setup.topics() if topic.written_by == stage.name]
    return [stage.reads, *writer]


class StageTelemetry:
    """Turns what the engine tells of itself into metrics and log lines."""

    def __init__(self, stage: str, partition: int) -> None:
        self._stage = stage
        self._partition = partition
        self._forwarded = catalog.STAGE_RECORDS.labels(stage, "forwarded")
        self._left = catalog.RESTORE_LEFT.labels(stage, str(partition))

    def decided(self, record: Record, outcome: Outcome) -> None:
        """Count the outcome; name what a person may have to look at."""
        match outcome:
            case Forward():
                self._forwarded.inc()
                if self._stage == "normalize":
                    self._note_unrecognized(record, outcome)
            case Drop():
                catalog.STAGE_RECORDS.labels(self._stage, "dropped").inc()
                catalog.DUPLICATES.labels(record.header(headers.ENDPOINT) or "-").inc()
            case DeadLetter():
                catalog.STAGE_RECORDS.labels(self._stage, "dead_lettered").inc()
                catalog.DEAD_LETTERS.labels(self._stage, outcome.reason).inc()
                say(
                    "record_dead_lettered",
                    part=self._stage,
                    reason=outcome.reason,
                    delivery=record.header(headers.DELIVERY),
                    partition=record.partition,
                    offset=record.offset,
                )

    def committed(self, seconds: float) -> None:
        """A transaction took that long."""
        catalog.TRANSACTIONS.labels(self._stage, "committed").inc()
        catalog.TRANSACTION_SECONDS.labels(self._stage).observe(seconds)

    def not_committed(self) -> None:
        """A transaction failed; its worker starts anew."""
        catalog.TRANSACTIONS.labels(self._stage, "failed").inc()

    def retried(self, reason: str) -> None:
        """The stage asked for the batch to be tried again."""
        catalog.RETRIES.labels(self._stage, reason).inc()
        say("batch_retried", stage=self._stage, partition=self._partition, reason=reason)

    def restoring(self, left: int, read: int) -> None:
        """Show how far the restore is."""
        catalog.RESTORED.labels(self._stage).inc(read)
        self._left.set(left)
        if read and left > 100_000:
            say("restore_progress", stage=self._stage, partition=self._partition, left=left)

    def restored(self, records: int, *, rebuilt: bool) -> None:
        """The partition's state is complete."""
        self._left.set(0)
        where = {"stage": self._stage, "partition": self._partition, "records": records}
        say("state_rebuilt" if rebuilt else "restore_finished", **where)

    def offset_from_changelog(self, offset: int) -> None:
        """The group's own offset was gone."""
        where = {"stage": self._stage, "partition": self._partition, "offset": offset}
        say("offset_from_changelog", **where)

    def _note_unrecognized(self, record: Record, outcome: Forward) -> None:
        types = [value for output in outcome.outputs for name, value in output.headers
                 if name == "ce_type"]  # fmt: skip
        if b"hookmill.other.unrecognized" in types:
            provider = record.header(headers.PROVIDER) or "-"
            catalog.UNRECOGNIZED.labels(provider).inc()
            say("event_unrecognized", provider=provider, delivery=record.header(headers.DELIVERY))
