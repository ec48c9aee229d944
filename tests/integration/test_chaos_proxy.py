"""The proxy before a broker: fair, slow, deaf, cut, on real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from hookmill.chaos.proxy import Mood, Proxies, Proxy
from hookmill.local.ports import HOST
from support.brokers import until

PATIENCE_SECS = 10.0


class Echo:
    """A server that remembers what it was asked and answers with the same."""

    def __init__(self) -> None:
        self.asked = b""
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.asked += data
            writer.write(data)
        writer.close()


class Way:
    """An echo server with a proxy before it."""

    def __init__(self, echo: Echo, proxy: Proxy, port: int) -> None:
        self.echo = echo
        self.proxy = proxy
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        return await asyncio.open_connection(HOST, self.port)


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    """Everything started."""
    echo, proxies = Echo(), Proxies()
    await echo.start()
    port = proxies.port_for(echo.port)
    assert proxies.port_for(echo.port) == port
    await proxies.serve()
    yield Way(echo, proxies.before(echo.port), port)
    await proxies.close()
    await echo.stop()


async def read(reader: asyncio.StreamReader) -> bytes:
    """What comes next; empty at the end, and when the connection is broken."""
    try:
        return await asyncio.wait_for(reader.read(1000), PATIENCE_SECS)
    except ConnectionError:
        return b""


async def test_a_fair_one_passes_everything_on(way: Way) -> None:
    """Both ways, to the end."""
    reader, writer = await way.connect()
    writer.write(b"one")
    assert await read(reader) == b"one"
    writer.write_eof()
    assert await read(reader) == b""
    writer.close()


async def test_a_slow_one_passes_it_on_later(way: Way) -> None:
    """By the delay at least, in each direction."""
    reader, writer = await way.connect()
    way.proxy.set_mood(Mood.SLOW, delay_secs=0.1)
    began = time.monotonic()
    writer.write(b"one")
    assert await read(reader) == b"one"
    assert time.monotonic() - began >= 0.2
    writer.close()


async def test_a_deaf_one_loses_the_answers_and_then_the_client(way: Way) -> None:
    """The server does what it is asked; the client never hears of it, not even afterwards."""
    reader, writer = await way.connect()
    way.proxy.set_mood(Mood.DEAF)
    writer.write(b"do it")
    await until(lambda: way.echo.asked == b"do it", timeout_secs=PATIENCE_SECS)
    way.proxy.set_mood(Mood.FAIR)
    assert await read(reader) == b""
    writer.close()
    reader, writer = await way.connect()
    writer.write(b"again")
    assert await read(reader) == b"again"
    writer.close()


async def test_a_cut_one_has_no_connections(way: Way) -> None:
    """Those that were are gone, new ones end at once."""
    reader, writer = await way.connect()
    writer.write(b"one")
    assert await read(reader) == b"one"
    way.proxy.set_mood(Mood.CUT)
    assert await read(reader) == b""
    writer.close()
    reader, writer = await way.connect()
    assert await read(reader) == b""
    writer.close()


async def test_a_server_that_is_gone_is_a_connection_that_ends(way: Way) -> None:
    """As without a proxy."""
    await way.echo.stop()
    reader, writer = await way.connect()
    assert await read(reader) == b""
    writer.close()
