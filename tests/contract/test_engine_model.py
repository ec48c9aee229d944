"""The engine against a model: any interleaving of owners, crashes and lost disks, step by step.

Every call of a worker to its port waits until the test lets it go on, so hypothesis chooses what
happens between any two of them. After every step the outputs must be exactly those of the input
up to the committed offset, decided one record after the other by nobody but one.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from hookmill import pipeline
from hookmill.config import options
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome, Retry
from hookmill.core.record import Output, Record
from hookmill.kafka.changelog import MARK_KEY, Mark, State
from hookmill.kafka.deciding import Decider, Decisions
from hookmill.kafka.store import Bookmark
from hookmill.kafka.worker import Worker
from hookmill.pipeline import DEDUP, NORMALIZE, ROUTE, Stage
from hookmill.providers.endpoint import build
from hookmill.stages import headers
from hookmill.stages.dedup import Seen, decode_seen
from hookmill.stages.route import Rule
from support.alone import decide, read
from support.memory_log import Fenced, MemoryLog, MemoryStore, StepPort

TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
WINDOW_SECS = 60
VALUE_BYTES_MAX = 2_000
ENDPOINTS = {
    "shop": build("shop", options.Endpoint(provider="yoco", dedup_window_secs=WINDOW_SECS))
}
RULES = (Rule(name="all", handlers=("ledger",)),)
KILLED = (ConnectionError, TimeoutError, Fenced)
"""What a worker of these tests may end with; anything else is a defect."""

OUTPUTS = {
    "dedup": (pipeline.UNIQUE,),
    "normalize": (pipeline.NORMALIZED,),
    "route": (*pipeline.KIND_TOPICS.values(), pipeline.HandlerTopics("ledger").queue),
}

Written = tuple[bytes, bytes, str | None, str | None]


ARRIVALS = st.tuples(
    st.integers(1, 5),
    st.integers(1, 2),
    st.sampled_from(
        ["paid", "paid", "paid", "paid", "refund", "other", "no json", "gone", "nameless",
         "poison", "huge"]
    ),
    st.sampled_from([0, 1, 20_000, 60_000, 60_001, -5]),
)  # fmt: skip
"""The event's number, its payment's, what it is, and the pause before it in milliseconds."""


def raw_record(number: int, payment: int, what: str) -> Output:
    """A record as the ingress writes it, or one that no stage can use."""
    words = {"refund": "refund.succeeded", "other": "dispute.opened"}
    word = words.get(what, "payment.succeeded")
    payload = {"id": f"p_{payment}", "amount": 900, "currency": "ZAR", "mode": "live"}
    pad = "x" * (VALUE_BYTES_MAX if what == "huge" else 0)
    body = msgspec.json.encode({"id": f"e{number}", "type": word, "payload": payload, "pad": pad})
    identity = {
        headers.ENDPOINT: "gone" if what == "gone" else "shop",
        headers.EVENT_ID: "" if what == "nameless" else f"e{number}",
        headers.EVENT_TYPE: word,
        headers.RECEIVED_AT: "1700000000000000",
    }
    return Output(
        pipeline.RAW,
        b"poison" if what == "poison" else f"shop|p_{payment}".encode(),
        b"{" if what == "no json" else body,
        tuple((name, value.encode()) for name, value in identity.items()),
    )


class Quiet:
    """A watcher that listens to nothing."""

    def tally(self) -> "Quiet":
        """Nor of any transaction."""
        return self

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: None


class Hesitant:
    """A stage that raises at poison, and asks for some retries first when told to."""

    hesitations = 0

    def __init__(self, inner: Any) -> None:
        self.name = inner.name
        self.forgets = inner.forgets
        self.inner = inner

    def read(self, records: Sequence[Record]) -> Any:
        """Poison in a key kills here."""
        if any(b"poison" in record.key for record in records):
            raise ValueError("poison")
        return self.inner.read(records)

    def decide(self, tasks: Sequence[Any], state: Any) -> list[Outcome]:
        """The stage's own answers, sooner or later."""
        if self.hesitations:
            self.hesitations -= 1
            return [Retry("not yet") for _ in tasks]
        outcomes: list[Outcome] = self.inner.decide(tasks, state)
        return outcomes


