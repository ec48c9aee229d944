"""Feeds one handler from one partition of its queue: in order, at least once, never skipping.

It knows no Kafka: `Queue` is all it wants of it. A handler that fails is tried again in place,
so order holds; only its own `DeadLetter` sets an event aside.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from hookmill.core.event import Event, decode
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.core.record import Record
from hookmill.handlers.api import Context, Handler
from hookmill.stages import headers

RECORDS_MAX = 200
FETCH_TIMEOUT_SECS = 1.0
PAUSE_SECS_FIRST = 0.5
PAUSE_SECS_MAX = 30.0


class Queue(Protocol):
    """One partition of the handler's queue."""

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records; empty when none came in time."""

    async def set_aside(self, record: Record, reason: str, detail: str, attempt: int) -> None:
        """Write the dead letter; returns when it is kept."""

    async def commit(self, next_offset: int) -> None:
        """Everything before that offset is done."""


class Observer(Protocol):
    """What the runner tells of itself."""

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""

    def retried(self, record: Record, reason: str, attempt: int) -> None:
        """The handler failed and is tried again."""

    def set_aside(self, record: Record, reason: str) -> None:
        """The event is a dead letter now."""


async def pause_growing(attempt: int) -> None:
    """Wait before the next attempt: doubling, jittered, at most half a minute."""
    longest = min(PAUSE_SECS_MAX, PAUSE_SECS_FIRST * 2 ** min(attempt - 1, 10))
    await asyncio.sleep(longest * random.uniform(0.5, 1.0))


class Runner:
    """Runs until cancelled. A cancellation leaves a commit of what was done, or none."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        queue: Queue,
        *,
        timeout_secs: float,
        observer: Observer,
        say: Callable[..., None],
        pause: Callable[[int], Awaitable[None]] = pause_growing,
    ) -> None:
        self._name = name
        self._handler = handler
        self._queue = queue
        self._timeout_secs = timeout_secs
        self._observer = observer
        self._say = say
        self._pause = pause

    async def run(self) -> None:
        """Fetch, handle, commit, for ever."""
        while True:
            records = await self._queue.fetch(
                records_max=RECORDS_MAX, timeout_secs=FETCH_TIMEOUT_SECS
            )
            if records:
                await self._handle_all(records)

    async def _handle_all(self, records: list[Record]) -> None:
        done = 0
        try:
            for record in records:
                await self._handle(record)
                done += 1
        finally:
            if done:
                await self._queue.commit(records[done - 1].offset + 1)

    async def _handle(self, record: Record) -> None:
        try:
            event = decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            await self._set_aside(record, DeadLetter("undecodable_event", str(error)), 1)
            return
        attempt = 1
        while (answer := await self._attempt(record, event, attempt)) is not None:
            if isinstance(answer, DeadLetter):
                await self._set_aside(record, answer, attempt)
                return
            self._observer.retried(record, answer.reason, attempt)
            await self._pause(attempt)
            attempt += 1

    async def _attempt(
        self, record: Record, event: Event, attempt: int
    ) -> Retry | DeadLetter | None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_secs):
                answer: Any = await self._handler.handle(
                    event, self._context(record, event, attempt)
                )
        except TimeoutError:
            return Retry("timeout")
        except Exception as error:  # whatever it is, the event must not be lost
            return Retry(type(error).__name__)
        if answer is None:
            self._observer.handled(record, event, time.perf_counter() - began)
            return None
        if isinstance(answer, Retry | DeadLetter):
            return answer
        detail = f"a handler answers None, Retry or DeadLetter, not {type(answer).__name__}"
        return DeadLetter("handler_answer", detail)

    async def _set_aside(self, record: Record, letter: DeadLetter, attempt: int) -> None:
        await self._queue.set_aside(record, letter.reason, letter.detail, attempt)
        self._observer.set_aside(record, letter.reason)

    def _context(self, record: Record, event: Event, attempt: int) -> Context:
        return Context(
            handler=self._name,
            attempt=attempt,
            deadline_secs=self._timeout_secs,
            idempotency_key=event.id,
            delivery=record.header(headers.DELIVERY),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            say=self._say,
        )
