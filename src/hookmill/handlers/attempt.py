"""One attempt: call the handler within its time, and make one of three answers of whatever comes.

Also what follows from a failure: which retry topic the event waits in, or that it is set aside.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from hookmill.core.errors import HookmillError
from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers.api import Answer, Context, Handler


class Later(msgspec.Struct, frozen=True):
    """The event waits in the topic of `delay_secs`; `not_before_ms` is epoch milliseconds."""

    delay_secs: int
    not_before_ms: int


async def attempt(handler: Handler, event: Event, context: Context) -> Answer:
    """What the handler answers; an exception or too long a time is a `Retry`.

    Another answer is a defect that trying again would not mend: a `DeadLetter`. Raises only what
    hookmill itself finds wrong with the process: HookmillError.
    """
    try:
        async with asyncio.timeout(context.deadline_secs):
            answer: Any = await handler.handle(event, context)
    except TimeoutError:
        return Retry("timeout")
    except HookmillError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Retry(type(error).__name__, detail="the handler let a cancellation of its own out")
    except Exception as error:  # whatever it is, the event must not be lost
        return Retry(type(error).__name__, detail=str(error))
    if answer is None or isinstance(answer, Retry | DeadLetter):
        return answer
    detail = f"a handler answers None, Retry or DeadLetter, not {type(answer).__name__}"
    return DeadLetter("handler_answer", detail)


def after_failure(
    answer: Retry, attempts: int, delays_secs: Sequence[int], now_ms: int
) -> Later | DeadLetter:
    """What becomes of an event whose `attempts`-th attempt failed.

    It waits for the delay of that number, or longer if the handler asked for it; after the last
    one it is set aside for the reason that it failed for.
    """
    if attempts > len(delays_secs):
        return DeadLetter(answer.reason, f"failed {attempts} times; {answer.detail}".rstrip("; "))
    wait_secs = max(delays_secs[attempts - 1], answer.after_secs)
    return Later(delay_for(wait_secs, delays_secs), now_ms + int(wait_secs * 1000))


def delay_for(wait_secs: float, delays_secs: Sequence[int]) -> int:
    """The longest delay that is not longer than the wait; the shortest where all are longer."""
    return max((each for each in delays_secs if each <= wait_secs), default=min(delays_secs))
