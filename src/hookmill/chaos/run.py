"""One run: traffic and faults side by side, then everything healed, settled and checked."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from hookmill.chaos.checker import check
from hookmill.chaos.faults import Fault
from hookmill.chaos.history import History, Verdict
from hookmill.chaos.observe import Observed
from hookmill.chaos.service import Service
from hookmill.chaos.traffic import Traffic
from hookmill.chaos.world import World

SETTLE_SECS_MAX = 180.0
STILL_SECS_MAX = 90.0
LOOK_SECS = 1.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, what came of it, and the verdict. `answers` are those of the ingress by status
    (0: none came), `service_answers` those of the service that a handler forwards to (0: cut off).
    `silence_secs` is the longest time without a new event, `settle_secs` how long after the last
    fault everything was through."""

    seed: int
    seconds: float
    faults: dict[str, int]
    answers: dict[int, int]
    service_answers: dict[int, int]
    untaken: int
    verdict: Verdict
    silence_secs: float
    settle_secs: float
    ended: list[str]

    @property
    def good(self) -> bool:
        """Whether every promise held and every delivery was taken in the end."""
        return self.verdict.good and not self.untaken


class Result(msgspec.Struct, frozen=True):
    """The report for people, and the history that it was made from."""

    report: Report
    history: History


class Look(msgspec.Struct, frozen=True):
    """How to look at the run from outside: quickly (offsets), and at everything."""

    positions: Callable[[], Awaitable[object]]
    observe: Callable[[], Awaitable[Observed]]


async def run(
    world: World,
    traffic: Traffic,
    service: Service,
    faults: Sequence[Fault],
    look: Look,
    *,
    seed: int,
    seconds: float,
    tell: Callable[[str], None],
) -> Result:
    """Play and break for that long, heal, and check until all is through or nothing moves."""
    began = time.monotonic()
    playing = asyncio.ensure_future(traffic.play())
    doing: list[asyncio.Task[None]] = []
    try:
        for fault in faults:
            await _until(began + fault.at_secs, playing)
            doing.append(asyncio.ensure_future(world.do(fault)))
        await _until(began + seconds, playing)
        if doing:
            await asyncio.wait(doing)
        for each in doing:
            each.result()
        healed = time.monotonic()
        await world.heal()
        traffic.stop()
        tell("every fault is over; waiting until everything is through")
        await asyncio.wait({playing}, timeout=SETTLE_SECS_MAX)
        if playing.done():
            playing.result()
        observed, verdict = await _settled(look, tell)
    finally:
        for each in (playing, *doing):
            each.cancel()
        await asyncio.gather(playing, *doing, return_exceptions=True)
    report = Report(
        seed=seed,
        seconds=time.monotonic() - began,
        faults=dict(Counter(fault.kind.value for fault in faults)),
        answers=traffic.answers,
        service_answers=dict(sorted(service.answers.items())),
        untaken=traffic.waiting,
        verdict=verdict,
        silence_secs=observed.silence_secs,
        settle_secs=time.monotonic() - healed,
        ended=world.ended,
    )
    return Result(report, observed.history)


async def _settled(look: Look, tell: Callable[[str], None]) -> tuple[Observed, Verdict]:
    """The verdict once it is good; or the last one, when nothing moves any more."""
    began = moved = time.monotonic()
    before: object = None
    told = ""
    while True:
        await asyncio.sleep(LOOK_SECS)
        now = await look.positions()
        if now != before:
            before, moved = now, time.monotonic()
            if time.monotonic() - began < SETTLE_SECS_MAX:
                continue
        observed = await look.observe()
        verdict = check(observed.history)
        still_secs = time.monotonic() - moved
        if verdict.good or still_secs > STILL_SECS_MAX or moved - began > SETTLE_SECS_MAX:
            return observed, verdict
        if verdict.broken[0].says != told:
            told = verdict.broken[0].says
            tell(f"not through yet: {told}")


async def _until(at: float, playing: asyncio.Future[None]) -> None:
    """Wait until that time of the monotonic clock; the traffic's own defects end the run."""
    await asyncio.wait({playing}, timeout=max(0.0, at - time.monotonic()))
    if playing.done():
        playing.result()
