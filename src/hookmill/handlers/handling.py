"""Takes one event through the handler to an ending: done, to wait for a retry, or set aside."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.core.record import Record
from hookmill.handlers.api import Answer, Context, Handler
from hookmill.handlers.attempt import Later, after_failure, attempt, delay_for
from hookmill.handlers.journal import CRASHES_MAX
from hookmill.handlers.kept import Waiting
from hookmill.handlers.lanes import Ending
from hookmill.handlers.ports import Journal, Observer, Settings
from hookmill.stages import failed, headers
from hookmill.telemetry.logs import bound
from hookmill.telemetry.traces import Attempt, Tracer

PAUSE_SECS_FIRST = 0.5
PAUSE_SECS_MAX = 30.0


async def pause_growing(attempt: int) -> None:
    """Wait before the next attempt in place: doubling, jittered, at most half a minute."""
    longest = min(PAUSE_SECS_MAX, PAUSE_SECS_FIRST * 2 ** min(attempt - 1, 10))
    await asyncio.sleep(longest * random.uniform(0.5, 1.0))


class Handling:
    """The handler with all that is done around a call of it.

    `now_us` is the machine's clock in epoch microseconds, `clock` a monotonic one in seconds.
    `turns` grows with every answer of the handler.
    """

    def __init__(
        self,
        settings: Settings,
        handler: Handler,
        *,
        journal: Journal,
        observer: Observer,
        now_us: Callable[[], int],
        clock: Callable[[], float],
        pause: Callable[[int], Awaitable[None]] = pause_growing,
        tracer: Tracer | None = None,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._handler = handler
        self._journal = journal
        self._observer = observer
        self._now_us = now_us
        self._clock = clock
        self._pause = pause
        self._tracer = tracer
        self.turns = 0

    async def handle(self, record: Record, event: Event) -> Ending:
        """Call the handler until it gives an answer that counts. Raises HookmillError."""
        attempts = attempts_of(record) + 1
        if self._tracer is None:
            traceparent = record.header(headers.TRACEPARENT)
            return await self._to_an_ending(record, event, attempts, traceparent)
        with self._tracer.attempt(self._topics.part, record, attempts) as traced:
            ending = await self._to_an_ending(record, event, attempts, traced.traceparent)
            return _noted(traced, ending)

    async def _to_an_ending(
        self, record: Record, event: Event, attempts: int, traceparent: str | None
    ) -> Ending:
        began = self._clock()
        answer = await self._answer(record, event, attempts, traceparent)
        if isinstance(answer, Retry):
            now_ms = -(-self._now_us() // 1000)  # rounded up: no wait is shorter than was asked
            following = after_failure(answer, attempts, self._settings.delays_secs, now_ms)
            if isinstance(following, Later):
                self._observer.retried(record, answer.reason, attempts, following.delay_secs)
                return self._put_off(record, answer, following, attempts)
            answer = following
        if isinstance(answer, DeadLetter):
            return self.set_aside(record, answer, attempts)
        self._observer.handled(record, event, self._clock() - began)
        return Ending()

    def set_aside(self, record: Record, why: DeadLetter, attempts: int = 1) -> Ending:
        """The record as a dead letter."""
        letter = failed.dead_letter(
            record,
            topic=self._topics.dead_letters,
            part=self._topics.part,
            reason=why.reason,
            detail=why.detail,
            attempt=attempts,
            at_us=self._now_us(),
        )
        self._observer.set_aside(record, why.reason)
        return Ending(letter)

    def wait_on(self, record: Record, left_secs: float) -> Ending:
        """Its handler asked for a longer wait than any retry topic has: it goes through one more,
        and no attempt is counted."""
        delay_secs = delay_for(left_secs, self._settings.delays_secs)
        why = Retry(
            record.header(headers.ERROR_REASON) or "", record.header(headers.ERROR_DETAIL) or ""
        )
        later = Later(delay_secs, not_before_ms_of(record))
        return self._put_off(record, why, later, attempts_of(record))

    async def _answer(
        self, record: Record, event: Event, attempts: int, traceparent: str | None
    ) -> Answer:
        if self._journal.crashes(event.id) >= CRASHES_MAX:
            self._journal.end(event.id)
            return Retry("process_crashed", f"{CRASHES_MAX} processes died while they handled it")
        context = self._context(record, event, attempts, traceparent)
        in_a_row = 0
        while True:
            self._journal.begin(event.id)
            try:
                answer = await attempt(self._handler, event, context)
            finally:
                self._journal.end(event.id)
            self.turns += 1
            if not (isinstance(answer, Retry) and answer.in_place):
                return answer
            in_a_row += 1
            self._observer.held(record, answer.reason)
            await self._pause(in_a_row)

    def _put_off(self, record: Record, why: Retry, later: Later, attempts: int) -> Ending:
        now_us = self._now_us()
        topic = self._topics.retry(later.delay_secs)
        waits = failed.retry(
            record,
            topic=topic,
            part=self._topics.part,
            reason=why.reason,
            detail=why.detail,
            attempt=attempts,
            at_us=now_us,
            not_before_ms=later.not_before_ms,
        )
        kept = Waiting(topic, why.reason, attempts, now_us // 1000, later.not_before_ms)
        return Ending(waits, kept)

    def _context(
        self, record: Record, event: Event, attempts: int, traceparent: str | None
    ) -> Context:
        delivery = record.header(headers.DELIVERY)
        name = self._topics.handler
        return Context(
            handler=name,
            attempt=attempts,
            deadline_secs=self._settings.timeout_secs,
            idempotency_key=event.id,
            delivery=delivery,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            log=bound(handler=name, event_id=event.id, type=event.type, **headers.ids(record)),
            traceparent=traceparent,
        )


def _noted(traced: Attempt, ending: Ending) -> Ending:
    """The ending, told to the span of its attempt; what waits for a retry names that span."""
    if ending.output is None:
        traced.ended("handled", None)
        return ending
    outcome = "dead_lettered" if ending.waiting is None else "retried"
    reasons = [value for name, value in ending.output.headers if name == headers.ERROR_REASON]
    traced.ended(outcome, reasons[-1].decode("utf-8", "replace"))
    return Ending(traced.marked(ending.output), ending.waiting)


def attempts_of(record: Record) -> int:
    """How often it failed before: only what waited in a retry topic says so."""
    if record.header(headers.NOT_BEFORE) is None:
        return 0
    return int(record.header(headers.ATTEMPT) or 0)


def not_before_ms_of(record: Record) -> int:
    """When a retry record may be tried again, epoch milliseconds."""
    return int(record.header(headers.NOT_BEFORE) or 0)
