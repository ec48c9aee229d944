"""A handler's partition and its owners, in memory and on a real broker: one contract for both."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from hookmill.core.event import Event, encode
from hookmill.core.outcome import DeadLetter
from hookmill.core.record import Headers, Output, Record
from hookmill.handlers.api import Answer, Context, Handler
from hookmill.handlers.handling import Handling
from hookmill.handlers.kept import Kept, read_kept
from hookmill.handlers.ports import Journal, Settings
from hookmill.handlers.runner import Runner
from hookmill.kafka.changelog import MARK_KEY
from hookmill.kafka.inbox import Inbox
from hookmill.kafka.queue import POSITION, KafkaQueue
from hookmill.kafka.store import RocksStore
from hookmill.pipeline import KEEP_MS, Topic
from support.brokers import BrokerLog
from support.memory_queue import PARTITION, TOPICS, MemoryPartition, MemoryQueue, event
from support.quiet import NoJournal, NoObserver

DELAYS_SECS = (1, 2)
STEPS = 60


class Scripted:
    """A handler that answers an event what its script says, attempt by attempt, then None.

    Exceptions in a script are raised, and functions are awaited; `seen` is every call in order.
    """

    def __init__(self, **scripts: Sequence[Any]) -> None:
        self._scripts = {name: list(script) for name, script in scripts.items()}
        self.seen: list[tuple[str, int]] = []
        self.contexts: list[Context] = []
        self.ended: list[str] = []

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """The next line of the event's script."""
        self.seen.append((event.id, context.attempt))
        self.contexts.append(context)
        script = self._scripts.get(event.id, [])
        answer = script.pop(0) if script else None
        if callable(answer):
            answer = await answer()
        if isinstance(answer, BaseException):
            raise answer
        if answer is None or isinstance(answer, DeadLetter):
            self.ended.append(event.id)
        return answer  # type: ignore[no-any-return]


class Noting(NoObserver):
    """Notes what the runner tells of itself."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""
        assert seconds >= 0
        self.notes.append(("handled", event.id))

    def retried(self, record: Record, reason: str, attempt: int, delay_secs: int) -> None:
        """It waits."""
        self.notes.append(("retried", reason, attempt, delay_secs))

    def held(self, record: Record, reason: str) -> None:
        """It is tried again where it is."""
        self.notes.append(("held", reason))

    def set_aside(self, record: Record, reason: str) -> None:
        """It is a dead letter."""
        self.notes.append(("aside", reason))


class Owner:
    """One owner of the partition; `queue` has hooks for faults."""

    def __init__(self, runner: Runner, queue: Any, told: Noting) -> None:
        self.runner = runner
        self.queue = queue
        self.told = told
        self.task = asyncio.ensure_future(runner.run())

    async def stop(self) -> None:
        """As a process that is asked to end, or one that has failed."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.queue.close()


class World:
    """What both worlds have: owners one after another, and events fed to the queue."""

    def __init__(self) -> None:
        self.owners: list[Owner] = []

    async def own(
        self,
        handler: Handler,
        *,
        delays_secs: tuple[int, ...] = DELAYS_SECS,
        ordered: bool = True,
        parked_max: int = 1_000,
        timeout_secs: float = 30.0,
        slots: int = 4,
        disk: str = "disk",
        journal: Journal | None = None,
    ) -> Owner:
        """A new owner begins."""
        settings = Settings(
            topics=TOPICS,
            delays_secs=delays_secs,
            retry_topics=tuple(map(TOPICS.retry, DELAYS_SECS)),
            timeout_secs=timeout_secs,
            ordered=ordered,
            parked_max=parked_max,
        )
        told, queue = Noting(), await self._queue(disk)
        handling = Handling(
            settings, handler, journal=journal or NoJournal(), observer=told,
            now_us=self.now_us, clock=time.monotonic, pause=self._pause,
        )  # fmt: skip
        runner = Runner(
            settings, handling, queue, slots=asyncio.Semaphore(slots), observer=told,
            now_us=self.now_us,
        )  # fmt: skip
        self.owners.append(Owner(runner, queue, told))
        return self.owners[-1]

    async def feed(self, number: int, subject: str, value: bytes | None = None) -> None:
        """An event into the queue."""
        headers = (("hm-delivery", f"d-{number}".encode()), ("ce_id", f"hm_{number}".encode()))
        data = encode(event(number, subject)) if value is None else value
        await self.produce(subject.encode(), data, headers)

    async def ids(self, topic: str) -> list[str | None]:
        """The events in a topic."""
        return [each.header("ce_id") for each in await self.read(topic)]

    async def is_through(self) -> bool:
        """Whether the positions of all topics are at their ends and nothing is kept."""
        if await self.kept() != Kept():
            return False
        for topic in (TOPICS.queue, *map(TOPICS.retry, DELAYS_SECS)):
            last = [each.offset for each in await self.read(topic)][-1:]
            if last and (await self.committed(topic) or 0) <= last[0]:
                return False
        return True

    async def stop(self) -> None:
        """Every owner ends."""
        for owner in self.owners:
            await owner.stop()

    def now_us(self) -> int:
        """The time, epoch microseconds."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], Any], *, within_secs: float) -> None:
        """Wait until it holds; fails if it does not within that time."""
        raise NotImplementedError

    async def produce(self, key: bytes, value: bytes, headers: Headers) -> None:
        """A record into the queue."""
        raise NotImplementedError

    async def read(self, topic: str) -> list[Record]:
        """Every committed record of a topic."""
        raise NotImplementedError

    async def committed(self, topic: str) -> int | None:
        """The group's position."""
        raise NotImplementedError

    async def kept(self) -> Kept:
        """The state."""
        raise NotImplementedError

    async def _queue(self, disk: str) -> Any:
        raise NotImplementedError

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(0)


