"""What processes and commands do alike: event loop, signals, private port."""

import asyncio
import contextlib
import ctypes
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from hookmill.core.errors import HookmillError, KafkaUnavailable, TopicsMissing, UnsafeCluster
from hookmill.telemetry.admin import AdminServer, Check, Exposition, own_metrics
from hookmill.telemetry.logs import say

T = TypeVar("T")

INTERRUPTED = 130
CONNECT_PAUSE_SECS = 1.0
GUARD_SECS = 20.0
MAPPED_FROM_BYTES = 256 * 1024
"""Fetched chunks and batches are mapped each by itself, and given back when they are done with;
left alone, glibc raises this to 32 MiB and keeps the holes between them."""
_M_MMAP_THRESHOLD = -3
"""From malloc.h."""
COLLECT_AFTER = (50_000, 20, 50)
"""Objects, young collections, middle ones: a transaction's records are gone before the first."""


def settle_memory() -> None:
    """Called once a process is set up: what is there then stays, and is never looked at again.

    A collector that follows the default thresholds walks over every record of a batch several
    times, and now and then over all modules: 8 % of a stage's time, for garbage that is not there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until the work ends; SIGTERM and SIGINT set the event that asks it to."""
    uvloop.run(_with_signals(main))


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run a command; SIGTERM interrupts like Ctrl-C, so that what it started is stopped too."""

    async def with_signal() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(with_signal())
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)


async def _with_signals(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not stopping.is_set():
            say("process_stopping")
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await main(stopping)
    except HookmillError as error:
        say("process_failed", error=str(error))
        raise
    say("process_stopped")


@contextlib.asynccontextmanager
async def private_port(
    host: str, port: int, *, live: Check, ready: Check, metrics: Exposition = own_metrics
) -> AsyncIterator[str]:
    """Serve /livez, /readyz and /metrics; gives the address."""
    server = AdminServer(live=live, ready=ready, metrics=metrics)
    address = await server.start(host, port)
    try:
        yield address
    finally:
        await server.stop()


async def until_kafka_answers(
    attempt: Callable[[], Awaitable[T]], stopping: asyncio.Event
) -> T | None:
    """What the attempt gives, tried again while Kafka or a topic is out; None if asked to stop.

    What hookmill itself finds wrong (an unsafe topic) is raised at once.
    """
    while not stopping.is_set():
        try:
            return await attempt()
        except HookmillError as error:
            if not isinstance(error, KafkaUnavailable | TopicsMissing):
                raise
            say("kafka_unavailable", error=str(error)[:300])
            await until(stopping, CONNECT_PAUSE_SECS)
        except Exception as error:  # whatever the client raises, the answer is to try again
            say("kafka_unavailable", error=f"{type(error).__name__}: {error}"[:300])
            await until(stopping, CONNECT_PAUSE_SECS)
    return None


async def guarded(
    work: Coroutine[Any, Any, None],
    check: Callable[[], Awaitable[object]],
    *,
    every_secs: float = GUARD_SECS,
) -> None:
    """Do the work as long as the check finds the cluster as it must be.

    Raises what hookmill itself finds wrong under its feet: a topic that is gone (looked for twice),
    another partition count, weaker settings. While Kafka does not answer there is no verdict.
    """
    working = asyncio.ensure_future(work)
    guarding = asyncio.ensure_future(_guard(check, every_secs))
    try:
        await asyncio.wait({working, guarding}, return_when="FIRST_COMPLETED")
        if guarding.done():
            guarding.result()
        await working
    finally:
        guarding.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _guard(check: Callable[[], Awaitable[object]], every_secs: float) -> None:
    missing = False
    while True:
        await asyncio.sleep(every_secs)
        try:
            await check()
            missing = False
        except TopicsMissing:
            if missing:
                raise
            missing = True  # brokers that come back may not know them for a moment
        except UnsafeCluster:
            raise
        except Exception as error:  # whatever the client raises: Kafka is out
            say("kafka_unavailable", error=f"{type(error).__name__}: {error}"[:300])


async def until(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait that long, or until asked to stop; returns whether it was."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()
