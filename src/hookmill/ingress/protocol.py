"""The HTTP server underneath: places for connections, time limits that aiohttp has not, our words.

A connection that is being read for headers, that does not read our answers, or that does not go
away when it is closed has one timer at most for each of these, never one for each read.
"""

import asyncio
import os
import ssl
from functools import partial
from socket import socket
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from msgspec.structs import replace

from hookmill.config.options import Ingress as Options
from hookmill.core.delivery import Delivery
from hookmill.core.errors import Reason
from hookmill.ingress import answers
from hookmill.ingress.body import drain
from hookmill.ingress.connections import Connections, room_for
from hookmill.ingress.door import NO_ENDPOINT, Door
from hookmill.ingress.server import HEAD_BYTES_MAX, Ingress
from hookmill.ingress.short import ShortWay
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

BACKLOG = 1024
LISTENERS = 4
LINGERING_SECS = 2.0
REST_SECS = 660.0
"""How long a connection may rest between two requests, if its place is not needed before: longer
than proxies keep theirs (a minute to ten), so that they close first and lose no request."""


class _Protocol(RequestHandler):
    """aiohttp's protocol with a place among the connections, limits for whoever is slow or does
    not listen, and our words for requests that are no HTTP."""

    __slots__ = (
        "_answering", "_connections", "_handed_over", "_head_bytes", "_is_parsing",
        "_patience_secs", "_short", "_stalled", "_unread", "_waiting", "_wire",
    )  # fmt: skip

    def __init__(
        self,
        manager: web.Server,
        connections: Connections,
        patience_secs: float,
        short: ShortWay,
        **arguments: Any,
    ) -> None:
        super().__init__(manager, **arguments)
        self._connections = connections
        self._short = short
        self._answering = False  # a delivery that goes the short way is not answered yet
        self._unread = b""  # the same, while nobody has read it
        self._is_parsing = False  # aiohttp's parser has read something: all else is for it too
        self._handed_over = False  # aiohttp's task has requests before it
        self._patience_secs = patience_secs
        self._head_bytes = 0
        self._wire: asyncio.Transport | None = None  # kept until it is gone; aiohttp lets go early
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one."""
        super().connection_made(transport)
        if not self._connections.opened(self):
            self.transport.abort()  # type: ignore[union-attr]
            return
        self._wire = self.transport
        self._waiting = self._limit("slow_headers")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._wire is not None:
            self._wire = None
            self._connections.closed(self)
        self._headers_came()
        self._answers_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let plain deliveries go the short way; wake aiohttp's task for anything else.

        Headers that a later request begins with are limited too, in time and in size.
        """
        try:
            self._read(data)
        except Exception as error:  # a defect: what the loop would log may quote a body
            say("request_failed", endpoint=NO_ENDPOINT, error=type(error).__name__)
            self.end()

    def _read(self, data: bytes) -> None:
        if not self._is_parsing:
            if self._take_unread(data):
                return
            self._is_parsing = True
            if self._unread:  # it was not all that there was
                data = self.unread() + data
                self._at_rest()
        waiter, self._waiter = self._waiter, None  # the parser's caller would wake it
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if self._answering:
            return  # answers go out in order: `reply` looks for what has come meanwhile
        if self._handed_over or self._request_in_progress:
            self._handed_over |= bool(self._messages)
            self._head_bytes = 0
            return
        if self._messages:
            whole, self._head_bytes = self._head_bytes == 0, 0
            if not whole or not self._take_parsed(len(data)):
                self._hand_over()
            return
        self._head_bytes += len(data)
        if self._waiting is None:
            self._waiting = self._limit("slow_headers")
        if self._head_bytes > HEAD_BYTES_MAX and self._wire is not None:
            catalog.REQUESTS.labels(NO_ENDPOINT, "bad_http").inc()
            self._wire.write(answers.BAD_HTTP)
            self.force_close()

    def _take_unread(self, data: bytes) -> bool:
        """Take a request the short way that the parser need not read."""
        if self._answering or self._paused or self._close or self._force_close:
            return False
        found = self._short.glance(data)
        if found is None:
            return False
        self._unread = data
        self._go(*found)
        return True

    def unread(self) -> bytes:
        """Hand out what has come and was not read yet; empty where the parser has it by now."""
        data, self._unread = self._unread, b""
        return data

    def parse(self, data: bytes) -> bool:
        """Have the parser read what turned out not to be plain; False where the client is gone."""
        self._is_parsing = True
        self._at_rest()
        if self._wire is None:
            return False
        self.data_received(data)
        return True

    def _take_parsed(self, read_bytes: int) -> bool:
        """Take the request the short way, if it is plain and the only one."""
        if len(self._messages) != 1 or self._paused or self._upgraded or self._close:
            return False
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage):
            return False  # no HTTP
        if read_bytes - payload.total_bytes > HEAD_BYTES_MAX:
            return False
        taken = self._short.parsed(message, payload)
        if taken is None:
            return False
        self._messages.popleft()
        assert self._parser is not None
        self._parser.message_consumed()
        door, delivery = taken
        self._go(door, len(delivery.body), delivery)
        return True

    def _go(self, door: Door, body_bytes: int, delivery: Delivery | None = None) -> None:
        self._answering = self._request_in_progress = True
        self._next_keepalive_close_time = self._loop.time() + REST_SECS
        self.begin()
        self._short.take(door, self, body_bytes, delivery)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, where it was paused: a stream asks for it after each read, and aiohttp
        would parse nothing once more each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def reply(self, answer: bytes) -> None:
        """Write the answer of a delivery that went the short way, and go on."""
        if self._wire is not None and not self._wire.is_closing():
            self._wire.write(answer)
        self._at_rest()
        if self._messages:
            self._hand_over()

    def _at_rest(self) -> None:
        """Nothing goes the short way on it."""
        self._answering = self._request_in_progress = False
        self.finish()
        if self._handler_waiter is not None:  # aiohttp shuts down and waits for this
            self._handler_waiter.set_result(None)

    def _hand_over(self) -> None:
        """What has come is for aiohttp's task: which may not wait yet, after a request it had."""
        self._handed_over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def begin_long(self, body: StreamReader) -> None:
        """aiohttp's task has come to a request. If its client has gone meanwhile, what is missing
        of the body never comes; whoever waited for it would meet a `RuntimeError`."""
        self._handed_over = bool(self._messages)
        self.begin()
        if self._wire is None and not body.is_eof():
            body.set_exception(ConnectionResetError("the client is gone"))

    def finish_long(self, *, closes: bool) -> None:
        """The request is answered; nothing goes the short way on a connection that now closes."""
        self._handed_over |= closes
        self.finish()

    def peer(self) -> str:
        """The address at the other end."""
        name = self.peername
        return str(name[0]) if isinstance(name, tuple | list) else str(name or "unknown")

    def pause_writing(self) -> None:
        """The client does not read our answers."""
        super().pause_writing()
        self._stalled = self._limit("unread_answers")

    def resume_writing(self) -> None:
        """It reads again."""
        self._answers_read()
        super().resume_writing()

    async def start(self) -> None:
        """Answer request after request. However that ends, the connection ends soon after: closing
        waits for what is not sent yet, and a client that never reads it would stay for ever."""
        try:
            await super().start()
        except Exception as error:  # a defect that aiohttp would answer with silence
            say("request_failed", endpoint=NO_ENDPOINT, error=type(error).__name__)
            self.end()
        finally:
            if self._wire is not None:
                self._answers_read()
                self._stalled = self._limit("unread_answers")

    def begin(self) -> None:
        """A request's headers are complete."""
        self._headers_came()
        self._connections.busy(self)

    def finish(self) -> None:
        """The request is answered; the connection may stay."""
        if self._wire is not None:
            self._connections.idle(self)

    def end(self) -> None:
        """Close at once, whatever is not sent yet."""
        if self._wire is not None:
            self._wire.abort()

    def _headers_came(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _answers_read(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _limit(self, reason: str) -> asyncio.TimerHandle:
        return self._loop.call_later(self._patience_secs, self._give_up, reason)

    def _give_up(self, reason: str) -> None:
        catalog.CONNECTIONS_ENDED.labels(reason).inc()
        self.end()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer without a word of what the parser met."""
        reason = Reason.MALFORMED_ENVELOPE if status < 500 else Reason.BROKER_UNAVAILABLE
        catalog.REQUESTS.labels(NO_ENDPOINT, "bad_http" if status < 500 else "defect").inc()
        return answers.response(replace(answers.refused(reason), closes=True))


class Server(web.Server):
    """The low-level server: one route needs no application."""

    def __init__(self, ingress: Ingress, limits: Options) -> None:
        super().__init__(self._answer, request_factory=self._request)
        self._ingress = ingress
        self._short = ShortWay(ingress, limits.body_bytes_max, self._loop)
        self._patience_secs = limits.header_timeout_secs
        self.places = Connections(room_for(limits.connections_max))

    async def listen(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, share_port: bool = False
    ) -> list[asyncio.Server]:
        """Take connections. A TLS handshake has the time that headers have: until it is done there
        is no connection that could be counted.

        uvloop takes one connection a listener and turn of its loop. A loaded turn is long, so a
        crowd that connects at once waited for two seconds behind those that were in; several
        listeners on one socket take several.
        """
        handshake: dict[str, Any] = {"ssl_handshake_timeout": self._patience_secs} if tls else {}
        create = partial(self._loop.create_server, self, ssl=tls, backlog=BACKLOG, **handshake)
        first = await create(host, port, reuse_port=share_port)
        return [first] + [
            await create(sock=socket(fileno=os.dup(each.fileno())))
            for each in first.sockets
            for _ in range(LISTENERS - 1)
        ]

    def __call__(self) -> RequestHandler:
        """One protocol per connection. Bodies are not decompressed: the bytes are signed."""
        arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": LINGERING_SECS,
            "keepalive_timeout": REST_SECS,
        }
        return _Protocol(
            self, self.places, self._patience_secs, self._short, loop=self._loop, **arguments
        )

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """The request as aiohttp makes it, but never with the host of an absolute URI: nobody asks
        for it, and one that cannot be decoded would end the connection without an answer."""
        if message.url.absolute:
            message = message._replace(url=message.url.relative())
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        protocol = request.protocol
        assert isinstance(protocol, _Protocol)
        protocol.begin_long(request.content)
        closes = True
        try:
            response = await self._ingress.answer(request)
            closes = not request.keep_alive or response.keep_alive is False
        finally:
            protocol.finish_long(closes=closes)
        if response.status == answers.STATUS[Reason.BODY_TOO_LARGE]:
            await drain(request)  # it may give way meanwhile: it is answered as far as we go
        return response