class MemoryWorld(World):
    """In memory; the time is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.partition = MemoryPartition()

    def now_us(self) -> int:
        """The test's time."""
        return self.partition.now_us

    async def until(self, condition: Callable[[], Any], *, within_secs: float) -> None:
        """Tasks go on, and time passes in small steps."""
        end_us = self.partition.now_us + int(within_secs * 1_000_000)
        while not await _holds(condition):
            for owner in self.owners:
                if owner.task.done() and not owner.task.cancelled():
                    owner.task.result()
            assert self.partition.now_us < end_us, "waited in vain"
            for _ in range(STEPS):
                await asyncio.sleep(0)
            self.partition.move(0.05)

    async def produce(self, key: bytes, value: bytes, headers: Headers) -> None:
        """A record into the queue, and its transaction's marker."""
        self.partition.append(TOPICS.queue, key, value, headers)
        self.partition.topics[TOPICS.queue].append(None)

    async def read(self, topic: str) -> list[Record]:
        """Every record of a topic."""
        return self.partition.records(topic)

    async def committed(self, topic: str) -> int | None:
        """The position."""
        return self.partition.offsets.get(topic)

    async def kept(self) -> Kept:
        """The state."""
        return read_kept(self.partition.state.items())

    async def _queue(self, disk: str) -> "ClosingMemoryQueue":
        return ClosingMemoryQueue(self.partition)


class ClosingMemoryQueue(MemoryQueue):
    """A queue in memory that can be closed as the real one."""

    async def close(self) -> None:
        """Nothing to let go of."""


class FaultyQueue(KafkaQueue):
    """A real queue with hooks around its transactions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None

    async def _commit(self, outputs: Sequence[Output], offsets: Any) -> dict[str, int]:
        self.before_commit()
        written = await super()._commit(outputs, offsets)
        self.after_commit()
        return written

    async def close(self) -> None:
        """The store too."""
        await super().close()

    async def end(self) -> None:
        """Everything."""
        self.close_store()
        await self.close()


class KafkaWorld(World):
    """On a real broker, in a namespace of its own; partition 0 of one."""

    def __init__(self, servers: Sequence[str], namespace: str, folder: Path) -> None:
        super().__init__()
        self.log = BrokerLog(servers, namespace)
        self._folder = folder
        self._consumers: list[Inbox] = []

    async def start(self) -> None:
        """Make the topics."""
        names = [TOPICS.queue, TOPICS.dead_letters, *map(TOPICS.retry, DELAYS_SECS)]
        topics = [Topic(each, "test", KEEP_MS, 1_300_000) for each in names]
        await self.log.start([*topics, Topic(TOPICS.state, "test", KEEP_MS, 1_300_000, "compact")])

    def now_us(self) -> int:
        """The machine's clock."""
        return time.time_ns() // 1000

    async def until(self, condition: Callable[[], Any], *, within_secs: float) -> None:
        """Real time passes; the machine may be slow."""
        async with asyncio.timeout(within_secs + 20):
            while not await _holds(condition):
                for owner in self.owners:
                    if owner.task.done() and not owner.task.cancelled():
                        owner.task.result()
                await asyncio.sleep(0.05)

    async def produce(self, key: bytes, value: bytes, headers: Headers) -> None:
        """A record into the queue."""
        await self.log.produce(TOPICS.queue, 0, key, value, headers)

    async def read(self, topic: str) -> list[Record]:
        """Every committed record of a topic."""
        return await self.log.read(topic, 0)

    async def committed(self, topic: str) -> int | None:
        """The group's position."""
        name = self.log.names.topic(topic)
        offset: int | None = await self._consumers[-1].committed(TopicPartition(name, 0))
        return offset

    async def kept(self) -> Kept:
        """The state, as its changelog tells it."""
        values: dict[bytes, bytes] = {}
        for record in await self.read(TOPICS.state):
            values[record.key] = record.value
        return read_kept((key, value) for key, value in values.items()
                         if value and key != MARK_KEY and not key.startswith(POSITION))  # fmt: skip

    async def stop(self) -> None:
        """Every owner ends, and the clients."""
        for owner in self.owners:
            owner.task.cancel()
            await asyncio.gather(owner.task, return_exceptions=True)
            await owner.queue.end()
        for consumer in self._consumers:
            await consumer.stop()
        await self.log.stop()

    async def _queue(self, disk: str) -> FaultyQueue:
        for owner in self.owners:
            if owner.task.done():
                owner.queue.close_store()
        names = self.log.names
        consumer = Inbox(
            **self.log.connection.arguments("test"),
            group_id=names.group(TOPICS.part),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        consumer.assign([TopicPartition(names.topic(TOPICS.queue), 0)])
        await consumer.start()
        self._consumers.append(consumer)
        return FaultyQueue(
            self.log.connection,
            names,
            TOPICS,
            0,
            consumer,
            RocksStore(self._folder / disk),
            retry_topics=tuple(map(TOPICS.retry, DELAYS_SECS)),
            watcher=NoRestore(),
        )


class NoRestore:
    """Nobody listens to a restore."""

    def restoring(self, left: int, read: int) -> None:
        """Not told."""

    def restored(self, records: int, *, rebuilt: bool) -> None:
        """Not told."""


async def _holds(condition: Callable[[], Any]) -> bool:
    result = condition()
    if asyncio.iscoroutine(result):
        result = await result
    return bool(result)


__all__ = ["DELAYS_SECS", "PARTITION", "TOPICS", "KafkaWorld", "MemoryWorld", "Scripted", "World"]
