"""Handlers against a model: any answers, crashes, zombies and waits; order and nothing lost.

Whatever happens: an event is never handled before every earlier one of its subject has come to an
end; each comes to an end, in the handler or as one dead letter; and when all is through, nothing
is left behind in the state or in a retry topic.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers import lanes as lanes_module
from hookmill.handlers import runner as runner_module
from hookmill.handlers.api import Answer, Context
from hookmill.handlers.handling import Handling
from hookmill.handlers.lanes import Item, Lanes
from hookmill.handlers.ports import Settings
from hookmill.handlers.runner import Runner
from support.memory_log import Fenced
from support.memory_queue import TOPICS, MemoryPartition, MemoryQueue
from support.quiet import NoJournal, NoObserver

TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
DELAYS_SECS = (1, 3, 10)
ROUNDS_MAX = 400

KILLS = ("kill", "before_commit", "after_commit", "zombie", "stop")

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(0, 3)),
        st.tuples(st.just("steps"), st.integers(1, 30)),
        st.tuples(st.just("move"), st.sampled_from([0.5, 1.0, 3.0, 12.0])),
        st.tuples(st.sampled_from(KILLS), st.integers(0, 12)),
        st.tuples(st.just("doubt"), st.integers(0, 12)),
    ),
    min_size=5,
    max_size=60,
)
SEEDS = st.integers(0, 2**32)
COMMIT_TURNS = st.sampled_from([1, 5, 40])
"""How long a commit takes."""


class Killed(Exception):
    """The process is gone."""


class Doubt(Exception):
    """A commit was not answered; its runner is run anew."""


class Fickle:
    """Answers by chance, after a while; holds every beginning against the order that must be."""

    def __init__(self, seed: int, fed: dict[str, list[str]], *, ordered: bool) -> None:
        self._chance = random.Random(seed)
        self._fed = fed
        self._ordered = ordered
        self.ended: set[str] = set()
        self.successes = Counter[str]()
        self.broken: list[str] = []

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """The next answer."""
        assert event.subject is not None
        if self._ordered:
            before = self._fed[event.subject]
            earlier = before[: before.index(event.id)]
            if not self.ended.issuperset(earlier):
                self.broken.append(f"{event.id} overtakes {earlier}")
        for _ in range(self._chance.choice((0, 0, 1, 5, 40))):
            await asyncio.sleep(0)
        answer = self._answer(event, context)
        if answer is None:
            self.successes[event.id] += 1
        final = isinstance(answer, Retry) and not answer.in_place
        last = final and context.attempt > len(DELAYS_SECS)
        if answer is None or isinstance(answer, DeadLetter) or last:
            self.ended.add(event.id)
        return answer

    def _answer(self, event: Event, context: Context) -> Answer:
        if self._chance.random() < 0.5:
            return None
        return self._chance.choice(
            [None, Retry("no"), Retry("no"), Retry("far", after_secs=25.0),
             Retry("soon", after_secs=2), DeadLetter("bad"), Retry("away", in_place=True)]
        )  # fmt: skip


class Play:
    """Owner after owner of one partition, driven step by step."""

    def __init__(self, seed: int, *, ordered: bool, parked_max: int, commit_turns: int) -> None:
        self.partition = MemoryPartition()
        self.fed: dict[str, list[str]] = defaultdict(list)
        self.handler = Fickle(seed, self.fed, ordered=ordered)
        self._commit_turns = commit_turns
        self.settings = Settings(
            topics=TOPICS,
            delays_secs=DELAYS_SECS,
            retry_topics=tuple(map(TOPICS.retry, DELAYS_SECS)),
            timeout_secs=600.0,
            ordered=ordered,
            parked_max=parked_max,
        )
        self.number = 0
        self.again = 0
        """How often an event may have been handled once more, at the most."""
        self.owners: list[asyncio.Task[None]] = []
        self.queue = self._new_queue()

    def own(self) -> None:
        """A new owner takes the partition over."""

        async def no_pause(attempt: int) -> None:
            await asyncio.sleep(0)

        def now_us() -> int:
            return self.partition.now_us

        self.queue = self._new_queue()
        handling = Handling(
            self.settings, self.handler, journal=NoJournal(), observer=NoObserver(),
            now_us=now_us, clock=lambda: 0.0, pause=no_pause,
        )  # fmt: skip
        runner = Runner(
            self.settings, handling, self.queue, slots=asyncio.Semaphore(3),
            observer=NoObserver(), now_us=now_us,
        )  # fmt: skip
        self.owners.append(asyncio.ensure_future(self._keep(runner)))

    def _new_queue(self) -> MemoryQueue:
        return MemoryQueue(self.partition, commit_turns=self._commit_turns)

    async def _keep(self, runner: Runner) -> None:
        """As the group's member does: what is in doubt is begun anew."""
        while True:
            with contextlib.suppress(Doubt):
                await runner.run()

    async def do(self, what: str, number: int | float) -> None:
        """One operation of the script."""
        match what:
            case "feed":
                self.number += 1
                subject = f"s{number}"
                self.fed[subject].append(f"hm_{self.number}")
                self.partition.feed(self.number, subject)
            case "steps":
                await self._steps(int(number))
            case "move":
                self.partition.move(number)
            case "zombie":
                self.again += 2  # what it holds, and what its successor lets wait in a retry topic
                self.own()
            case "stop":
                self.again += 1
                await self._end(self.owners)
                self.own()
            case "doubt":
                self.again += 1
                self._doubt()
                await self._steps(int(number))
            case _:
                self.again += 1
                await self._crash(what, int(number))

    def _doubt(self) -> None:
        """The next commit fails, once."""
        queue = self.queue

        def fail() -> None:
            queue.before_commit = lambda: None
            raise Doubt

        queue.before_commit = fail

    async def _crash(self, what: str, steps: int) -> None:
        def die(*_: Any) -> None:
            raise Killed

        for moment in ("before_commit", "after_commit") if what == "kill" else (what,):
            setattr(self.queue, moment, die)
        await self._steps(steps)
        await self._end(self.owners)
        self.own()

    async def _steps(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
        self._look_at_owners()

    def _look_at_owners(self) -> None:
        """Owners end by being killed or fenced; anything else is a defect."""
        for owner in [each for each in self.owners if each.done() and not each.cancelled()]:
            self.owners.remove(owner)
            error = owner.exception()
            if not isinstance(error, Killed | Fenced):
                raise error or AssertionError("a runner ended by itself")
        if not self.owners:
            self.own()

    async def _end(self, owners: list[asyncio.Task[None]]) -> None:
        for owner in owners:
            owner.cancel()
        for result in await asyncio.gather(*owners, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError | Killed | Fenced):
                raise result if isinstance(result, BaseException) else AssertionError(result)
        self.owners.clear()

    async def to_the_end(self) -> None:
        """Time passes until nothing is left to do."""
        everything = {each for several in self.fed.values() for each in several}
        for _ in range(ROUNDS_MAX):
            await self._steps(100)
            if self.handler.ended >= everything and self._is_through():
                break
            self.partition.move(5.0)
        await self._end(self.owners)
        letters = Counter(
            each.header("ce_id") for each in self.partition.records(TOPICS.dead_letters)
        )
        assert self.handler.broken == []
        assert self.handler.ended >= everything, f"stuck: {everything - self.handler.ended}"
        assert max(letters.values(), default=0) <= 1
        assert {*letters, *self.handler.successes} >= everything
        assert max(self.handler.successes.values(), default=0) <= 1 + self.again
        assert self._is_through()

    def _is_through(self) -> bool:
        """Whether nothing is kept, and every position is at its topic's end."""
        topics = (TOPICS.queue, *map(TOPICS.retry, DELAYS_SECS))
        lasts = {topic: self.partition.records(topic)[-1:] for topic in topics}
        return not self.partition.state and all(
            self.partition.offsets.get(topic, 0) == record.offset + 1
            for topic, last in lasts.items()
            for record in last
        )


def play(
    script: list[tuple[str, Any]], seed: int, *, ordered: bool, parked_max: int, commit_turns: int
) -> None:
    """The whole script, then everything to its end."""

    async def all_of_it() -> None:
        game = Play(seed, ordered=ordered, parked_max=parked_max, commit_turns=commit_turns)
        game.own()
        for what, number in script:
            await game.do(what, number)
        await game.to_the_end()

    asyncio.run(all_of_it())


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows fill up and transactions are split, as with millions of records."""
    monkeypatch.setattr(runner_module, "HELD_RECORDS_MAX", 6)
    monkeypatch.setattr(runner_module, "FETCH_RECORDS_MAX", 4)
    monkeypatch.setattr(runner_module, "DRAIN_SECS", 0.0)
    monkeypatch.setattr(lanes_module, "BATCH_ITEMS_MAX", 3)


MODEL = settings(
    max_examples=150 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


A_ZOMBIE_READS_WHAT_ITS_SUCCESSOR_WROTE = [
    *[("feed", 0)] * 3, ("feed", 1), ("steps", 37), ("move", 1.0), ("steps", 29), ("zombie", 0),
    ("steps", 15), ("move", 1.0),
]  # fmt: skip


@given(
    script=OPERATIONS, seed=SEEDS, parked_max=st.sampled_from([1, 3, 1000]),
    commit_turns=COMMIT_TURNS,
)  # fmt: skip
@example(A_ZOMBIE_READS_WHAT_ITS_SUCCESSOR_WROTE, 3564274, 1, 1)
@MODEL
def test_events_of_a_subject_are_handled_in_order_whatever_happens(
    script: list[tuple[str, Any]], seed: int, parked_max: int, commit_turns: int
) -> None:
    """Failures, waits of any length, crashes at any step, two owners at once."""
    play(script, seed, ordered=True, parked_max=parked_max, commit_turns=commit_turns)


@given(script=OPERATIONS, seed=SEEDS, commit_turns=COMMIT_TURNS)
@MODEL
def test_without_order_nothing_is_lost_and_nothing_is_parked(
    script: list[tuple[str, Any]], seed: int, commit_turns: int
) -> None:
    """Where the handler says that order does not matter."""
    play(script, seed, ordered=False, parked_max=1, commit_turns=commit_turns)


# The model must be able to fail: lanes with one flaw each.


class LetsThemPass(Lanes):
    """What waits blocks nobody."""

    def _may_run(self, lane: Any) -> bool:
        return lane.running is None and bool(lane.items)


class ForgetsWhatIsParked(Lanes):
    """The position passes it, and the state does not know it."""

    def batch(self) -> Any:
        batch = super().batch()
        if batch is not None:
            batch.changes[:] = [each for each in batch.changes if not each[0].startswith(b"parked")]
        return batch


class ForgetsWhatWaits(Lanes):
    """After a crash a later event finds nobody before it."""

    def batch(self) -> Any:
        batch = super().batch()
        if batch is not None:
            batch.changes[:] = [each for each in batch.changes if not each[0].startswith(b"wait")]
        return batch


class PassesWhatRuns(Lanes):
    """The position moves on before the handler is done."""

    def _advance(self, topic: str, stream: Any, changes: Any) -> int | None:
        for item in stream.items:
            if item.stage == "runs":
                item.stage = "written"
        return super()._advance(topic, stream, changes)


class TwoAtOnce(Lanes):
    """A subject's next event does not wait for the one that is being handled."""

    def take(self) -> Item | None:
        item = super().take()
        if item is not None:
            lane = self._lanes[self._key(item)]
            lane.running = None
            self._rouse(self._key(item), lane)
        return item


FLAWS = [
    LetsThemPass, ForgetsWhatIsParked, ForgetsWhatWaits, PassesWhatRuns, TwoAtOnce,
]  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_the_model_finds_a_flaw(flaw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes that break the promise in one way are caught."""
    monkeypatch.setattr(runner_module, "Lanes", flaw)

    @given(script=OPERATIONS, seed=SEEDS, commit_turns=COMMIT_TURNS)
    @settings(
        max_examples=5_000,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def explored(script: list[tuple[str, Any]], seed: int, commit_turns: int) -> None:
        play(script, seed, ordered=True, parked_max=1000, commit_turns=commit_turns)

    with pytest.raises((AssertionError, KeyError)):
        explored()
