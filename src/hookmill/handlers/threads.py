"""A team's own function as a handler; a plain `def` runs in a thread.

A thread cannot be cut off. So an attempt at an event whose thread still runs waits for that one:
the function never runs twice at once for one event. A thread that hangs keeps its place among the
handler's `concurrency`; when every place is taken by such a one for long, only a new process helps.
"""

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

from hookmill.core.errors import Stuck
from hookmill.core.event import Event
from hookmill.core.outcome import Retry
from hookmill.handlers.api import Answer, Context

PLACE_SECS_MAX = 1.0
HUNG_SECS = 120.0


class FunctionHandler:
    """`async def` is awaited; `def` runs in one of at most `threads` threads of this process."""

    def __init__(
        self,
        function: Callable[[Event, Context], Any],
        *,
        threads: int = 8,
        hung_secs: float = HUNG_SECS,
    ) -> None:
        self._function = function
        self._places = asyncio.Semaphore(threads)
        self._hung_secs = hung_secs
        self._running: dict[str, asyncio.Future[Any]] = {}
        self._last_change = time.monotonic()

    async def start(self) -> None:
        """There is nothing to open."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Call the function; what it answers is the runner's to judge. Raises Stuck."""
        if inspect.iscoroutinefunction(self._function):
            found: Answer = await self._function(event, context)
            return found
        running = self._running.get(event.id) or await self._started(event, context)
        if running is None:
            return Retry("no_thread_free", in_place=True)
        answer: Any = await asyncio.shield(running)
        if inspect.isawaitable(answer):  # a coroutine function behind a plain decorator
            answer = await answer
        return answer  # type: ignore[no-any-return]  # the runner judges it

    async def close(self) -> None:
        """There is nothing to let go of; threads end with the process."""

    async def _started(self, event: Event, context: Context) -> asyncio.Future[Any] | None:
        """The function in a thread of its own, None while none is free."""
        try:
            async with asyncio.timeout(min(PLACE_SECS_MAX, context.deadline_secs / 2)):
                await self._places.acquire()
        except TimeoutError:
            if time.monotonic() - self._last_change > self._hung_secs + context.deadline_secs:
                raise Stuck(
                    f"every thread of handler {context.handler} has hung for over "
                    f"{self._hung_secs:g} s; threads cannot be cut off: let the function have time "
                    "limits of its own, or make it `async def`"
                ) from None
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._running[event.id] = future
        self._last_change = time.monotonic()
        future.add_done_callback(lambda _: self._ended(event.id, future))
        threading.Thread(
            target=contextvars.copy_context().run,  # its logs and spans belong to this event
            args=(self._run, loop, future, event, context),
            name=f"handler-{context.handler}",
            daemon=True,  # a hung one must not keep the process from ending
        ).start()
        return future

    def _run(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], *given: Any
    ) -> None:
        answer: Any = None
        error: BaseException | None = None
        try:
            answer = self._function(*given)
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, future, answer, error)

    def _ended(self, event_id: str, future: asyncio.Future[Any]) -> None:
        self._places.release()
        self._last_change = time.monotonic()
        del self._running[event_id]
        if not future.cancelled():
            future.exception()  # nobody may be waiting any more


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, Exception):
        future.set_exception(error)
    elif error is not None:
        future.set_exception(RuntimeError(f"{type(error).__name__} in a handler: {error}"))
    else:
        future.set_result(answer)