class Oracle:
    """What a stage must make of its input: one record after another, in one dictionary."""

    def __init__(self, log: MemoryLog, spec: Stage, stage: Any) -> None:
        self.spec = spec
        self._log = log
        self._stage = stage
        self._state: dict[bytes, bytes] = {}
        self._seen = 0
        self.outcomes: list[tuple[int, Outcome]] = []
        self.topics: dict[str, list[tuple[int, Written]]] = {}

    def learn(self) -> None:
        """Decide the records that are new in the input."""
        for record in self._log.topics[self.spec.reads, 0][self._seen :]:
            self._seen += 1
            if record is not None:
                outcome = self._decided(record)
                self.outcomes.append((record.offset, outcome))
                for topic, written in self._made(record, outcome):
                    self.topics.setdefault(topic, []).append((record.offset, written))

    def expected(self, topic: str, next_offset: int) -> list[Written]:
        """The topic's records once the input before that offset is done."""
        return [each for offset, each in self.topics.get(topic, []) if offset < next_offset]

    def _decided(self, record: Record) -> Outcome:
        if b"poison" in record.key:
            return DeadLetter("stage_error")
        outcome = decide(self._stage, read(self._stage, record), self._state)
        if isinstance(outcome, Forward):
            if any(len(each.value or b"") > VALUE_BYTES_MAX for each in outcome.outputs):
                return DeadLetter("output_too_large")
            self._state.update(outcome.state)
        return outcome

    def _made(self, record: Record, outcome: Outcome) -> Iterator[tuple[str, Written]]:
        if isinstance(outcome, Forward):
            for each in outcome.outputs:
                yield each.topic, written(Record("", 0, 0, 0, each.key, each.value or b"",
                                                 each.headers))  # fmt: skip
        elif isinstance(outcome, DeadLetter):
            yield (self.spec.dead_letters,
                   (record.key, record.value, outcome.reason, str(record.offset)))  # fmt: skip


def written(record: Record) -> Written:
    """What of a record is compared: a dead letter's reason and origin, else whence it came."""
    reason = record.header(headers.ERROR_REASON)
    origin = headers.ERROR_OFFSET if reason else headers.RAW_OFFSET
    return record.key, record.value, reason, record.header(origin)


class Owner:
    """A process that owns a partition, or believes so: its disk outlives it."""

    def __init__(self, spec: Stage) -> None:
        self.spec = spec
        self.disk = MemoryStore()
        self.worker: Worker | None = None
        self.port: Any = None
        self.task: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """Whether it is at work, so that its disk can't be touched."""
        return self.task is not None


