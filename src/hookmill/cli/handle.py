"""`hookmill handle`: one member of a handler's consumer group."""

import asyncio
import time
from functools import partial
from typing import Any

from hookmill.cli.kept_view import retry_delays_secs
from hookmill.cli.process import until_kafka_answers
from hookmill.cli.setup import Setup, now_us
from hookmill.cli.stage import batch_bytes_max, find_cluster, lock_state, static_id, work
from hookmill.cli.telemetry import HandlerTelemetry
from hookmill.config.options import Handler as Options
from hookmill.core.errors import ConfigurationError
from hookmill.handlers.api import Handler
from hookmill.handlers.handling import Handling
from hookmill.handlers.journal import Journal
from hookmill.handlers.ports import Settings
from hookmill.handlers.runner import COMMIT_REST_SECS, Runner
from hookmill.kafka.member import STUCK_SECS, Member, PartitionWorker
from hookmill.kafka.memory import Memory
from hookmill.kafka.queue import KafkaQueue
from hookmill.kafka.store import InstanceLock, RocksStore
from hookmill.kafka.topics import admin
from hookmill.pipeline import HandlerTopics
from hookmill.telemetry.traces import Tracer

JOURNAL = "in-flight"


async def serve(
    setup: Setup,
    name: str,
    stopping: asyncio.Event,
    *,
    instance: str | None,
    admin_port: int,
) -> None:
    """Work until `stopping` is set. Raises ConfigurationError for a handler that is not there."""
    with setup.tracing(HandlerTopics(name).part, instance) as tracer:
        await _serve(setup, name, stopping, tracer, instance=instance, admin_port=admin_port)


async def _serve(
    setup: Setup,
    name: str,
    stopping: asyncio.Event,
    tracer: Tracer | None,
    *,
    instance: str | None,
    admin_port: int,
) -> None:
    options = setup.config.handlers.get(name)
    if options is None:
        known = ", ".join(sorted(setup.config.handlers)) or "none"
        raise ConfigurationError(f"no handler is called '{name}'; configured are: {known}")
    handler = setup.handler(name)
    its = HandlerTopics(name)
    topics = [each.name for each in setup.topics() if each.name == its.queue
              or each.written_by == f"handler {name}"]  # fmt: skip
    cluster_id = await find_cluster(setup, topics, stopping)
    retries = await until_kafka_answers(partial(_retry_topics, setup, its), stopping)
    if cluster_id is None or retries is None:
        return
    group = setup.names.group(its.part)
    lock = lock_state(setup, cluster_id, group, instance)
    journal = Journal(lock.folder / JOURNAL)
    member = Member(
        setup.connection(),
        group=group,
        topic=setup.names.topic(its.queue),
        instance_id=static_id(group, instance),
        session_timeout_secs=setup.config.kafka.session_timeout_secs,
        make_worker=_worker_maker(setup, options, its, handler, retries, lock, journal, tracer),
        partitions=setup.config.kafka.partitions,
        stuck_secs=max(STUCK_SECS, 2 * options.timeout_secs),
    )
    await handler.start()
    try:
        await work(setup, member, topics, stopping, instance=lock.name, admin_port=admin_port)
    finally:
        await handler.close()
        journal.close()
        lock.release()


async def _retry_topics(setup: Setup, its: HandlerTopics) -> tuple[str, ...]:
    """Those of the configured delays, and those of earlier ones that are in the cluster still:
    what waits in them must come back, too."""
    async with admin(setup.connection()) as client:
        found = await client.names()
    return tuple(its.retry(each) for each in retry_delays_secs(setup, its, found))


def _worker_maker(
    setup: Setup,
    options: Options,
    its: HandlerTopics,
    handler: Handler,
    retry_topics: tuple[str, ...],
    lock: InstanceLock,
    journal: Journal,
    tracer: Tracer | None,
) -> Any:
    """Makes the worker of a partition; all workers of the process share the handler's places."""
    connection = setup.connection()
    slots = asyncio.Semaphore(options.concurrency)
    settings = Settings(
        topics=its,
        delays_secs=options.retry_delays_secs,
        retry_topics=retry_topics,
        timeout_secs=options.timeout_secs,
        ordered=options.ordered,
        parked_max=options.parked_max,
    )

    memory = Memory()

    def make_worker(partition: int, consumer: Any) -> PartitionWorker:
        told = HandlerTelemetry(its.handler, partition, now_us=now_us)
        queue = KafkaQueue(
            connection,
            setup.names,
            its,
            partition,
            consumer,
            RocksStore(lock.folder / str(partition), memory),
            retry_topics=retry_topics,
            watcher=told,
            batch_bytes_max=batch_bytes_max(setup),
        )
        handling = Handling(
            settings, handler, journal=journal, observer=told, now_us=now_us, clock=time.monotonic,
            tracer=tracer,
        )  # fmt: skip
        runner = Runner(
            settings, handling, queue, slots=slots, observer=told, now_us=now_us,
            rest_secs=COMMIT_REST_SECS,
        )  # fmt: skip
        return _QueueWorker(queue, runner, told)

    return make_worker


class _QueueWorker:
    """The runner on one partition, as the member wants its workers."""

    def __init__(self, queue: KafkaQueue, runner: Runner, told: HandlerTelemetry) -> None:
        self._queue = queue
        self._runner = runner
        self._told = told

    @property
    def position(self) -> int:
        """The next offset that is neither done nor put away."""
        return self._queue.position

    @property
    def turns(self) -> int:
        """Grows as long as the worker polls and the handler comes back."""
        return self._runner.turns

    @property
    def pending_since_ms(self) -> int | None:
        """The append time of the oldest event that is not handled yet."""
        return self._runner.pending_since_ms

    async def run(self) -> None:
        """Begin at the fence and handle for ever."""
        await self._runner.run()

    async def close(self) -> None:
        """Let go of the state and of what the queue holds."""
        self._told.gone()
        self._queue.close_store()
        await self._queue.close()
