"""Plays a provider: signs deliveries as it would, posts them, redelivers by its own schedule."""

import asyncio
import random
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from hookmill.core.errors import ConfigurationError
from hookmill.local.stories.story import Step, Story
from hookmill.local.stories.template import stories_from
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.pack import Pack, SignedRequest

REQUEST_TIMEOUT_SECS = 30.0
FORGER = "a forger"
"""The name of the secret that forgeries are signed with: no endpoint's."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where deliveries go, and with what they are signed. `secret` is the secret's text."""

    url: str
    endpoint: str
    pack: Pack
    options: Any
    secret: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a delivery ended: the last answer's status (0: none came), and after how many tries."""

    message_id: str
    becomes: str
    status: int
    attempts: int
    delivery: str | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether it was taken."""
        return 200 <= self.status < 300


def stories_of(pack: Pack) -> Callable[[random.Random, int], Story]:
    """The provider's stories: given a generator of chance and a time, one life of a payment.

    They are those of the pack's own file, else of the module called as the pack.
    """
    if isinstance(pack, DeclaredPack) and pack.declaration.stories:
        return stories_from(pack.declaration.stories)
    name = f"hookmill.local.stories.{pack.name}"
    if find_spec(name) is None:
        raise ConfigurationError(
            f"nothing to tell of {pack.title}: its pack has no [[stories]] (see "
            "`hookmill providers new`)"
        )
    found: Callable[[random.Random, int], Story] = import_module(name).stories
    return found


def signed(target: Target, step: Step, *, at_us: int, secret: str | None = None) -> SignedRequest:
    """The step as the provider would send it at that time."""
    right = secret or target.secret
    return signed_with(target.pack, step, secret=right, at_us=at_us, options=target.options)


def signed_with(pack: Pack, step: Step, *, secret: str, at_us: int, options: Any) -> SignedRequest:
    """The step under that secret; raises ConfigurationError where it is none that can sign."""
    try:
        return pack.sign(
            step.body, secret=secret, message_id=step.message_id, at_us=at_us, options=options,
            headers=step.headers,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigurationError(f"{pack.title} cannot be simulated: {error}") from None


class Simulator:
    """Posts to one target. `now_us` is the provider's clock; waits are scaled by `time_scale`."""

    def __init__(
        self,
        target: Target,
        session: aiohttp.ClientSession,
        *,
        now_us: Callable[[], int],
        time_scale: float,
    ) -> None:
        self.target = target
        self._session = session
        self._now_us = now_us
        self._time_scale = time_scale
        self._wrong = target.pack.example_secret(FORGER, target.options)

    async def deliver(self, step: Step, *, secret: str | None = None) -> Result:
        """Deliver as the provider does: again and again until its success answer, or the
        schedule ends. Each attempt is signed anew, with the target's secret or the given one."""
        delays = self.target.pack.retry_delays_secs
        for attempt in range(1, len(delays) + 2):
            request = signed(self.target, step, at_us=self._now_us(), secret=secret)
            result = await self.post(step, request, attempt=attempt)
            if self._succeeded(result.status) or attempt > len(delays):
                return result
            await asyncio.sleep(delays[attempt - 1] * self._time_scale)
        raise AssertionError("the loop returns")

    async def forge(self, step: Step) -> Result:
        """Post once, signed with a secret that is not the endpoint's."""
        request = signed(self.target, step, at_us=self._now_us(), secret=self._wrong)
        return await self.post(step, request)

    async def replay_old(self, step: Step, *, age_secs: int) -> Result:
        """Post once what was signed that long ago."""
        request = signed(self.target, step, at_us=self._now_us() - age_secs * 1_000_000)
        return await self.post(step, request)

    async def post(self, step: Step, request: SignedRequest, *, attempt: int = 1) -> Result:
        """Post the request as it is; an answer that never comes has status 0."""
        try:
            async with self._session.post(
                addressed(self.target.url, request),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as answer:
                said = await answer.read()
                status = answer.status
                delivery = answer.headers.get("x-hookmill-delivery")
        except (aiohttp.ClientError, TimeoutError):
            said, status, delivery = b"", 0, None
        told = _object(said)
        return Result(
            message_id=step.message_id,
            becomes=step.becomes,
            status=status,
            attempts=attempt,
            delivery=delivery,
            error=told.get("error"),
        )

    def _succeeded(self, status: int) -> bool:
        accepted = self.target.pack.success_statuses
        return status in accepted if accepted is not None else 200 <= status < 300


def addressed(url: str, request: SignedRequest) -> URL:
    """The address with the query that the provider adds, just as it was signed."""
    query = request.query
    return URL(f"{url}{'&' if '?' in url else '?'}{query}" if query else url, encoded=True)


def session() -> aiohttp.ClientSession:
    """A client for simulators: no cookies, a time limit."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECS)
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
