"""Plays a provider: signs deliveries as it would, posts them, redelivers by its own schedule."""

import asyncio
import random
from collections.abc import Callable
from importlib import import_module
from typing import Any

import aiohttp
import msgspec

from hookmill.local.stories.story import Step, Story
from hookmill.providers.pack import Pack, SignedRequest

REQUEST_TIMEOUT_SECS = 30.0
WRONG_SECRET = "whsec_d3Jvbmctc2VjcmV0LW9mLWEtZm9yZ2VyLTAwMDAw"


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


def stories_of(provider: str) -> Callable[[random.Random, int], Story]:
    """The provider's stories: given a generator of chance and a time, one life of a payment."""
    module = import_module(f"hookmill.local.stories.{provider}")
    found: Callable[[random.Random, int], Story] = module.stories
    return found


def signed(target: Target, step: Step, *, at_us: int, secret: str | None = None) -> SignedRequest:
    """The step as the provider would send it at that time."""
    return target.pack.sign(
        step.body,
        secret=secret or target.secret,
        message_id=step.message_id,
        at_us=at_us,
        options=target.options,
    )


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

    async def deliver(self, step: Step) -> Result:
        """Deliver as the provider does: again and again until its success answer, or the
        schedule ends. Each attempt is signed anew."""
        delays = self.target.pack.retry_delays_secs
        for attempt in range(1, len(delays) + 2):
            request = signed(self.target, step, at_us=self._now_us())
            result = await self.post(step, request, attempt=attempt)
            if self._succeeded(result.status) or attempt > len(delays):
                return result
            await asyncio.sleep(delays[attempt - 1] * self._time_scale)
        raise AssertionError("the loop returns")

    async def forge(self, step: Step) -> Result:
        """Post once, signed with a secret that is not the endpoint's."""
        request = signed(self.target, step, at_us=self._now_us(), secret=WRONG_SECRET)
        return await self.post(step, request)

    async def replay_old(self, step: Step, *, age_secs: int) -> Result:
        """Post once what was signed that long ago."""
        request = signed(self.target, step, at_us=self._now_us() - age_secs * 1_000_000)
        return await self.post(step, request)

    async def post(self, step: Step, request: SignedRequest, *, attempt: int = 1) -> Result:
        """Post the request as it is; an answer that never comes has status 0."""
        try:
            async with self._session.post(
                self.target.url, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                said = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            said, status = b"", 0
        told = _object(said)
        return Result(
            message_id=step.message_id,
            becomes=step.becomes,
            status=status,
            attempts=attempt,
            delivery=told.get("delivery"),
            error=told.get("error"),
        )

    def _succeeded(self, status: int) -> bool:
        accepted = self.target.pack.success_statuses
        return status in accepted if accepted is not None else 200 <= status < 300


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
