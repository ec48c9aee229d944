"""What a handler is: something that takes an event and its context, and answers in three ways."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry

Answer = Retry | DeadLetter | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler may know beside the event.

    `attempt` counts from 1; `deadline_secs` is how long it may take; the idempotency key is the
    event's id: the same event has the same one for ever, however often it is handed over.
    """

    handler: str
    attempt: int
    deadline_secs: float
    idempotency_key: str
    delivery: str | None
    topic: str
    partition: int
    offset: int
    say: Callable[..., None]


class Handler(Protocol):
    """Handles events of many partitions at once, those of one partition one after another."""

    async def start(self) -> None:
        """Open what it needs; an error ends the process."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Do it. None: done. Retry or any exception: again later. DeadLetter: set it aside."""

    async def close(self) -> None:
        """Let go of what it opened."""


class FunctionHandler:
    """A team's own function as a handler; a plain `def` runs in a thread.

    A thread cannot be cut off. So an attempt at an event whose thread still runs waits for that
    one: the function never runs twice at once for one event, and hung threads do not pile up.
    """

    def __init__(self, function: Callable[[Event, Context], Any]) -> None:
        self._function = function
        self._threads: dict[tuple[str, int, int], asyncio.Task[Any]] = {}

    async def start(self) -> None:
        """There is nothing to open."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Call the function; what it answers is the runner's to judge."""
        if inspect.iscoroutinefunction(self._function):
            found: Answer = await self._function(event, context)
        else:
            found = await asyncio.shield(self._thread(event, context))
        return found

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _thread(self, event: Event, context: Context) -> asyncio.Task[Any]:
        place = (context.topic, context.partition, context.offset)
        if place not in self._threads:
            thread = asyncio.create_task(asyncio.to_thread(self._function, event, context))
            thread.add_done_callback(lambda _: self._threads.pop(place))
            self._threads[place] = thread
        return self._threads[place]
