"""A team's own function as a handler: awaited, or in a thread that nothing can cut off."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from hookmill.core.errors import Stuck
from hookmill.core.event import Event
from hookmill.core.outcome import Retry
from hookmill.handlers.api import Answer, Context
from hookmill.handlers.attempt import attempt
from hookmill.handlers.threads import FunctionHandler
from hookmill.telemetry.logs import bound
from support.memory_queue import event

CONTEXT = Context(
    handler="h", attempt=1, deadline_secs=5.0, idempotency_key="hm_1", delivery=None,
    topic="handler-h", partition=0, offset=0, log=bound(),
)  # fmt: skip
HURRIED = replace(CONTEXT, deadline_secs=0.02)


def plain(event: Event, context: Context) -> Answer:
    """A function as a team writes it."""
    return None if context.attempt > 1 else Retry("first")


async def awaited(event: Event, context: Context) -> Answer:
    """The same, asynchronous."""
    return plain(event, context)


@pytest.mark.parametrize("function", [plain, awaited])
async def test_a_function_is_a_handler(function: Callable[[Event, Context], Any]) -> None:
    """Plain or asynchronous, it answers in the same words."""
    handler = FunctionHandler(function)

    assert await handler.handle(event(1), CONTEXT) == Retry("first")
    assert await handler.handle(event(1), replace(CONTEXT, attempt=2)) is None


async def test_a_plain_function_runs_beside_the_loop() -> None:
    """It may block as long as it wants."""
    names: list[str] = []
    handler = FunctionHandler(lambda *_: names.append(threading.current_thread().name))
    await handler.handle(event(1), CONTEXT)

    assert names == ["handler-h"]


@pytest.mark.parametrize("error", [OSError("no"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_a_plain_function_raises_is_a_failed_attempt(error: BaseException) -> None:
    """`sys.exit` in a handler ends neither the loop nor the process."""

    def fails(event: Event, context: Context) -> Answer:
        raise error

    answer = await attempt(FunctionHandler(fails), event(1), CONTEXT)

    assert isinstance(answer, Retry)
    assert not answer.in_place


async def test_a_plain_function_that_hangs_is_not_run_twice_at_once() -> None:
    """Its thread cannot be cut off: a later attempt waits for it, and takes its answer."""
    calls: list[int] = []
    release = threading.Event()

    def slow(event: Event, context: Context) -> Answer:
        calls.append(context.attempt)
        assert release.wait(10)
        return None

    handler = FunctionHandler(slow)
    first = await attempt(handler, event(1), HURRIED)
    second = await attempt(handler, event(1), replace(HURRIED, attempt=2, topic="handler-h-retry"))
    release.set()
    third = await attempt(handler, event(1), replace(CONTEXT, attempt=3))
    fourth = await attempt(handler, event(1), replace(CONTEXT, attempt=4))

    assert (first, second, third, fourth) == (Retry("timeout"), Retry("timeout"), None, None)
    assert calls == [1, 4]


async def test_hung_threads_keep_their_places_and_nobody_is_charged_for_it() -> None:
    """Another event is held where it is: it did not even begin."""
    release = threading.Event()
    handler = FunctionHandler(lambda *_: release.wait(10) and None, threads=1)
    hung = await attempt(handler, event(1), HURRIED)
    other = await attempt(handler, event(2), HURRIED)
    release.set()
    again = await attempt(handler, event(2), CONTEXT)

    assert hung == Retry("timeout")
    assert other == Retry("no_thread_free", in_place=True)
    assert again is None


async def test_when_every_thread_hangs_for_long_the_process_must_end() -> None:
    """It says why, and what to do about the function."""
    release = threading.Event()
    handler = FunctionHandler(lambda *_: release.wait(10) and None, threads=1, hung_secs=0.0)
    await attempt(handler, event(1), HURRIED)
    await asyncio.sleep(0.02)

    with pytest.raises(Stuck, match="every thread of handler h has hung"):
        await attempt(handler, event(2), HURRIED)
    release.set()


async def test_a_cancelled_attempt_leaves_the_thread_its_place() -> None:
    """As at the end of a process: nothing waits for the thread."""
    release = threading.Event()
    handler = FunctionHandler(lambda *_: release.wait(10) and None, threads=2)
    task = asyncio.ensure_future(handler.handle(event(1), CONTEXT))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()

    assert await handler.handle(event(2), CONTEXT) is None
