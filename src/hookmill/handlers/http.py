"""The HTTP forwarder: posts each event, signed, to a service of one's own.

What an answer means is in `http_answer.py`, which addresses are reached in `http_address.py`.
The CloudEvents attributes are not sent as `ce-*` headers: the signature covers the body only, and
the body says all that they would say.
"""

import asyncio
import contextlib
import io
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from yarl import URL

from hookmill import __version__
from hookmill.config.destination import is_address
from hookmill.config.options import Handler as Options
from hookmill.config.secrets import SecretTexts, live_keys
from hookmill.core.errors import ConfigurationError
from hookmill.core.event import Event, encode
from hookmill.core.outcome import Retry
from hookmill.handlers.api import Answer, Context
from hookmill.handlers.breaker import Breaker, Permit
from hookmill.handlers.http_address import AddressRefused, Guard, GuardedResolver
from hookmill.handlers.http_answer import Service, Verdict, of_error, of_status
from hookmill.handlers.signing import key_of, signed_headers
from hookmill.stages.headers import TRACEPARENT
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

DEADLINE_SHARE = 0.95
"""How much of an event's time its request may take; the rest is for what comes after it."""
CONNECT_SHARE = 0.5
CONNECT_SECS_MAX = 10.0
"""How long finding and reaching the service may take: the lesser of this and half the time."""
ANSWER_BYTES_MAX = 65_536
ANSWER_SECS_MAX = 1.0
"""How much of an answer's body is read, and for how long, so that its connection serves again.
It is thrown away: the status has decided before."""
KEEP_ALIVE_SECS = 15.0
HEADERS = {"content-type": "application/json", "user-agent": f"hookmill/{__version__}"}


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a handler forwards to, and how. `keys` gives the live ones, the first named first."""

    url: URL
    keys: Callable[[], Sequence[bytes]]
    guard: Guard
    tls: ssl.SSLContext
    requests_in_flight_max: int


class HttpHandler:
    """Built in as `http`: one session, one breaker, one limit of requests in flight.

    `now_us` gives epoch microseconds, `clock` seconds that never go back; `resolver` finds the
    addresses of names, the system's by default.
    """

    def __init__(
        self,
        name: str,
        destination: Destination,
        *,
        now_us: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        resolver: Callable[[], AbstractResolver] = aiohttp.ThreadedResolver,
    ) -> None:
        self._name = name
        self._to = destination
        self._now_us = now_us
        self._resolver = resolver
        self._breaker = Breaker(clock=clock)
        self._slots = asyncio.Semaphore(destination.requests_in_flight_max)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the session; the service itself is not asked."""
        guard = self._to.guard
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._resolver(), guard),
            socket_factory=guard.socket,
            use_dns_cache=False,
            ssl=self._to.tls,
            limit=self._to.requests_in_flight_max,
            keepalive_timeout=KEEP_ALIVE_SECS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # its time is the event's own
            auto_decompress=False,
            skip_auto_headers=("accept-encoding",),
            trust_env=False,  # a proxy would connect where it likes
            trace_configs=[_noting_kept_connections()],
        )
        catalog.HTTP_BREAKER_OPEN.labels(self._name).set(0)

    async def handle(self, event: Event, context: Context) -> Answer:
        """Send it, unless the service is known to fail; then the event waits where it is."""
        limit_secs = context.deadline_secs * DEADLINE_SHARE
        until = asyncio.get_running_loop().time() + limit_secs
        try:
            async with asyncio.timeout_at(until):
                await self._slots.acquire()
        except TimeoutError:
            return Retry("http_busy", in_place=True)
        try:
            permit = self._breaker.admit()
            if permit is None:
                return Retry("http_breaker_open", in_place=True)
            try:
                verdict = await self._attempt(event, until, limit_secs, context.traceparent)
            except BaseException:
                self._breaker.abandoned(permit)
                raise
        finally:
            self._slots.release()
        return self._tell(permit, verdict)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _attempt(
        self, event: Event, until: float, limit_secs: float, traceparent: str | None
    ) -> Verdict:
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(until):
                response = await self._post(event, limit_secs, traceparent)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._say_refused(error)
            return of_error(error)
        catalog.HTTP_SECONDS.labels(self._name).observe(time.perf_counter() - began)
        await _let_go(response, until)
        return of_status(
            response.status,
            retry_after=response.headers.get("retry-after"),
            now_secs=self._now_us() / 1e6,
        )

    async def _post(
        self, event: Event, limit_secs: float, traceparent: str | None
    ) -> aiohttp.ClientResponse:
        """Send it; once more at once where only a kept connection had been closed by the service.

        That happens in passing, whenever the service's keep-alive is the shorter one.
        """
        assert self._session is not None
        body = encode(event)
        at_secs = self._now_us() // 1_000_000
        headers = signed_headers(body, id=event.id, at_secs=at_secs, keys=self._to.keys())
        if traceparent is not None:
            headers[TRACEPARENT] = traceparent
        connect_secs = min(CONNECT_SECS_MAX, limit_secs * CONNECT_SHARE)
        while True:
            sending = SimpleNamespace(on_kept_connection=False)
            try:
                return await self._session.post(
                    self._to.url,
                    data=io.BytesIO(body),
                    headers=HEADERS | headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect_secs),
                    trace_request_ctx=sending,
                )
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not sending.on_kept_connection:
                    raise

    def _tell(self, permit: Permit, verdict: Verdict) -> Answer:
        """Count what came of it; the answer, in place where a trial showed an outage only."""
        catalog.HTTP_REQUESTS.labels(self._name, verdict.outcome).inc()
        answer = verdict.answer
        if verdict.service is Service.WORKS:
            if self._breaker.succeeded(permit):
                catalog.HTTP_BREAKER_OPEN.labels(self._name).set(0)
                say("http_breaker_closed", handler=self._name)
            return answer
        assert isinstance(answer, Retry)
        if self._breaker.failed(permit, hold_secs=answer.after_secs):
            catalog.HTTP_BREAKER_OPEN.labels(self._name).set(1)
            pause_secs = round(self._breaker.open_secs, 1)
            reason = answer.reason
            say("http_breaker_opened", handler=self._name, reason=reason, pause_secs=pause_secs)
        if permit.trial and verdict.service is Service.OUT:
            return Retry(answer.reason, in_place=True)
        return answer

    def _say_refused(self, error: Exception) -> None:
        refused = getattr(error, "os_error", None)
        if isinstance(refused, AddressRefused):
            say("http_address_refused", handler=self._name, addresses=str(refused))


