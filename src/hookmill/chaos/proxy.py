"""A TCP proxy before each broker, so that a run can slow it, cut it off, or drop its answers."""

import asyncio
import contextlib
import socket
from enum import Enum
from typing import Any

from hookmill.local.ports import HOST

CHUNK_BYTES = 64 * 1024


class Mood(Enum):
    """How a proxy treats what passes."""

    FAIR = "fair"
    SLOW = "slow"
    """Every chunk waits, in both directions."""
    DEAF = "deaf"
    """Requests reach the broker, its answers reach nobody: done, and never heard of."""
    CUT = "cut"
    """No connection lives, none is taken."""


class Proxies:
    """One proxy for each broker's port. `port_for` may be called from any thread."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._proxies: dict[int, Proxy] = {}

    def port_for(self, broker_port: int) -> int:
        """The port of the proxy before that port of a broker; the same at every call."""
        listening = self._sockets.get(broker_port)
        if listening is None:
            listening = self._sockets[broker_port] = socket.socket()
            listening.bind((HOST, 0))
            listening.listen(1024)
            listening.setblocking(False)
        return int(listening.getsockname()[1])

    async def serve(self) -> None:
        """Begin to pass connections on, for every port that was asked for."""
        for broker_port, listening in self._sockets.items():
            if broker_port not in self._proxies:
                self._proxies[broker_port] = proxy = Proxy(broker_port)
                await proxy.serve(listening)

    def before(self, broker_port: int) -> "Proxy":
        """The proxy before that port."""
        return self._proxies[broker_port]

    async def close(self) -> None:
        """Cut everything and stop."""
        for proxy in self._proxies.values():
            await proxy.close()
        for listening in self._sockets.values():
            listening.close()


class Proxy:
    """Passes bytes between clients and one broker, as its mood is."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._connected: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}
        self._mood = Mood.FAIR
        self._delay_secs = 0.0

    async def serve(self, listening: socket.socket) -> None:
        """Take connections from that socket."""
        self._server = await asyncio.start_server(self._take, sock=listening)

    def set_mood(self, mood: Mood, *, delay_secs: float = 0.0) -> None:
        """Be like this from now on, for connections that live as well."""
        if mood is Mood.CUT or self._mood is Mood.DEAF:  # a client that was not answered is lost
            self._cut()
        self._mood, self._delay_secs = mood, delay_secs

    async def close(self) -> None:
        """Cut everything and stop."""
        if self._server is not None:
            self._server.close()
        self._cut()
        if self._connected:
            await asyncio.wait(list(self._connected.values()))

    def _cut(self) -> None:
        for writer in self._connected:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connected[writer] = task
        try:
            if self._mood is not Mood.CUT:
                await self._connect(reader, writer)
        finally:
            del self._connected[writer]
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on in both directions until one side ends."""
        with contextlib.suppress(OSError):  # the broker is down: the client's connection ends
            answers, broker = await asyncio.open_connection(HOST, self._broker_port)
            passing = [
                asyncio.ensure_future(self._pass(reader, broker, answering=False)),
                asyncio.ensure_future(self._pass(answers, writer, answering=True)),
            ]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                broker.transport.abort()
                for each in passing:
                    each.cancel()
                await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answering: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self._mood is Mood.SLOW:
                await asyncio.sleep(self._delay_secs)
            if answering and self._mood is Mood.DEAF:
                continue
            writer.write(data)
            await writer.drain()