class EngineMachine(RuleBasedStateMachine):
    """Owners of partition 0 of some stages, two or three of each, and all that befalls them."""

    specs: ClassVar[Sequence[Stage]] = (DEDUP,)
    owners_each: ClassVar[int] = 3
    worker_class: ClassVar[type[Worker]] = Worker
    port_class: ClassVar[type[StepPort]] = StepPort

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.log = MemoryLog()
        self.now_ms = self.log.now_ms
        self.snapshots: list[tuple[str, MemoryStore]] = []
        self.owners = [Owner(spec) for spec in self.specs for _ in range(self.owners_each)]
        names = pipeline.Names()
        pure = {spec.name: pipeline.decision(spec, ENDPOINTS, RULES, names) for spec in self.specs}
        self.stages = {name: Hesitant(stage) for name, stage in pure.items()}
        self.oracles = [Oracle(self.log, spec, pure[spec.name]) for spec in self.specs]

    # What arrives.

    @rule(arrivals=st.lists(ARRIVALS, min_size=1, max_size=4))
    def append(self, arrivals: list[tuple[int, int, str, int]]) -> None:
        """Records of webhooks-raw, duplicates as often as not."""
        for number, payment, what, pause_ms in arrivals:
            self.log.now_ms += pause_ms
            self.log.append(pipeline.RAW, 0, raw_record(number, payment, what))

    # What the owners do.

    @rule(which=st.integers(0, 5), records_max=st.integers(1, 5), steps=st.integers(0, 8))
    def start(self, which: int, records_max: int, steps: int) -> None:
        """A process starts, on the disk that it finds."""
        owner = self._owner(which)
        if not owner.runs:
            self._start(owner, records_max)
            self._run(owner, steps)

    @rule(which=st.integers(0, 5), steps=st.integers(1, 12))
    def work(self, which: int, steps: int) -> None:
        """An owner comes so many calls further."""
        self._run(self._owner(which), steps)

    @rule(which=st.integers(0, 5), fault=st.sampled_from(["before", "after", "late"]),
          again=st.booleans())  # fmt: skip
    def fail(self, which: int, fault: str, again: bool) -> None:
        """The call fails; the process is killed by it, or its worker is run again."""
        owner = self._owner(which)
        if owner.runs:
            self._step(owner, fault)
        if again and owner.worker is not None and not owner.runs:
            owner.task = self.loop.create_task(owner.worker.run())
            self._settle(owner)

    @rule(which=st.integers(0, 5), steps=st.integers(2, 10),
          fault=st.sampled_from(["before", "after", "late"]))  # fmt: skip
    def fail_at_the_next_commit(self, which: int, steps: int, fault: str) -> None:
        """The moment that matters most."""
        owner = self._owner(which)
        for _ in range(steps):
            if owner.runs:
                at_commit = owner.port.at == "commit"
                self._step(owner, fault if at_commit else "")
                if at_commit:
                    return

    @rule(which=st.integers(0, 5), fault=st.sampled_from(["", "before", "after", "late"]))
    def cancel(self, which: int, fault: str) -> None:
        """A rebalance takes the partition away; a commit under way comes to its end first."""
        owner = self._owner(which)
        if owner.task is not None:
            owner.task.cancel()
            if owner.port.at == "commit":
                owner.port.release(fault)
            self._settle(owner, ending=True)

    @rule(which=st.integers(0, 5))
    def land(self, which: int) -> None:
        """A commit that nobody waits for any more comes through, unless a fence aborted it."""
        port = self._owner(which).port
        if port is not None and port.late is not None:
            late, port.late = port.late, None
            try:
                self.loop.run_until_complete(port.inner.commit(*late))
            except Fenced:
                return

    # What befalls disks and topics.

    @rule(which=st.integers(0, 5))
    def remember_disk(self, which: int) -> None:
        """A snapshot of a disk, to come back later."""
        owner = self._owner(which)
        self.snapshots.append((owner.spec.name, owner.disk.copy()))

    @rule(which=st.integers(0, 5), how=st.sampled_from(["lost", "old", "unreadable", "foreign",
                                                        "ahead"]))  # fmt: skip
    def change_disk(self, which: int, how: str) -> None:
        """The process comes back on another disk, or on one that is not this changelog's."""
        owner = self._owner(which)
        if owner.runs:
            return
        owner.worker = None
        disk = owner.disk.copy()
        if how == "lost":
            disk = MemoryStore()
        elif how == "old":
            old = [each for name, each in self.snapshots if name == owner.spec.name]
            disk = old[0].copy() if old else MemoryStore()
        elif how == "unreadable":
            disk.mark = None
        elif owner.spec is DEDUP:
            disk = self._deceitful(disk, how)
        owner.disk = disk

    @rule(which=st.integers(0, 5))
    def forget_offsets(self, which: int) -> None:
        """The group stood still for a week."""
        self.log.offsets.pop((self._owner(which).spec.name, 0), None)

    @rule(which=st.integers(0, 5))
    def compact(self, which: int) -> None:
        """The cleaner keeps each key's last value."""
        self.log.compact(self._owner(which).spec.changelog, 0)

    @rule(which=st.integers(0, 5), times=st.integers(1, 3))
    def hesitate(self, which: int, times: int) -> None:
        """The stage can't decide for a while."""
        self.stages[self._owner(which).spec.name].hesitations = times

    # What must hold.

    @invariant()
    def the_outputs_are_those_of_the_committed_input(self) -> None:
        """Nothing lost, doubled, made up or out of order, at any moment."""
        for oracle in self.oracles:
            self._compare(oracle, self._next_offset(oracle.spec))

    @invariant()
    def a_disk_holds_no_sighting_of_what_was_not_forwarded(self) -> None:
        """Else the event would never go out."""
        forwarded = {
            offset for offset, outcome in self.oracles[0].outcomes if isinstance(outcome, Forward)
        }
        done = self._next_offset(DEDUP)
        for owner in self.owners:
            if owner.spec is DEDUP and not _deceives(owner.disk):
                for value in owner.disk.values.values():
                    assert decode_seen(value).offset in forwarded
                    assert decode_seen(value).offset < done

    def teardown(self) -> None:
        """Whoever still works goes on for a while; then one owner each works to the end."""
        try:
            for _ in range(12):
                for owner in self.owners:
                    self._run(owner, 1)
                self.the_outputs_are_those_of_the_committed_input()
            for stage in self.stages.values():
                stage.hesitations = 0
            for oracle in self.oracles:
                self._finish(oracle)
            self._check_raw()
        finally:
            for which in range(len(self.owners)):
                self.cancel(which, "before")
            self.loop.close()

    # How it is done.

    def _owner(self, which: int) -> Owner:
        return self.owners[which % len(self.owners)]

    def _start(self, owner: Owner, records_max: int) -> None:
        inner = self.loop.run_until_complete(self.log.port(owner.spec, 0))
        port = self.port_class(inner, records_max)

        async def pause(attempt: int) -> None:
            await port.turn("pause")

        owner.port = port
        owner.worker = self.worker_class(
            self.stages[owner.spec.name],
            owner.spec,
            port,
            owner.disk,
            watcher=Quiet(),
            pause=pause,
            now_us=lambda: 1,
            value_bytes_max=lambda topic: VALUE_BYTES_MAX,
        )
        owner.task = self.loop.create_task(owner.worker.run())
        self._settle(owner)

    def _run(self, owner: Owner, steps: int) -> None:
        for _ in range(steps):
            if owner.runs:
                self._step(owner)

    def _step(self, owner: Owner, fault: str = "") -> None:
        if owner.port.at == "fence" and not fault:
            for each in self.owners:
                if each.spec is owner.spec and each.port is not None:
                    each.port.late = None
        owner.port.release(fault)
        self._settle(owner)

    def _settle(self, owner: Owner, *, ending: bool = False) -> None:
        """Run the loop until the worker waits in its next call, or has ended."""
        task = owner.task
        assert task is not None

        async def settled() -> None:
            while not task.done() and (ending or not owner.port.arrived.is_set()):
                await asyncio.sleep(0)

        self.loop.run_until_complete(settled())
        if not task.done():
            return
        owner.task = None
        if not task.cancelled():
            error = task.exception()
            if not isinstance(error, KILLED):
                raise AssertionError("the worker ended with") from error

    def _drain(self, owner: Owner) -> None:
        end = len(self.log.topics[owner.spec.reads, 0])
        for _ in range(2_000):
            assert owner.worker is not None
            if owner.port.at == "fetch" and not self._left(owner.worker.position, end, owner.spec):
                return
            self._step(owner)
        raise AssertionError("the input is never done")

    def _finish(self, oracle: Oracle) -> None:
        owner = next(each for each in self.owners if each.spec is oracle.spec)
        self.cancel(self.owners.index(owner), "before")
        self._start(owner, 5)
        self._drain(owner)
        self._compare(oracle, len(self.log.topics[oracle.spec.reads, 0]))

    def _left(self, position: int, end: int, spec: Stage) -> bool:
        log = self.log.topics[spec.reads, 0]
        return any(each is not None for each in log[position:end])

    def _next_offset(self, spec: Stage) -> int:
        """Up to where the changelog says that the input is done."""
        for record in reversed(self.log.topics[spec.changelog, 0]):
            if record is not None and record.key == MARK_KEY:
                return msgspec.json.decode(record.value, type=Mark).next_input_offset
        return 0

    def _compare(self, oracle: Oracle, next_offset: int) -> None:
        oracle.learn()
        for topic in (*OUTPUTS[oracle.spec.name], oracle.spec.dead_letters):
            found = [written(each) for each in self.log.topics[topic, 0] if each is not None]
            assert found == oracle.expected(topic, next_offset), topic

    def _check_raw(self) -> None:
        """Dedup by a model that shares no code with it: every record ended in one way."""
        went_on: dict[str, int] = {}
        expected = []
        for record in self.log.topics[pipeline.RAW, 0]:
            assert record is not None
            name = "|".join(record.header(each) or "" for each in
                            (headers.ENDPOINT, headers.EVENT_ID, headers.EVENT_TYPE))  # fmt: skip
            window_ms = 1000 * (WINDOW_SECS if name.startswith("shop|") else 30 * 86_400)
            last_ms = went_on.get(name)
            if record.key == b"poison" or not record.header(headers.EVENT_ID):
                continue
            new = last_ms is None or record.timestamp_ms > last_ms + window_ms
            if new and len(record.value) <= VALUE_BYTES_MAX:
                went_on[name] = record.timestamp_ms
                expected.append(str(record.offset))
        unique = [each for each in self.log.topics[pipeline.UNIQUE, 0] if each is not None]
        assert [each.header(headers.RAW_OFFSET) for each in unique] == expected

    def _deceitful(self, disk: MemoryStore, how: str) -> MemoryStore:
        """A disk that knows events which this changelog never heard of."""
        end = len(self.log.topics[DEDUP.changelog, 0])
        mark = disk.mark
        if how == "foreign" or mark is None:
            mark = Bookmark(max(0, end - 2), "foreign", 3)
        else:
            mark = Bookmark(end + 10_000, mark.incarnation, mark.next_input_offset)
        seen = msgspec.json.encode(Seen(self.log.now_ms, 0, 0))
        for number in range(1, 6):
            disk.values[f"shop|e{number}|payment.succeeded".encode()] = seen
        disk.mark = mark
        return disk


