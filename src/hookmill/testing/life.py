"""The whole life of events with a handler: the real runner on a queue and a time of its own."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from hookmill.core import cloudevents
from hookmill.core.event import Event, encode
from hookmill.core.ids import subject_key
from hookmill.core.outcome import DeadLetter
from hookmill.core.record import Output
from hookmill.handlers.api import Handler
from hookmill.handlers.ports import Settings
from hookmill.pipeline import HandlerTopics
from hookmill.stages import headers
from hookmill.testing.calls import Function, as_handler
from hookmill.testing.events import EPOCH_US, HANDLER, TIMEOUT_SECS, delivery_of
from hookmill.testing.player import Attempt, Life, origin

DELAYS_SECS = (30, 300, 3600)
A_DAY_SECS = 86_400.0

Ended = Literal["handled", "dead_letter", "waiting"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event: `waiting` if the time that was given did not suffice."""

    event: Event
    attempts: tuple[Attempt, ...]
    ended: Ended
    dead_letter: DeadLetter | None = None


async def deliver(
    handler: Function | Handler,
    events: Sequence[Event],
    *,
    delays_secs: Sequence[int] = DELAYS_SECS,
    timeout_secs: float = TIMEOUT_SECS,
    ordered: bool = True,
    concurrency: int = 8,
    again: bool = False,
    crash_after: int | None = None,
    until_secs: float | None = None,
) -> list[Outcome]:
    """Hand the events to the handler as production would, until each is handled or set aside.

    They lie in one partition, in this order. Waiting for a retry takes no time: the clock jumps. A
    handler takes as long as it takes, and `timeout_secs` are real ones. The other options are those
    of the configuration. An object is started before it all and closed after it.

    `again` delivers all of them a second time, as Kafka and redrives may; there are twice as many
    outcomes then. `crash_after=n` lets the process die after the n-th call, when the handler has
    done its work and nobody knows it; another one takes over. `until_secs` is when to stop: what is
    not done then is `waiting`; by default a day after all the delays. Raises ValueError for what
    contradicts itself, and Stuck, as production would end its process, when every thread hangs.
    """
    delays = tuple(delays_secs)
    if any(each < 1 for each in delays) or any(b <= a for a, b in pairwise(delays)):
        raise ValueError("delays_secs are whole seconds, each longer than the one before")
    if crash_after is not None and crash_after < 1:
        raise ValueError("crash_after counts calls, from 1")
    _refuse_confusion(events)
    topics = HandlerTopics(HANDLER)
    settings = Settings(
        topics=topics,
        delays_secs=delays,
        retry_topics=tuple(map(topics.retry, delays)),
        timeout_secs=timeout_secs,
        ordered=ordered,
    )
    called = as_handler(handler, threads=concurrency, hung_secs=timeout_secs)
    life = Life(settings, called, concurrency=concurrency, crash_after=crash_after)
    delivered = [*events, *events] if again else list(events)
    for event in delivered:
        life.log.append(_record(topics.queue, event), at_ms=life.time.now_ms())
    enough_secs = sum(delays) + A_DAY_SECS if until_secs is None else until_secs
    await life.play(until_us=EPOCH_US + int(enough_secs * 1_000_000))
    return _outcomes(life, delivered)


def deliver_sync(
    handler: Function | Handler, events: Sequence[Event], **options: Any
) -> list[Outcome]:
    """`deliver`, for a test that is no coroutine."""
    return asyncio.run(deliver(handler, events, **options))


def _record(queue: str, event: Event) -> Output:
    """The event as the route stage writes it."""
    key = subject_key(event.endpoint, event.subject or event.id)
    delivery = (headers.DELIVERY, delivery_of(event).encode())
    return Output(queue, key, encode(event), (*cloudevents.headers(event), delivery))


def _outcomes(life: Life, events: Sequence[Event]) -> list[Outcome]:
    """What became of each, in the order in which they lie in the queue."""
    letters = {
        origin(each): DeadLetter(
            each.header(headers.ERROR_REASON) or "", each.header(headers.ERROR_DETAIL) or ""
        )
        for each in life.log.topics[HandlerTopics(HANDLER).dead_letters]
    }
    return [
        Outcome(
            event=event,
            attempts=tuple(sorted(life.attempts[offset], key=lambda each: each.turn)),
            ended=_ended(offset in letters, offset in life.done),
            dead_letter=letters.get(offset),
        )
        for offset, event in enumerate(events)
    ]


def _ended(set_aside: bool, done: bool) -> Ended:
    """A handler's answer before a crash does not count where a later one was kept."""
    if set_aside:
        return "dead_letter"
    return "handled" if done else "waiting"


def _refuse_confusion(events: Sequence[Event]) -> None:
    """An id is one event's for ever; two that share one would test nothing."""
    known: dict[str, Event] = {}
    for event in events:
        if known.setdefault(event.id, event) != event:
            raise ValueError(
                f"two different events have the id {event.id}: give each a number of its own, "
                "make_event(1, …), make_event(2, …)"
            )
