"""One call of a handler, judged as production judges it."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

from hookmill.core.event import Event
from hookmill.handlers import attempt as attempts
from hookmill.handlers.api import Answer, Context, Handler
from hookmill.handlers.threads import FunctionHandler
from hookmill.testing.events import TIMEOUT_SECS, make_context

Function = Callable[[Event, Context], Any]
_METHODS = ("start", "handle", "close")


async def run(
    handler: Function | Handler,
    event: Event,
    *,
    attempt: int = 1,
    timeout_secs: float = TIMEOUT_SECS,
    context: Context | None = None,
) -> Answer:
    """What production makes of one call: None, a Retry or a DeadLetter.

    A function, `async` or not, is called as the one that the configuration names; an object with
    `start`, `handle` and `close` is started before and closed after. An exception is a Retry with
    its name as the reason (its traceback goes to standard error), too long a time, in real seconds,
    Retry("timeout"), any other answer DeadLetter("handler_answer"). A `context` says all of it.
    """
    if context is None:
        context = make_context(event, attempt=attempt, deadline_secs=timeout_secs)
    called = as_handler(handler)
    await called.start()
    try:
        return await attempts.attempt(called, event, context)
    finally:
        await called.close()


def run_sync(handler: Function | Handler, event: Event, **options: Any) -> Answer:
    """`run`, for a test that is no coroutine."""
    return asyncio.run(run(handler, event, **options))


def as_handler(
    handler: Function | Handler, *, threads: int = 8, hung_secs: float = TIMEOUT_SECS
) -> Handler:
    """What the runner feeds: the function as `package.module:function` would be, or the object."""
    if isinstance(handler, type):
        raise TypeError(f"{handler.__name__} is a class; give an object of it, or a function")
    if all(callable(getattr(handler, each, None)) for each in _METHODS):
        return _Telling(handler)  # type: ignore[arg-type]  # it has the methods
    if not callable(handler):
        raise TypeError(f"a handler is a function of event and context, not {handler!r}")
    return _Telling(FunctionHandler(handler, threads=threads, hung_secs=hung_secs))


class _Telling:
    """Shows the traceback of what a handler raised: an answer has only its name and text."""

    def __init__(self, inner: Handler) -> None:
        self._inner = inner

    async def start(self) -> None:
        """As the handler does."""
        await self._inner.start()

    async def handle(self, event: Event, context: Context) -> Answer:
        """As the handler does."""
        try:
            return await self._inner.handle(event, context)
        except Exception:
            traceback.print_exc()
            raise

    async def close(self) -> None:
        """As the handler does."""
        await self._inner.close()
