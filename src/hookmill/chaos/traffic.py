"""The client that remembers: providers' traffic, and every answer that it got."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from hookmill.chaos.history import Attempt
from hookmill.local.kit.specimen import arrived
from hookmill.local.simulator import FORGER, Simulator, Target, signed, stories_of
from hookmill.local.stories.story import Step

REQUEST_TIMEOUT_SECS = 12.0
PAUSE_SECS = (0.05, 1.0)
FORGED_BEFORE = 0.08
AGAIN_AT_ONCE = 0.12
AGAIN_LATER = 0.15
OUT_OF_ORDER = 0.15


class Traffic:
    """Plays every provider at once, in lanes, until told to stop; posts again what is not taken.

    `doors` are the ingress processes, each with its targets by endpoint.
    """

    def __init__(
        self,
        doors: Sequence[Mapping[str, Target]],
        *,
        seed: int,
        lanes: int,
        rate: float,
        now_us: Callable[[], int],
    ) -> None:
        self._doors = doors
        self._seed = seed
        self._lanes = lanes
        self._pause_secs = lanes * len(doors[0]) / rate
        self._now_us = now_us
        self._ticks = 0
        self._playing = True
        self.attempts: list[Attempt] = []
        self.waiting = 0

    @property
    def answers(self) -> dict[int, int]:
        """How many answers of each status came; 0 is none at all."""
        return dict(sorted(Counter(attempt.status for attempt in self.attempts).items()))

    def stop(self) -> None:
        """Begin no further story; what was begun goes on until it is taken."""
        self._playing = False

    async def play(self) -> None:
        """Play until `stop`, and then until everything that was begun is taken."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECS)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as lanes,
        ):
            for endpoint in self._doors[0]:
                for number in range(self._lanes):
                    lanes.create_task(self._lane(session, endpoint, number))

    async def _lane(self, session: aiohttp.ClientSession, endpoint: str, number: int) -> None:
        """One story after another; their events are posted one by one."""
        chance = random.Random(f"traffic {self._seed} {endpoint} {number}")
        simulators = [
            Simulator(door[endpoint], session, now_us=self._now_us, time_scale=1.0)
            for door in self._doors
        ]
        stories = stories_of(self._doors[0][endpoint].pack)
        told = 0
        while self._playing:
            told += 1
            steps = [
                (f"{endpoint}/{number}/{told}/{index}", step)
                for index, step in enumerate(stories(chance, self._now_us()))
            ]
            if chance.random() < OUT_OF_ORDER:
                chance.shuffle(steps)
            for index, (name, step) in enumerate(steps):
                await asyncio.sleep(self._pause_secs * chance.uniform(0.2, 1.8))
                await self._tell(chance, simulators, endpoint, name, step)
                if chance.random() < AGAIN_LATER:
                    again = chance.choice(steps[: index + 1])
                    await self._tell(chance, simulators, endpoint, *again)

    async def _tell(
        self,
        chance: random.Random,
        simulators: Sequence[Simulator],
        endpoint: str,
        name: str,
        step: Step,
    ) -> None:
        """Post an event until it is taken; before it perhaps a forgery of it, after it perhaps
        the same again."""
        if chance.random() < FORGED_BEFORE:
            await self._post(chance.choice(simulators), endpoint, name, step, forged=True)
        self.waiting += 1
        times = 2 if chance.random() < AGAIN_AT_ONCE else 1
        pause_secs = PAUSE_SECS[0]
        while times:
            attempt = await self._post(chance.choice(simulators), endpoint, name, step)
            if attempt.delivery is not None:
                times -= 1
                continue
            await asyncio.sleep(pause_secs * chance.uniform(0.5, 1.5))
            pause_secs = min(PAUSE_SECS[1], pause_secs * 2)
        self.waiting -= 1

    async def _post(
        self, simulator: Simulator, endpoint: str, name: str, step: Step, *, forged: bool = False
    ) -> Attempt:
        began = self._tick()
        target = simulator.target
        secret = target.pack.example_secret(FORGER, target.options) if forged else None
        at_us = self._now_us()
        request = signed(target, step, at_us=at_us, secret=secret)
        items = target.pack.identify(arrived(request, at_us), target.options)
        result = await simulator.post(step, request)
        attempt = Attempt(
            step=name,
            endpoint=endpoint,
            began=began,
            ended=self._tick(),
            status=result.status,
            delivery=result.delivery if result.accepted else None,
            forged=forged,
            items=len(items),
        )
        self.attempts.append(attempt)
        return attempt

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks
