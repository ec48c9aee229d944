"""The handler that only says what came: one log line an event, never metadata or bodies."""

from hookmill.core.event import Event
from hookmill.handlers.api import Answer, Context
from hookmill.stages.headers import trace
from hookmill.telemetry.logs import say


class LogHandler:
    """Built in as `log`."""

    async def start(self) -> None:
        """There is nothing to open."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """Say it."""
        say(
            "event_handled",
            id=event.id,
            type=event.type,
            endpoint=event.endpoint,
            mode=event.mode,
            subject=event.subject,
            late=event.late,
            delivery=context.delivery,
            **trace(context.traceparent),
        )
        return None

    async def close(self) -> None:
        """There is nothing to let go of."""
