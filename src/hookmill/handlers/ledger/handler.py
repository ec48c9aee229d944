"""The handler `ledger`: counts each event in the books, whatever becomes of process or database."""

import asyncio

from hookmill.core.errors import ConfigurationError, LedgerUnavailable
from hookmill.core.event import Event
from hookmill.core.outcome import Retry
from hookmill.handlers.api import Answer, Context
from hookmill.handlers.ledger.books import Books
from hookmill.telemetry.logs import say

PATIENCE = 0.8
"""The share of the time limit after which the database counts as unavailable: an attempt that the
limit itself cuts off would count against the event."""

UNAVAILABLE = Retry("ledger_unavailable", in_place=True)


class LedgerHandler:
    """Built in as `ledger`. While its database is away, every event stays where it is."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def start(self) -> None:
        """Make the tables; a database that is away is waited for by `handle`."""
        try:
            await self._books.open()
        except LedgerUnavailable as error:
            say("ledger_unavailable", error=str(error))

    async def handle(self, event: Event, context: Context) -> Answer:
        """Book it, with its id and position; what was counted before is done."""
        try:
            async with asyncio.timeout(PATIENCE * context.deadline_secs):
                await self._books.count(
                    event, topic=context.topic, partition=context.partition, offset=context.offset
                )
        except (LedgerUnavailable, ConfigurationError) as error:
            say("ledger_unavailable", error=str(error))
            return UNAVAILABLE
        except TimeoutError:
            say("ledger_unavailable", error="no answer in time")
            return UNAVAILABLE
        return None

    async def close(self) -> None:
        """Let go of the database."""
        await self._books.close()
