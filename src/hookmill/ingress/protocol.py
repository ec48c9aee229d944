"""The HTTP server underneath: places for connections, a limit for slow headers, our words."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from hookmill.config.options import Ingress as Options
from hookmill.core.errors import Reason
from hookmill.ingress import answers
from hookmill.ingress.connections import Connections, room_for
from hookmill.ingress.server import NO_ENDPOINT, Ingress
from hookmill.telemetry import catalog

LINGERING_SECS = 2.0


class _Protocol(RequestHandler):
    """aiohttp's protocol with a place among the connections, a time limit for the first headers
    (it has none of its own), and our words for requests that are no HTTP."""

    __slots__ = ("_connections", "_let_in", "_waiting")

    def __init__(
        self,
        manager: web.Server,
        connections: Connections,
        header_timeout_secs: float,
        **arguments: Any,
    ) -> None:
        super().__init__(manager, **arguments)
        self._connections = connections
        self._let_in = False
        self._waiting = self._loop.call_later(header_timeout_secs, self._too_slow)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one."""
        super().connection_made(transport)
        self._let_in = self._connections.opened(self)
        if not self._let_in:
            self.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._waiting.cancel()
        if self._let_in:
            self._connections.closed(self)
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request's headers are complete."""
        self._waiting.cancel()
        self._connections.busy(self)

    def finish(self) -> None:
        """The request is answered; the connection may stay."""
        if self.transport is not None:
            self._connections.idle(self)

    def end(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def _too_slow(self) -> None:
        catalog.CONNECTIONS_ENDED.labels("slow_headers").inc()
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
        response = answers.refused(reason)
        response.force_close()
        return response


class Server(web.Server):
    """The low-level server: one route needs no application."""

    def __init__(self, ingress: Ingress, limits: Options) -> None:
        super().__init__(self._answer)
        self._ingress = ingress
        self._header_timeout_secs = limits.header_timeout_secs
        self.places = Connections(room_for(limits.connections_max))

    def __call__(self) -> RequestHandler:
        """One protocol per connection. Bodies are not decompressed: the bytes are signed."""
        arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": LINGERING_SECS,
        }
        return _Protocol(self, self.places, self._header_timeout_secs, loop=self._loop, **arguments)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        protocol = request.protocol
        assert isinstance(protocol, _Protocol)
        protocol.begin()
        try:
            return await self._ingress.answer(request)
        finally:
            protocol.finish()
