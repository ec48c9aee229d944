"""`hookmill handle`: one member of a handler's consumer group."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from hookmill.cli.process import guarded, private_port
from hookmill.cli.setup import Setup, now_us
from hookmill.cli.stage import check_cluster, find_cluster, lock_state, static_id
from hookmill.core.errors import ConfigurationError
from hookmill.core.event import Event
from hookmill.core.record import Record
from hookmill.handlers.registry import make
from hookmill.handlers.runner import Runner
from hookmill.kafka.member import Member, PartitionWorker
from hookmill.kafka.queue import KafkaQueue
from hookmill.pipeline import HandlerTopics
from hookmill.stages import headers
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say


async def serve(
    setup: Setup,
    name: str,
    stopping: asyncio.Event,
    *,
    instance: str | None,
    admin_port: int,
) -> None:
    """Work until `stopping` is set. Raises ConfigurationError for a handler that is not there."""
    options = setup.config.handlers.get(name)
    if options is None:
        known = ", ".join(sorted(setup.config.handlers)) or "none"
        raise ConfigurationError(f"no handler is called '{name}'; configured are: {known}")
    handler = make(options, local_dir=Path(setup.config.local.dir))
    topics = [HandlerTopics(name).queue, HandlerTopics(name).dead_letters]
    cluster_id = await find_cluster(setup, topics, stopping)
    if cluster_id is None:
        return
    group = setup.names.group(f"handler-{name}")
    lock = lock_state(setup, cluster_id, group, instance)
    connection = setup.connection()

    def make_worker(partition: int, consumer: Any) -> PartitionWorker:
        queue = KafkaQueue(connection, setup.names, name, partition, consumer, now_us=now_us)
        runner = Runner(
            name,
            handler,
            queue,
            timeout_secs=options.timeout_secs,
            observer=HandlerTelemetry(name),
            say=say,
        )
        return _QueueWorker(queue, runner)

    member = Member(
        connection,
        group=group,
        topic=setup.names.topic(HandlerTopics(name).queue),
        instance_id=static_id(group, instance),
        session_timeout_secs=setup.config.kafka.session_timeout_secs,
        make_worker=make_worker,
        partitions=setup.config.kafka.partitions,
    )
    await handler.start()
    try:
        host = setup.config.ingress.admin_host
        async with private_port(host, admin_port, live=member.live, ready=member.ready) as private:
            say("process_started", private=private, instance=lock.name)
            await guarded(member.run(stopping), partial(check_cluster, setup, topics))
    finally:
        await handler.close()
        lock.release()


class _QueueWorker:
    """The runner on one partition, as the member wants its workers."""

    def __init__(self, queue: KafkaQueue, runner: Runner) -> None:
        self._queue = queue
        self._runner = runner

    @property
    def position(self) -> int:
        """The next offset to be handled."""
        return self._queue.position

    @property
    def turns(self) -> int:
        """Grows as long as the worker polls."""
        return self._queue.turns

    @property
    def pending_since_ms(self) -> int | None:
        """The append time of the oldest event that is not handled yet."""
        return self._queue.pending_since_ms

    async def run(self) -> None:
        """Begin at the committed offset and handle for ever."""
        await self._queue.begin()
        await self._runner.run()

    async def close(self) -> None:
        """Let go of what the queue holds."""
        await self._queue.close()


class HandlerTelemetry:
    """Turns what the runner tells of itself into metrics and log lines."""

    def __init__(self, handler: str) -> None:
        self._handler = handler
        self._seconds = catalog.HANDLER_SECONDS.labels(handler)
        self._handled = catalog.HANDLED.labels(handler, "handled")

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""
        self._handled.inc()
        self._seconds.observe(seconds)

    def retried(self, record: Record, reason: str, attempt: int) -> None:
        """The handler failed and is tried again in place."""
        catalog.HANDLED.labels(self._handler, "retried").inc()
        say(
            "handler_retried",
            handler=self._handler,
            reason=reason,
            attempt=attempt,
            delivery=record.header(headers.DELIVERY),
        )

    def set_aside(self, record: Record, reason: str) -> None:
        """The event went to the dead letters."""
        catalog.HANDLED.labels(self._handler, "dead_lettered").inc()
        catalog.DEAD_LETTERS.labels(f"handler-{self._handler}", reason).inc()
        say(
            "record_dead_lettered",
            part=f"handler-{self._handler}",
            reason=reason,
            delivery=record.header(headers.DELIVERY),
            partition=record.partition,
            offset=record.offset,
        )
