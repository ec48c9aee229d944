"""What the demo posts, and what must become of each: the business of a day in a few seconds."""

import asyncio
import random
from collections.abc import Callable, Mapping

import aiohttp
import msgspec

from hookmill.core.errors import Reason
from hookmill.local.simulator import Result, Simulator, Target, signed, stories_of
from hookmill.local.stories.story import Step
from hookmill.providers.pack import SignedRequest
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.token import Token

STORIES_PER_ENDPOINT = 5
STALE_SECS = 300
FORGED_PER_ENDPOINT = 2
NOT_JSON = Step(body=b'{"data": {"status": "paid", # a comment\n}', message_id="odd", becomes="")


class Expected(msgspec.Struct, frozen=True):
    """The answer that must come: status and reason code (None: accepted)."""

    status: int
    reason: str | None = None


ACCEPTED = Expected(200)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """One posted delivery: what kind of thing it was, its answer, and the answer that must come."""

    kind: str
    endpoint: str
    result: Result
    expected: Expected

    @property
    def as_expected(self) -> bool:
        """Whether the answer is the one that must come."""
        return (self.result.status, self.result.error) == (
            self.expected.status,
            self.expected.reason,
        )


def forged(target: Target) -> Expected:
    """What a delivery that is signed with another secret must be answered."""
    scheme = target.pack.scheme(target.options)
    match scheme:
        case Token():
            reason = Reason.SECRET_INVALID
        case Jwt():
            reason = Reason.TOKEN_INVALID
        case _:
            reason = Reason.SIGNATURE_INVALID
    return Expected(target.pack.refusal_statuses.get(reason, 401), reason)


async def play(
    targets: Mapping[str, Target],
    client: aiohttp.ClientSession,
    *,
    seed: int,
    now_us: Callable[[], int],
) -> list[Played]:
    """Post everything, endpoint beside endpoint; returns what was posted, in order for each."""
    players = [
        _Player(target, client, random.Random(f"{seed} {name}"), now_us)
        for name, target in targets.items()
    ]
    played = await asyncio.gather(*(player.play() for player in players))
    return [each for several in played for each in several]


class _Player:
    """One provider's day."""

    def __init__(
        self,
        target: Target,
        client: aiohttp.ClientSession,
        chance: random.Random,
        now_us: Callable[[], int],
    ) -> None:
        self._target = target
        self._client = client
        self._chance = chance
        self._now_us = now_us
        self._simulator = Simulator(target, client, now_us=now_us, time_scale=0.001)
        self._played: list[Played] = []

    async def play(self) -> list[Played]:
        """Stories, redeliveries, late statuses, forgeries, and what no provider would send."""
        stories = stories_of(self._target.pack)
        for number in range(STORIES_PER_ENDPOINT):
            steps = list(stories(self._chance, self._now_us()))
            if number == 0 and len(steps) > 1:
                steps.reverse()  # the end is told before the beginning
            for step in steps:
                self._note("event", await self._simulator.deliver(step), ACCEPTED)
            again = self._chance.choice(steps)
            self._note("redelivery", await self._simulator.deliver(again), ACCEPTED)
        for _ in range(FORGED_PER_ENDPOINT):
            step = stories(self._chance, self._now_us())[0]
            self._note("forgery", await self._simulator.forge(step), forged(self._target))
        await self._peculiar(stories(self._chance, self._now_us())[0])
        return self._played

    async def _peculiar(self, step: Step) -> None:
        if (tolerance_secs := self._target.pack.tolerance_secs) is not None:
            result = await self._simulator.replay_old(step, age_secs=tolerance_secs + STALE_SECS)
            self._note("stale", result, Expected(401, "timestamp_out_of_tolerance"))
        if self._target.pack.name == "pay3":
            envelope = SignedRequest({"content-type": "application/json"}, b"no envelope")
            result = await self._simulator.post(step, envelope)
            self._note("malformed", result, Expected(400, "malformed_envelope"))
        if self._target.pack.name == "rehive":
            result = await self._simulator.post(NOT_JSON, self._sign(NOT_JSON))
            self._note("not JSON", result, ACCEPTED)
        unsigned = SignedRequest({"content-type": "application/json"}, b"x" * 1_100_000)
        result = await self._simulator.post(step, unsigned)
        self._note("too large", result, Expected(413, "body_too_large"))

    def _sign(self, step: Step) -> SignedRequest:
        return signed(self._target, step, at_us=self._now_us())

    def _note(self, kind: str, result: Result, expected: Expected) -> None:
        self._played.append(
            Played(kind=kind, endpoint=self._target.endpoint, result=result, expected=expected)
        )
