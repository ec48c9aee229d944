"""A program that posts requests made beforehand, and notes of each when and how it was answered.

Run as `python -m hookmill.bench.load PLAN OUTCOME`, both msgpack files. It does as little as a
client can: one write a request, one search an answer; about 15 µs of CPU each, so that one process
offers several times what a Python server takes.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from hookmill.ingress.connections import room_for

TICK_SECS = 0.002
CONNECT_AT_ONCE = 100
RECONNECT_PAUSE_SECS = 0.05
_LENGTH = b"content-length: "
_ID_CHARS = 36


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to post and how. Every request is a whole one, from its line to its body's end.

    Without a `rate` each connection posts its next request as soon as it has its answer; with one,
    so many are offered a second, and those for which no connection is free are not posted.
    """

    host: str
    port: int
    connections: int
    requests: list[bytes]
    rate: float | None = None
    hold_secs: float = 0.0
    """How long the connections stay open, at rest, after the last answer."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Of which request, its status (0: the connection ended without), when it was answered on the
    machine's monotonic clock, after how long, and the delivery's id ("" where there is none)."""

    number: int
    status: int
    at_secs: float
    took_secs: float
    delivery: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a plan. `cpu_secs` are this program's own while it posted."""

    answers: list[Answer]
    unposted: int
    wall_secs: float
    cpu_secs: float


class _Connection(asyncio.Protocol):
    """Posts one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._number = -1
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def post(self, number: int) -> None:
        """Send that request now."""
        assert self._transport is not None
        self._number = number
        self._began = time.perf_counter()
        self._transport.write(self._load.plan.requests[number])

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        if self._received:
            data = self._received + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0 or len(data) < head_end + 4 + _body_bytes(data, head_end):
            self._received = data
            return
        self._received = b""
        status = int(data[9:12])
        # Both servers answer {"status":"accepted","delivery":"<id>"}.
        delivery = data[-_ID_CHARS - 2 : -2].decode() if status == 200 else ""
        self._answered(status, delivery)
        self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """What was under way has no answer; another connection takes this one's place."""
        if self._number >= 0:
            self._answered(0, "")
        self._load.lost(self)

    def close(self) -> None:
        """No more."""
        if self._transport is not None:
            self._transport.abort()

    def _answered(self, status: int, delivery: str) -> None:
        now = time.perf_counter()
        number, self._number = self._number, -1
        self._load.answers.append(Answer(number, status, now, now - self._began, delivery))


class _Load:
    """The connections, what is still to be posted, and what was answered."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: list[Answer] = []
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._next: Iterator[int] = iter(range(len(plan.requests)))
        self._unposted = 0
        self._done = asyncio.Event()
        self._over = False
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Connect, post everything, wait for the answers."""
        for begin in range(0, self.plan.connections, CONNECT_AT_ONCE):
            count = min(CONNECT_AT_ONCE, self.plan.connections - begin)
            await asyncio.gather(*(self._connect() for _ in range(count)))
        began, cpu_began = time.perf_counter(), time.process_time()
        if self.plan.rate is None:
            for connection in list(self._idle):
                self._idle.remove(connection)
                self.free(connection)
        else:
            await self._offer(self.plan.rate)
        await self._done.wait()
        outcome = Outcome(
            answers=self.answers,
            unposted=self._unposted,
            wall_secs=time.perf_counter() - began,
            cpu_secs=time.process_time() - cpu_began,
        )
        await asyncio.sleep(self.plan.hold_secs)
        self._over = True
        for connection in list(self._connections):
            connection.close()
        return outcome

    def free(self, connection: _Connection) -> None:
        """A connection has its answer."""
        if self.plan.rate is None:
            number = next(self._next, None)
            if number is not None:
                connection.post(number)
        else:
            self._idle.append(connection)
        self._check_done()

    def lost(self, connection: _Connection) -> None:
        """A connection ended."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._check_done()
        if not self._over and not self._done.is_set():
            task = asyncio.ensure_future(self._again())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _offer(self, rate: float) -> None:
        began = time.perf_counter()
        total = len(self.plan.requests)
        offered = 0
        while offered < total:
            due = min(total, int((time.perf_counter() - began) * rate) + 1)
            for number in range(offered, due):
                if self._idle:
                    self._idle.pop().post(number)
                else:
                    self._unposted += 1
            offered = due
            await asyncio.sleep(TICK_SECS)
        self._check_done()

    def _check_done(self) -> None:
        if len(self.answers) + self._unposted >= len(self.plan.requests):
            self._done.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self), self.plan.host, self.plan.port
        )
        self._connections.add(connection)
        self._idle.append(connection)

    async def _again(self) -> None:
        while not self._over and not self._done.is_set():
            try:
                await self._connect()
            except OSError:
                await asyncio.sleep(RECONNECT_PAUSE_SECS)
            else:
                if self.plan.rate is None:
                    self.free(self._idle.pop())
                return


def _body_bytes(data: bytes, head_end: int) -> int:
    head = data[:head_end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        return 0
    return int(head[at + len(_LENGTH) :].partition(b"\r")[0])


def main() -> None:
    """Read the plan, post, write the outcome."""
    plan_path, outcome_path = map(Path, sys.argv[1:3])
    plan = msgspec.msgpack.decode(plan_path.read_bytes(), type=Plan)
    room_for(plan.connections)
    outcome = uvloop.run(_Load(plan).run())
    outcome_path.write_bytes(msgspec.msgpack.encode(outcome))


if __name__ == "__main__":
    main()
