"""What a handler is: something that takes an event and its context, and answers in three ways."""

from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry

Answer = Retry | DeadLetter | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler may know beside the event.

    `attempt` counts from 1, over all retries; `deadline_secs` is how long this one may take. The
    idempotency key is the event's id: the same event has the same one for ever, however often it
    is handed over. `log` is a structlog logger whose lines carry handler, event and delivery.
    `traceparent` is what a traced event's handler sends on with its own requests (W3C Trace
    Context), None where the event is not traced; with the extra `otel` its span is the current one.
    """

    handler: str
    attempt: int
    deadline_secs: float
    idempotency_key: str
    delivery: str | None
    topic: str
    partition: int
    offset: int
    log: FilteringBoundLogger
    traceparent: str | None = None


class Handler(Protocol):
    """Handles events of many partitions at once, those of one partition one after another."""

    async def start(self) -> None:
        """Open what it needs; an error ends the process."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Do it. None: done. Retry or any exception: again later. DeadLetter: set it aside."""

    async def close(self) -> None:
        """Let go of what it opened."""
