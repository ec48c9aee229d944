"""A service on this machine that the forwarder posts to, and the forwarder itself."""

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from hookmill.config.options import Handler, SecretSource
from hookmill.core.event import Event, Links, ProviderEvent, Raw
from hookmill.handlers.api import Context
from hookmill.handlers.http import HttpHandler, destination
from hookmill.telemetry.logs import bound

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LOOPBACK = ("127.0.0.0/8",)


def now_us() -> int:
    """The machine's clock, as the program hands it in."""
    return time.time_ns() // 1000


def event(number: int = 1, **changed: Any) -> Event:
    """A normalized event whose metadata has a number of no float."""
    plain = Event(
        id=f"hm_{number:032x}", type="payment.succeeded", kind="payment", status="succeeded",
        endpoint="shop", provider="yoco", mode="live", occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z", subject=f"p_{number}", resource=None,
        amount=None, amount_paid=None, amount_refunded=None, discrepancy=None, links=Links(),
        failure=None, metadata={"note": "Zoë ∑"}, provider_event=ProviderEvent(), late=False,
        raw=Raw("webhooks-raw", 0, 0, ""),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changed)


def context(deadline_secs: float = 10.0) -> Context:
    """A first attempt."""
    return Context(
        handler="shop", attempt=1, deadline_secs=deadline_secs, idempotency_key="", delivery=None,
        topic="handler-shop", partition=0, offset=0, log=bound(),
    )  # fmt: skip


def options(url: str, **changed: Any) -> Handler:
    """The configuration of a forwarder to a service on this machine."""
    return Handler(
        type="http",
        url=url,
        **{
            "secrets": (SecretSource(value=SECRET),),
            "allow_networks": LOOPBACK,
            "allow_plain_http": True,
        }
        | changed,
    )


@contextlib.asynccontextmanager
async def forwarding(
    url: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    resolver: AbstractResolver | None = None,
    **changed: Any,
) -> AsyncIterator[HttpHandler]:
    """A started forwarder; `resolver` and `clock` stand in for the machine's."""
    to = destination("shop", options(url, **changed), environ={})
    finder = (lambda: resolver) if resolver else aiohttp.ThreadedResolver
    made = HttpHandler("shop", to, now_us=now_us, clock=clock, resolver=finder)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


class Received(msgspec.Struct):
    """A request as the service saw it; `peer` is the client's own port."""

    headers: dict[str, str]
    body: bytes
    path: str
    peer: int


class Service:
    """Answers each request by the next of its answers; the last of them serves for ever."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[Callable[[], Awaitable[web.StreamResponse]]] = []
        self.port = 0
        self.tls = False

    @property
    def url(self) -> str:
        """Its address by number."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/hook"

    def by_name(self, name: str) -> str:
        """Its address by a name."""
        return self.url.replace("127.0.0.1", name)

    def will(self, *statuses: int, **headers: str) -> None:
        """Answer with these statuses, each with those headers."""
        self.answers = [_answering(each, headers) for each in statuses]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Note the request and answer it."""
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[1]
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = b"".join([each async for each in request.content.iter_any()])  # `read` has a limit
        self.received.append(Received(headers, body, str(request.rel_url), peer))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer()


def _answering(status: int, headers: dict[str, str]) -> Callable[[], Awaitable[web.Response]]:
    async def answer() -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, headers=named)

    return answer


@contextlib.asynccontextmanager
async def serving(
    *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Service]:
    """A service that answers 204 until it is told otherwise."""
    service = Service()
    service.will(204)
    runner = web.ServerRunner(web.Server(service.respond), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    service.port, service.tls = runner.addresses[0][1], tls is not None
    try:
        yield service
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_service(
    respond: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A service that does with a connection what no web server would; gives its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await respond(reader, writer)
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read one whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    await reader.readexactly(length)


class Names(AbstractResolver):
    """Answers each question by the next of its lists of addresses; the last serves for ever."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self._answers = [list(each) for each in answers]
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses; none at all is a name that is not there."""
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not found:
            raise OSError(None, "no such name")
        return [
            ResolveResult(
                hostname=host, host=each, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in each else socket.AF_INET,
            )
            for each in found
        ]  # fmt: skip

    async def close(self) -> None:
        """There is nothing to close."""


def write(path: Path, text: str) -> Path:
    """Put a text in place of what was there, at once, as a secret is rotated."""
    new = path.with_suffix(".new")
    new.write_text(text)
    return new.replace(path)
