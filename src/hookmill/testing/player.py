"""Processes that live and die on one log: the real runner, in a time of its own."""

import asyncio
from collections import Counter, defaultdict

import msgspec

from hookmill.core.event import Event
from hookmill.core.record import Record
from hookmill.handlers.api import Answer, Context, Handler
from hookmill.handlers.attempt import attempt
from hookmill.handlers.handling import Handling
from hookmill.handlers.ports import Settings
from hookmill.handlers.runner import Runner
from hookmill.stages import headers
from hookmill.testing.events import EPOCH_US
from hookmill.testing.queue import Fenced, MemoryLog, MemoryQueue
from hookmill.testing.virtual import Over, VirtualTime

QUIET_TURNS = 20
"""Turns of the event loop in which nothing happened: the runner has no longer chain of its own."""
MARGIN_SECS = 3_600.0
"""The time limit is kept by what is called here; the runner's own must not come before it."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the handler: the `turn`-th of all, `at_secs` after the first, in virtual time.

    `number` is what its context called it. `lost` if the process died before the answer counted;
    the answer of one that was cut off by that is None.
    """

    turn: int
    at_secs: float
    number: int
    answer: Answer
    lost: bool = False


class Life:
    """One process after another on one log. It is the handler that each of them calls, and the
    observer that each tells."""

    def __init__(
        self, settings: Settings, handler: Handler, *, concurrency: int, crash_after: int | None
    ) -> None:
        self._timeout_secs = settings.timeout_secs
        self._settings = msgspec.structs.replace(
            settings, timeout_secs=settings.timeout_secs + MARGIN_SECS
        )
        self._topics = settings.topics
        self._handler = handler
        self._concurrency = concurrency
        self._crash_after = crash_after
        self.log = MemoryLog(self._topics.queue, self._topics.dead_letters, *settings.retry_topics)
        self.time = VirtualTime(EPOCH_US)
        self._journal = MemoryJournal()
        self.attempts: dict[int, list[Attempt]] = defaultdict(list)
        self.done: set[int] = set()
        self._begun = self._ended = self._running = self._activity = 0
        self._crashed = False
        self._moved = asyncio.Event()

    async def play(self, *, until_us: int) -> None:
        """Let processes live until all is done or it is `until_us`."""
        await self._handler.start()
        try:
            while True:
                self._crashed = False
                self.time.begin()
                await self._live(until_us)
                if not self._crashed:
                    return
                self._journal = self._journal.after_crash()
        finally:
            await self._handler.close()

    async def _live(self, until_us: int) -> None:
        """One process, from its fence to its end."""
        queue = MemoryQueue(
            self.log,
            self._topics.queue,
            now_ms=self.time.now_ms,
            wait=self.time.wait,
            committed=self._committed,
        )
        handling = Handling(
            self._settings,
            self,
            journal=self._journal,
            observer=self,
            now_us=self.time.now_us,
            clock=self.time.secs,
            pause=self.time.pause,
        )
        slots = asyncio.Semaphore(self._concurrency)
        runner = Runner(
            self._settings, handling, queue, slots=slots, observer=self, now_us=self.time.now_us
        )
        running = asyncio.ensure_future(runner.run())
        running.add_done_callback(lambda _: self._moved.set())
        try:
            while await self._quiet(running) and not self._is_done:
                at_us = self._next_us()
                assert at_us is not None, "events are left, and nothing will ever happen"
                if at_us > until_us:
                    break
                self.time.move_to(at_us)
        finally:
            self.time.end()
            result = (await asyncio.gather(running, return_exceptions=True))[0]
        expected = (Over, Fenced) if self._crashed else Over
        if isinstance(result, BaseException) and not isinstance(result, expected):
            raise result

    async def _quiet(self, running: asyncio.Future[None]) -> bool:
        """Wait until nothing happens but by time; False if the process has ended."""
        while not running.done():
            before = self._activity
            self._moved.clear()
            for _ in range(QUIET_TURNS):
                await asyncio.sleep(0)
            if self._running and not running.done():
                await self._moved.wait()
            elif self._activity == before:
                return not running.done()
        return False

    @property
    def _is_done(self) -> bool:
        """Whether nothing lies before any position, nor beside it."""
        left = any(map(self.log.left, (self._topics.queue, *self._settings.retry_topics)))
        return not left and not any(key.startswith(b"parked|") for key in self.log.state)

    def _next_us(self) -> int | None:
        """When something may happen next: a pause ends, or a retry is to be looked at."""
        now_us, pause_us = self.time.now_us(), self.time.next_us()
        times_us = [] if pause_us is None else [pause_us]
        for delay_secs in self._settings.delays_secs:
            for record in self.log.left(self._topics.retry(delay_secs)):
                turn_ms = record.timestamp_ms + delay_secs * 1000
                not_before_ms = int(record.header(headers.NOT_BEFORE) or 0)
                times_us += [each * 1000 for each in (turn_ms, not_before_ms)]
        return min((each for each in times_us if each > now_us), default=None)

    def _committed(self) -> None:
        self._activity += 1
        self.time.changed()

    # the handler, as the runner sees it

    async def start(self) -> None:
        """The life starts it."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Call it, by the limit that it has, and note what it answers."""
        if self._crashed:
            await _for_ever()
        self._begun += 1
        turn, at_secs = self._begun, (self.time.now_us() - EPOCH_US) / 1_000_000
        notes = self.attempts[origin(self.log.topics[context.topic][context.offset])]
        limited = msgspec.structs.replace(context, deadline_secs=self._timeout_secs)
        self._running += 1
        answer, lost = None, True
        try:
            answer = await attempt(self._handler, event, limited)
            self._ended += 1
            lost = self._crashed or self._ended == self._crash_after
        finally:
            self._running -= 1
            self._activity += 1
            self._moved.set()
            notes.append(
                Attempt(
                    turn=turn, at_secs=at_secs, number=context.attempt, answer=answer, lost=lost
                )
            )
        if lost:
            self._crash()
            await _for_ever()
        return answer

    async def close(self) -> None:
        """The life closes it."""

    def _crash(self) -> None:
        """Nothing of this process counts any more from here on."""
        self._crashed = True
        self._journal.frozen = True
        self.log.epoch += 1
        self.time.end()

    # the observer, as the runner sees it

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """Done, unless the process dies before it is committed."""
        self.done.add(origin(record))

    def retried(self, record: Record, reason: str, attempt: int, delay_secs: int) -> None:
        """The attempt has it."""

    def held(self, record: Record, reason: str) -> None:
        """The attempt has it."""

    def set_aside(self, record: Record, reason: str) -> None:
        """The log has it."""

    def standing(self, waiting: int, parked: int) -> None:
        """The log has it."""


class MemoryJournal:
    """Which events were in the handler when a process died; a journal on no disk."""

    def __init__(self, crashes: Counter[str] | None = None) -> None:
        self._crashes = crashes or Counter()
        self._open = Counter[str]()
        self.frozen = False

    def crashes(self, event_id: str) -> int:
        """How many processes in a row died with it."""
        return self._crashes[event_id]

    def begin(self, event_id: str) -> None:
        """It is handed to the handler."""
        self._open[event_id] += 1

    def end(self, event_id: str) -> None:
        """It came back."""
        if not self.frozen:
            self._open[event_id] -= 1
            del self._crashes[event_id]

    def after_crash(self) -> "MemoryJournal":
        """As the next process finds it."""
        return MemoryJournal(self._crashes + +self._open)


async def _for_ever() -> None:
    """A dead process does nothing more."""
    await asyncio.get_running_loop().create_future()


def origin(record: Record) -> int:
    """The offset that the record has, or had, in the queue."""
    origin = record.header(headers.ERROR_OFFSET)
    return record.offset if origin is None else int(origin)
