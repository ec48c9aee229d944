"""Posts requests on a schedule, whatever becomes of those before: `python -m … WORK ANSWERS`.

A client that waits for an answer before it sends the next request slows down with the server, and
then measures how fast the server is when nobody asks. This one sends each request when it is due,
on a connection that is free or a new one, and counts from then. It is a process of its own, reads
finished bytes and writes raw HTTP, so that it takes little of the machine that it measures.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import uvloop

CONNECTIONS_MAX = 512
BEGIN_SECS = 0.2
ANSWER_SECS_MAX = 30.0


class Work(msgspec.Struct, frozen=True):
    """What to post where: whole requests, so many a second."""

    host: str
    port: int
    per_sec: float
    requests: Sequence[bytes]


class Posted(msgspec.Struct, frozen=True):
    """A request: when it was due, sent and answered (microseconds of the monotonic clock), and the
    answer; status 0 is none. `delivery` is the id that the ingress gave it."""

    due_us: int
    sent_us: int
    answered_us: int
    status: int
    delivery: str | None


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, str | None]] | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        if len(body) < int(fields.get("content-length", "0")):
            return
        self._read = b""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((int(status.split(" ")[1]), fields.get("x-hookmill-delivery")))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((0, None))


class Loader:
    """Sends on schedule; a request that finds no connection free opens another."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._free: list[_Connection] = []
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)

    async def run(self) -> list[Posted]:
        """Post everything; what became of each, in the order of the schedule."""
        loop = asyncio.get_running_loop()
        begin = loop.time() + BEGIN_SECS
        tasks = []
        for number, request in enumerate(self._work.requests):
            due = begin + number / self._work.per_sec
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            tasks.append(asyncio.ensure_future(self._post(request, due_us=int(due * 1_000_000))))
        posted = list(await asyncio.gather(*tasks))
        for each in self._free:
            if each.transport is not None:
                each.transport.close()
        return posted

    async def _post(self, request: bytes, *, due_us: int) -> Posted:
        async with self._places:
            sent_us = _now_us()
            try:
                async with asyncio.timeout(ANSWER_SECS_MAX):
                    status, delivery = await self._exchange(request)
            except (OSError, TimeoutError):
                status, delivery = 0, None
            return Posted(due_us, sent_us, _now_us(), status, delivery)

    async def _exchange(self, request: bytes) -> tuple[int, str | None]:
        loop = asyncio.get_running_loop()
        connection = self._free.pop() if self._free else None
        while connection is not None and connection.transport is None:
            connection = self._free.pop() if self._free else None
        if connection is None:
            _, connection = await loop.create_connection(
                _Connection, self._work.host, self._work.port
            )
        assert connection.transport is not None
        connection.answer = loop.create_future()
        connection.transport.write(request)
        found = await connection.answer
        self._free.append(connection)
        return found


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def request_bytes(host: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    fields = [("host", host), ("content-length", str(len(body))), *headers]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def main(work: Path, answers: Path) -> None:
    """Do the work that lies in one file, and leave what became of it in the other."""
    loader = Loader(msgspec.msgpack.decode(work.read_bytes(), type=Work))
    answers.write_bytes(msgspec.msgpack.encode(uvloop.run(loader.run())))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