def _deceives(disk: MemoryStore) -> bool:
    """Whether its content counts for nothing: no bookmark, another changelog's, or a later one."""
    mark = disk.mark
    return mark is None or mark.incarnation == "foreign" or mark.changelog_offset >= 10_000


class ChainMachine(EngineMachine):
    """The three stages one behind the other, two owners of each."""

    specs = (DEDUP, NORMALIZE, ROUTE)
    owners_each = 2


def explore(machine: type[EngineMachine], *, examples: int, steps: int, **other: Any) -> None:
    """Let hypothesis look for a run of that machine that breaks a promise."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            **other,
        ),
    )


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are split and restores written in pieces, as with millions of records."""
    monkeypatch.setattr("hookmill.kafka.worker.BYTES_MAX", 800)
    monkeypatch.setattr("hookmill.kafka.changelog.RESTORE_WRITE_RECORDS", 3)


def test_dedup_keeps_its_promise_whatever_happens() -> None:
    """Three owners of one partition, any faults between any two of their calls."""
    explore(EngineMachine, examples=100 * TIMES, steps=40)


def test_the_chain_keeps_its_promise_whatever_happens() -> None:
    """From webhooks-raw to the handlers' queue; every resource in the order of its events."""
    explore(ChainMachine, examples=50 * TIMES, steps=50)


