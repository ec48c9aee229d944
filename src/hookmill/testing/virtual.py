"""A time that passes only when nothing else can happen, and is moved by whoever waits for that."""

import asyncio
import heapq
import itertools

from hookmill.handlers.handling import PAUSE_SECS_FIRST, PAUSE_SECS_MAX


class Over(Exception):
    """The process whose time this is has ended."""


class VirtualTime:
    """Epoch microseconds that `move_to` moves; `end` is the end of everyone who waits in it."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us
        self._moved = asyncio.Event()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._over = False

    def now_us(self) -> int:
        """The time, epoch microseconds."""
        return self._now_us

    def now_ms(self) -> int:
        """The time, epoch milliseconds."""
        return self._now_us // 1000

    def secs(self) -> float:
        """The time as a monotonic clock has it."""
        return self._now_us / 1_000_000

    def next_us(self) -> int | None:
        """When the first pause ends; None if there is none."""
        return self._sleepers[0][0] if self._sleepers else None

    async def wait(self, timeout_secs: float) -> None:
        """Until the time moves, or anything else was said to have changed. Raises Over."""
        if not self._over:
            await self._moved.wait()
        if self._over:
            raise Over

    async def pause(self, in_a_row: int) -> None:
        """What `pause_growing` is in production, without its jitter."""
        longest_secs = min(PAUSE_SECS_MAX, PAUSE_SECS_FIRST * 2 ** min(in_a_row - 1, 10))
        future = asyncio.get_running_loop().create_future()
        at_us = self._now_us + int(longest_secs * 1_000_000)
        heapq.heappush(self._sleepers, (at_us, next(self._numbers), future))
        await future

    def changed(self) -> None:
        """Let those who wait look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def move_to(self, at_us: int) -> None:
        """Let it be that time."""
        self._now_us = max(at_us, self._now_us)
        while self._sleepers and self._sleepers[0][0] <= self._now_us:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
        self.changed()

    def end(self) -> None:
        """Let everyone who waits meet Over."""
        self._over = True
        self.changed()

    def begin(self) -> None:
        """Let another process live in it."""
        self._over, self._sleepers = False, []
