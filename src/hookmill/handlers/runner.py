"""Feeds a handler from one partition of its queue: lane by lane, at least once, never skipping.

It knows no Kafka: `Queue` is all it wants of it. `Lanes` says what may be handled and what is to
be committed; here is only the coming and going: records are read while there is room, events are
handled while places are free, and what is settled is committed as soon as the last commit is done.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Sequence

import msgspec

from hookmill.core.event import Event, decode
from hookmill.core.outcome import DeadLetter
from hookmill.core.record import Record
from hookmill.handlers.handling import Handling, not_before_ms_of
from hookmill.handlers.kept import Kept, decode_parked, parked_key, read_kept
from hookmill.handlers.lanes import Item, Lanes
from hookmill.handlers.ports import Observer, Queue, Settings

HELD_RECORDS_MAX = 1_000
HELD_BYTES_MAX = 16 * 1024 * 1024
FETCH_RECORDS_MAX = 200
FETCH_TIMEOUT_SECS = 1.0
LOOK_SECS_MIN, LOOK_SECS_MAX = 0.02, 0.5
DRAIN_SECS = 3.0
COMMIT_REST_SECS = 0.05
"""A commit costs the same for one event as for many, and nobody waits for it: what is settled in
this time after one goes out with the next. A process that is killed repeats that much more."""


class Runner:
    """Runs until cancelled, and then has a moment to finish what is under way.

    `slots` are the places that all partitions of the process have together; `now_us` is the
    machine's clock in epoch microseconds.
    """

    def __init__(
        self,
        settings: Settings,
        handling: Handling,
        queue: Queue,
        *,
        slots: asyncio.Semaphore,
        observer: Observer,
        now_us: Callable[[], int],
        rest_secs: float = 0.0,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._handling = handling
        self._queue = queue
        self._slots = slots
        self._observer = observer
        self._now_us = now_us
        self._rest_secs = rest_secs
        self._lanes = Lanes(self._topics.queue, Kept(), ordered=settings.ordered)
        self._due: list[tuple[int, int, Item]] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._room, self._ready, self._dirty = (asyncio.Event() for _ in range(3))
        self._draining = False
        self._last_read_ms: int | None = None
        self._turns = 0

    @property
    def turns(self) -> int:
        """Grows as long as it polls and the handler comes back."""
        return self._turns + self._handling.turns

    @property
    def pending_since_ms(self) -> int | None:
        """Append time of the oldest record of the queue that is neither done nor put away; while
        too many are parked to read on, that of the last one read."""
        if self._is_full:
            return self._last_read_ms
        return self._lanes.oldest_ms(self._topics.queue)

    async def run(self) -> None:
        """Work until cancelled. Any exception leaves nothing half done; the caller runs it anew."""
        kept = read_kept(await self._queue.begin())
        self._lanes = Lanes(self._topics.queue, kept, ordered=self._settings.ordered)
        self._due, self._tasks = [], set()
        self._failed = asyncio.get_running_loop().create_future()
        self._observer.standing(self._lanes.waiting, self._lanes.parked)
        self._wake()
        self._draining = False
        coming = [
            asyncio.ensure_future(each)
            for each in (self._read(), self._read_retries(), self._dispatch())
        ]
        committing = asyncio.ensure_future(self._commit())
        try:
            watched = [self._failed, committing, *coming]
            await asyncio.wait(watched, return_when="FIRST_COMPLETED")
            for each in watched:
                if each.done():
                    each.result()
        except asyncio.CancelledError:
            await self._drain(coming, committing)
            raise
        finally:
            await _end([*coming, *self._tasks, committing])
            self._failed.cancel()

    @property
    def _is_full(self) -> bool:
        """Whether nothing more is read until events that wait for a retry are handled."""
        return self._lanes.parked >= self._settings.parked_max

    async def _read(self) -> None:
        """The queue, as long as there is room."""
        queue = self._topics.queue
        while True:
            room = self._room_for(queue)
            if self._is_full or room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            records = await self._queue.fetch(
                records_max=min(room, FETCH_RECORDS_MAX), timeout_secs=FETCH_TIMEOUT_SECS
            )
            self._turn()
            for record in records:
                self._last_read_ms = record.timestamp_ms
                item = self._entered(queue, record)
                if item is not None:
                    self._lanes.line_up(item)
            if records:
                self._wake()

    async def _read_retries(self) -> None:
        """The retry topics: their records wait here, in memory, until each is due.

        A topic without room is not asked. That is kinder than pausing its partition, which would
        throw away what was fetched ahead.
        """
        while True:
            topics = [each for each in self._settings.retry_topics if self._room_for(each) > 0]
            found = await self._queue.fetch_retries(
                topics, records_max=FETCH_RECORDS_MAX, timeout_secs=self._look_secs()
            )
            self._turn()
            for topic, record in found:
                item = self._entered(topic, record)
                if item is not None:
                    entry = (self._due_ms(topic, record), next(self._numbers), item)
                    heapq.heappush(self._due, entry)
            if self._line_up_due() or found:
                self._wake()

    async def _dispatch(self) -> None:
        """One task for each event that may be handled now, while places are free."""
        while True:
            while not self._lanes.ready:
                self._ready.clear()
                await self._ready.wait()
            await self._slots.acquire()
            item = self._lanes.take()
            if item is None:
                self._slots.release()
                continue
            task = asyncio.ensure_future(self._handle(item))
            self._tasks.add(task)
            task.add_done_callback(self._handled)

    async def _handle(self, item: Item) -> None:
        if item.record is None:
            item.record = decode_parked(self._queue.kept(parked_key(item.subject, item.offset)))
            event = _decoded(item.record)
            if isinstance(event, DeadLetter):
                self._lanes.settle(item, self._handling.set_aside(item.record, event))
                return
            item.event, item.event_id = event, event.id
        assert item.event is not None
        ending = await self._handling.handle(item.record, item.event)
        self._lanes.settle(item, ending)

    async def _commit(self) -> None:
        """What is settled, as soon as the commit before is done: an idle queue commits at once.

        Nothing else commits, and nothing comes after a commit that failed: it would go out
        without what went before it.
        """
        while not self._draining:
            await self._dirty.wait()
            self._dirty.clear()
            while (batch := self._lanes.batch()) is not None:
                await self._queue.commit(batch.outputs, batch.changes, batch.offsets)
                self._observer.standing(self._lanes.waiting, self._lanes.parked)
                if self._rest_secs and not self._draining:
                    await asyncio.sleep(self._rest_secs)
            self._room.set()

    async def _drain(
        self, coming: Sequence[asyncio.Future[None]], committing: asyncio.Future[None]
    ) -> None:
        """Let handlers that run come to their end, within limits, and commit what they did.

        A commit that fails must not look like an error of a worker that is to be run anew: the
        next owner's fence settles it.
        """
        with contextlib.suppress(Exception):
            await _end(coming)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=DRAIN_SECS)
            self._draining = True
            self._dirty.set()
            await committing

    def _entered(self, topic: str, record: Record) -> Item | None:
        """A record in its stream; None if nothing is left to do, as with what is no event."""
        event = _decoded(record)
        if isinstance(event, Event):
            return self._lanes.enter(topic, record, event, event.id)
        event_id = record.header("ce_id") or f"{record.topic}:{record.offset}"
        item = self._lanes.enter(topic, record, None, event_id)
        if item is not None:
            self._lanes.settle(item, self._handling.set_aside(record, event))
        return None

    def _line_up_due(self) -> bool:
        """Let those whose time has come have their turn; whether there were any."""
        now_ms = self._now_us() // 1000
        found = False
        while self._due and self._due[0][0] <= now_ms:
            item = heapq.heappop(self._due)[2]
            assert item.record is not None
            left_ms = not_before_ms_of(item.record) - now_ms
            if left_ms > 0:
                self._lanes.settle(item, self._handling.wait_on(item.record, left_ms / 1000))
            else:
                self._lanes.line_up(item)
            found = True
        return found

    def _due_ms(self, topic: str, record: Record) -> int:
        """When to look at a retry record again: at its time, or, where that is further away than
        the topic's delay, after the delay, to be moved on."""
        delay_secs = self._topics.delay_secs(topic) or 0
        shortest_secs = min(self._settings.delays_secs, default=delay_secs)
        not_before_ms = not_before_ms_of(record)
        turn_ms = record.timestamp_ms + delay_secs * 1000
        return not_before_ms if not_before_ms - turn_ms < shortest_secs * 1000 else turn_ms

    def _look_secs(self) -> float:
        """How long the retry topics may be listened to before something is due."""
        if not self._due:
            return LOOK_SECS_MAX
        left_secs = self._due[0][0] / 1000 - self._now_us() / 1_000_000
        return min(LOOK_SECS_MAX, max(LOOK_SECS_MIN, left_secs))

    def _room_for(self, topic: str) -> int:
        if self._lanes.held_bytes(topic) >= HELD_BYTES_MAX:
            return 0
        return HELD_RECORDS_MAX - self._lanes.held(topic)

    def _handled(self, task: asyncio.Task[None]) -> None:
        """A place is free again; a defect, or what only a new process can mend, ends the run."""
        self._slots.release()
        self._tasks.discard(task)
        self._wake()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _turn(self) -> None:
        """It polls; while events are in the handler only their coming back is progress."""
        if not self._tasks:
            self._turns += 1

    def _wake(self) -> None:
        for each in (self._room, self._ready, self._dirty):
            each.set()


def _decoded(record: Record) -> Event | DeadLetter:
    try:
        return decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return DeadLetter("undecodable_event", str(error))


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