# The model must be able to fail: engines with one flaw each.


class WritesBeforeTheCommit(Worker):
    """The store says `seen` before it is true."""

    async def _commit(self, transaction: Any) -> None:
        bookmark = self._state.store.bookmark()
        if bookmark is not None:
            self._state.store.write(list(transaction.overlay.changes.items()), bookmark)
        await super()._commit(transaction)


class RestoresBeforeTheFence(Worker):
    """What an older owner commits meanwhile is never read."""

    async def run(self) -> None:
        committed = await self._port.committed()
        await self._state.restore()
        self.position = await self._start_offset(committed)
        await self._port.fence()
        self._port.seek(self.position)
        while True:
            await self._process(await self._port.fetch(records_max=9, timeout_secs=1))


class ForgetfulState(State):
    """The changelog says how far the input is done, and nothing of what was seen."""

    def records(self, changes: Any, next_input_offset: int) -> list[Output]:
        return super().records((), next_input_offset)


class TrustingState(State):
    """It reads on from a bookmark without asking whose it is."""

    async def _replay(self, start: int, end: int, since: Bookmark | None) -> int:
        return await super()._replay(start, end, None)


class ForgetsItsState(Worker):
    """Its state is a forgetful one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._state.__class__ = ForgetfulState


class TrustsAnyDisk(Worker):
    """Its state is a trusting one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._state.__class__ = TrustingState


