"""`hookmill stage`: one member of a stage's consumer group."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hookmill import pipeline
from hookmill.cli.garbage import settle
from hookmill.cli.process import guarded, private_port, until_kafka_answers
from hookmill.cli.setup import Setup, now_us
from hookmill.cli.telemetry import StageTelemetry
from hookmill.core.errors import HookmillError
from hookmill.kafka.member import Member, PartitionWorker, pause_growing
from hookmill.kafka.memory import Memory, one_heap
from hookmill.kafka.pace import gathers, passes_on
from hookmill.kafka.partition import KafkaPort
from hookmill.kafka.producing import BATCH_BYTES_MAX
from hookmill.kafka.store import InstanceLock, RocksStore, Store, lock_instance
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.kafka.worker import Worker
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say
from hookmill.telemetry.traces import Tracer

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
    with setup.tracing(stage.name, instance) as tracer:
        await _serve(setup, stage, stopping, tracer, instance=instance, admin_port=admin_port)


async def _serve(
    setup: Setup,
    stage: pipeline.Stage,
    stopping: asyncio.Event,
    tracer: Tracer | None,
    *,
    instance: str | None,
    admin_port: int,
) -> None:
    topics = _topics_of(setup, stage)
    cluster_id = await find_cluster(setup, topics, stopping)
    if cluster_id is None:
        return
    _show_at_once(setup, stage)
    group = setup.names.group(stage.name)
    lock = lock_state(setup, cluster_id, group, instance)
    member = Member(
        setup.connection(),
        group=group,
        topic=setup.names.topic(stage.reads),
        instance_id=static_id(group, instance),
        session_timeout_secs=setup.config.kafka.session_timeout_secs,
        make_worker=_worker_maker(setup, stage, lock, tracer),
        partitions=setup.config.kafka.partitions,
    )
    try:
        await work(setup, member, topics, stopping, instance=lock.name, admin_port=admin_port)
    finally:
        lock.release()


async def work(
    setup: Setup,
    member: Member,
    topics: list[str],
    stopping: asyncio.Event,
    *,
    instance: str,
    admin_port: int,
) -> None:
    """Serve the private port and work until `stopping` is set, as long as the topics are sound."""
    host = setup.config.ingress.admin_host
    async with private_port(host, admin_port, live=member.live, ready=member.ready) as private:
        say("process_started", private=private, instance=instance)
        settle()
        await guarded(member.run(stopping), partial(check_cluster, setup, topics))


def _worker_maker(
    setup: Setup, stage: pipeline.Stage, lock: InstanceLock, tracer: Tracer | None
) -> Callable[[int, Any], PartitionWorker]:
    """Makes the worker of a partition; all of them share the decision and the store's memory."""
    decision = pipeline.decision(stage, setup.endpoints, setup.rules, setup.names)
    limits = {topic.name: topic.message_bytes_max for topic in setup.topics()}
    one_heap()
    connection, memory = setup.connection(), Memory()

    def make_worker(partition: int, consumer: Any) -> PartitionWorker:
        port = KafkaPort(
            connection,
            setup.names,
            stage,
            partition,
            consumer,
            batch_bytes_max=batch_bytes_max(setup),
        )
        store: Store = RocksStore(lock.folder / str(partition), memory)
        traces = None if tracer is None else tracer.stage(stage.name)
        return Worker(
            decision,
            stage,
            port,
            store,
            watcher=StageTelemetry(stage.name, partition, traces),
            pause=pause_growing,
            now_us=now_us,
            value_bytes_max=lambda topic: limits[topic] - BATCH_OVERHEAD_BYTES,
            traces=traces,
            rest_secs=gathers if stage.reads == pipeline.RAW else passes_on,
        )

    return make_worker


def _show_at_once(setup: Setup, stage: pipeline.Stage) -> None:
    """What metrics show before anything came: windows, and 0 of a rule that never took an event."""
    if stage is pipeline.DEDUP:
        for endpoint in setup.endpoints.values():
            catalog.DEDUP_WINDOW.labels(endpoint.name).set(endpoint.dedup_window_secs)
    if stage is pipeline.ROUTE:
        for rule in setup.rules:
            catalog.ROUTE_MATCHES.labels(rule.name)


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


def static_id(group: str, instance: str | None, *, host: str | None = None) -> str | None:
    """The static member's id: host (this one) and instance. None (a dynamic member) without one."""
    return None if instance is None else f"{host or socket.gethostname()}-{group}-{instance}"


def batch_bytes_max(setup: Setup) -> int:
    """How large a batch may be that every topic takes."""
    smallest = min(topic.message_bytes_max for topic in setup.topics())
    return min(BATCH_BYTES_MAX, smallest) - BATCH_OVERHEAD_BYTES


def _topics_of(setup: Setup, stage: pipeline.Stage) -> list[str]:
    writer = [topic.name for topic in setup.topics() if topic.written_by == stage.name]
    return [stage.reads, *writer]