def destination(name: str, options: Options, *, environ: Mapping[str, str]) -> Destination:
    """From the checked options of handler `name`; raises ConfigurationError that says what to mend.

    `environ` holds secrets.
    """
    url, guard = URL(options.url or ""), Guard(options.allow_networks)
    if is_address(url.host or "") and not guard.admits(url.host or ""):
        raise ConfigurationError(
            f"handlers.{name}.url: {url.host} is no public address; if it is meant, allow it: "
            f'allow_networks = ["{url.host}"]'
        )
    try:
        tls = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"handlers.{name}.ca_file: {options.ca_file} cannot be used ({type(error).__name__})"
        ) from None

    def keys_of(texts: list[tuple[str, str]]) -> list[bytes]:
        return [_key(name, secret, text) for secret, text in texts]

    def tell(problem: str) -> None:
        say("file_unreadable", error=problem)

    texts = SecretTexts(options.secrets, environ=environ, clock=time.monotonic, tell=tell)
    return Destination(
        url=url,
        keys=live_keys(texts, keys_of, tell),
        guard=guard,
        tls=tls,
        requests_in_flight_max=options.requests_in_flight_max or options.concurrency,
    )


def _key(handler: str, secret: str, text: str) -> bytes:
    try:
        return key_of(text)
    except ValueError as error:
        raise ConfigurationError(f"handlers.{handler}: secret '{secret}': {error}") from None


def _noting_kept_connections() -> aiohttp.TraceConfig:
    """Notes on a request's own context that it went over a connection that was there before."""

    async def note(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.on_kept_connection = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    return config


async def _let_go(response: aiohttp.ClientResponse, until: float) -> None:
    """Read a short body to its end, which gives the connection back; else close it."""
    soon = asyncio.get_running_loop().time() + ANSWER_SECS_MAX
    left = ANSWER_BYTES_MAX
    with contextlib.closing(response), contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout_at(min(soon, until)):
            while left > 0 and (chunk := await response.content.readany()):
                left -= len(chunk)