class ForgetsTooEarly(Worker):
    """What was seen leaves the store while its window lasts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._state._forgets = lambda key, value, now_ms: now_ms > decode_seen(value).time_ms


class SkippingDecider(Decider):
    """What can't be decided now never is."""

    def decide(self, *arguments: Any, **named: Any) -> Decisions:
        found = super().decide(*arguments, **named)
        if found.retry is None:
            return found
        return found._replace(outcomes=[*found.outcomes, Drop("later")], retry=None)


class SkipsRetries(Worker):
    """It asks its stage in a careless way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._decider.__class__ = SkippingDecider


class CommitsWithoutASend(StepPort):
    """A send was rejected and nobody looked: the offset moves all the same."""

    async def commit(self, packed: Sequence[Output], next_offset: int) -> dict[str, int]:
        fault = await self.turn("commit")
        sent = [each for each in packed if each.topic != pipeline.UNIQUE or not fault]
        return await self.inner.commit(sent, next_offset)


class FencesNobody(StepPort):
    """An older owner can still commit."""

    async def fence(self) -> None:
        await self.turn("fence")
        self.inner._epoch = self.inner._log.epochs[self.inner._spec.name, self.partition]


class CommitsInTwoTransactions(StepPort):
    """The outputs first, then what says that they went out."""

    async def commit(self, packed: Sequence[Output], next_offset: int) -> dict[str, int]:
        first = [each for each in packed if each.topic == pipeline.UNIQUE]
        if first:
            await self.inner.commit(first, await self.inner.committed() or 0)
        others = [each for each in packed if each.topic != pipeline.UNIQUE]
        return await super().commit(others, next_offset)


FLAWS: list[type[Worker] | type[StepPort]] = [
    WritesBeforeTheCommit, RestoresBeforeTheFence, ForgetsItsState, TrustsAnyDisk, SkipsRetries,
    ForgetsTooEarly,
    CommitsWithoutASend, FencesNobody, CommitsInTwoTransactions,
]  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_the_model_finds_a_flaw(flaw: Any) -> None:
    """An engine that breaks its promise in one way is caught."""

    class Flawed(EngineMachine):
        worker_class = flaw if issubclass(flaw, Worker) else Worker
        port_class = flaw if issubclass(flaw, StepPort) else StepPort

    with pytest.raises(AssertionError):
        explore(Flawed, examples=20_000, steps=40, phases=[Phase.generate], database=None,
                report_multiple_bugs=False)  # fmt: skip
