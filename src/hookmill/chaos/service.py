"""The service that a handler forwards to: it refuses by the seed, and remembers what it took.

It knows of an event before its sender knows that it was taken, so what it remembers is what a
partner would: some events come again.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hookmill.local.ports import HOST

NEVER, LATER, FAILING, UNHEARD = 0.02, 0.10, 0.03, 0.03
"""Shares of events: never taken; not now; a fault of the service; taken, and the answer lost."""
REFUSALS_MAX = 2
"""How often one that is taken in the end is refused before: less than a handler tries again."""
ATTEMPTS = REFUSALS_MAX + 1
CUT = 0
"""In place of a status: the event is taken, and the connection cut."""


def answer(seed: int, event: str, asked: int) -> int:
    """The status for an event that came `asked` times before, or `CUT`."""
    chance = random.Random(f"service {seed} {event}")
    share, refusals = chance.random(), chance.randint(1, REFUSALS_MAX)
    if share < NEVER:
        return 422
    if share < NEVER + LATER:
        return 425 if asked < refusals else 204
    if share < NEVER + LATER + FAILING:
        return 500 if asked < refusals else 204
    if share < NEVER + LATER + FAILING + UNHEARD:
        return CUT if not asked else 204
    return 204


class Service:
    """Takes the events that are posted to it, on loopback; `taken` are their ids as they came."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._asked = Counter[str]()
        self.taken: list[str] = []
        self.answers = Counter[int]()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on a free port, which is told."""
        runner = web.ServerRunner(web.Server(self._serve))
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, 0)
            await site.start()
            _, port, *_ = runner.addresses[0]
            yield port
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        event = request.headers["webhook-id"]
        status = answer(self._seed, event, self._asked[event])
        self._asked[event] += 1
        self.answers[status] += 1
        if status in (CUT, 204):
            self.taken.append(event)
        if status == CUT and request.transport is not None:
            request.transport.abort()
        return web.Response(status=status or 204)
