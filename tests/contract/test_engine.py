"""The stage engine on a log: the in-memory one and a real Apache Kafka pass the same tests."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced

from hookmill import pipeline
from hookmill.core.outcome import Forward, Outcome, Retry
from hookmill.core.record import Output, Record
from hookmill.kafka.store import RocksStore
from hookmill.kafka.worker import ASKED_AGAIN_MAX, Worker
from hookmill.stages import headers
from hookmill.stages.dedup import Dedup, Sighting
from support.brokers import BrokerLog
from support.memory_log import Exhausted, Fenced, MemoryLog

DAY_SECS = 86_400


class Silent:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self._added: list[tuple[str, Any]] = []

    def tally(self) -> "Silent":
        self._added = []
        return self

    def add(self, decided: Sequence[tuple[Record, Outcome]]) -> None:
        self._added += [(type(outcome).__name__, record.offset) for record, outcome in decided]

    def committed(self, seconds: float) -> None:
        self.told += [("committed", None), *self._added]

    def not_committed(self) -> None:
        self.told.append(("not committed", None))

    def retried(self, reason: str) -> None:
        self.told.append(("retried", reason))

    def restoring(self, left: int, read: int) -> None:
        self.told.append(("restoring", read))

    def restored(self, records: int, *, rebuilt: bool) -> None:
        self.told.append(("rebuilt" if rebuilt else "restored", records))

    def offset_from_changelog(self, offset: int) -> None:
        self.told.append(("offset from changelog", offset))


class Engine:
    """One owner of a partition after another, over the same log."""

    def __init__(self, log: Any, folder: Path) -> None:
        self.log = log
        self.folder = folder
        self.stage: Any = Dedup({"shop": DAY_SECS}, default_window_secs=DAY_SECS, to="unique")
        self.stage._to = pipeline.UNIQUE
        self.spec = pipeline.DEDUP

    async def own(self, *, store: str = "store") -> tuple[Worker, Any, Silent]:
        """A new owner, with its port and its watcher."""
        port = await self.log.port(self.spec, 0)
        watcher = Silent()

        async def no_pause(attempt: int) -> None:
            assert attempt < 100

        worker = Worker(
            self.stage,
            self.spec,
            port,
            RocksStore(self.folder / store),
            watcher=watcher,
            pause=no_pause,
            now_us=lambda: 1,
            value_bytes_max=lambda topic: 100_000,
        )
        return worker, port, watcher

    async def run(self, *, store: str = "store") -> Silent:
        """A new owner works to the end of the input."""
        worker, _, watcher = await self.own(store=store)
        with pytest.raises(Exhausted):
            await worker.run()
        await worker.close()
        return watcher

    async def feed(self, *ids: str) -> None:
        """Raw records with those event ids."""
        for each in ids:
            key = f"shop|{each}".encode()
            await self.log.produce(pipeline.RAW, 0, key, b"{}", identity(each))

    async def unique(self) -> list[str]:
        """The event ids that were forwarded, in order."""
        records = await self.log.read(pipeline.UNIQUE, 0)
        return [record.header(headers.EVENT_ID) for record in records]


def identity(event_id: str) -> tuple[tuple[str, bytes], ...]:
    """The headers that dedup reads."""
    return (
        (headers.ENDPOINT, b"shop"),
        (headers.EVENT_ID, event_id.encode()),
        (headers.EVENT_TYPE, b"t"),
    )


DEDUP_TOPICS = [
    pipeline.Topic(name, "test", pipeline.KEEP_MS, 1_300_000)
    for name in (pipeline.RAW, pipeline.UNIQUE, pipeline.SEEN, pipeline.DEDUP.dead_letters)
]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.broker)])
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path, namespace: str
) -> AsyncIterator[Engine]:
    """The engine on each log."""
    if request.param == "memory":
        yield Engine(MemoryLog(), tmp_path)
        return
    log = BrokerLog(request.getfixturevalue("broker_servers"), namespace)
    await log.start(DEDUP_TOPICS)
    yield Engine(log, tmp_path)
    await log.stop()


async def test_forwards_each_event_once_in_order(engine: Engine) -> None:
    """Duplicates within and across batches are dropped; order stays."""
    await engine.feed("a", "b", "a", "c")
    await engine.run()
    await engine.feed("c", "d", "b")
    await engine.run()

    assert await engine.unique() == ["a", "b", "c", "d"]


async def test_a_new_owner_with_an_empty_disk_knows_everything(engine: Engine) -> None:
    """State comes back from the changelog: losing the disk costs only a restore."""
    await engine.feed("a", "b")
    await engine.run(store="first")
    await engine.feed("a", "b", "c")
    watcher = await engine.run(store="second")

    assert await engine.unique() == ["a", "b", "c"]
    assert ("restored", 3) in watcher.told


async def test_an_owner_with_its_disk_reads_on_from_its_bookmark(engine: Engine) -> None:
    """Only the last mark is read again, not the whole changelog."""
    await engine.feed(*(f"e{number}" for number in range(50)))
    await engine.run()
    watcher = await engine.run()

    assert ("restored", 1) in watcher.told


async def test_an_older_owner_can_commit_no_more(engine: Engine) -> None:
    """A zombie that was fenced changes nothing, whatever it still believes."""
    await engine.feed("a")
    zombie, _, _ = await engine.own(store="zombie")
    await zombie._port.fence()
    await engine.run(store="owner")
    zombie._port.seek(0)
    records = await zombie._port.fetch(records_max=10, timeout_secs=5.0)
    with pytest.raises((Fenced, ProducerFenced)):
        await zombie._process(records)
    await zombie.close()

    assert await engine.unique() == ["a"]


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
async def test_a_crash_around_the_commit_loses_and_doubles_nothing(
    engine: Engine, moment: str
) -> None:
    """Before it nothing happened; after it everything did, though the store was not written."""
    await engine.feed("a", "b", "a")
    worker, port, _ = await engine.own()

    def crash() -> None:
        raise ConnectionError("killed")

    setattr(port, moment, crash)
    with pytest.raises(ConnectionError):
        await worker.run()
    await worker.close()
    await engine.feed("b", "c")
    await engine.run()

    assert await engine.unique() == ["a", "b", "c"]


async def test_a_record_without_identity_is_set_aside(engine: Engine) -> None:
    """It goes to the dead letters with its reason; the partition goes on."""
    await engine.log.produce(pipeline.RAW, 0, b"k", b"v", (("hm-endpoint", b"shop"),))
    await engine.feed("a")
    await engine.run()

    letters = await engine.log.read(pipeline.DEDUP.dead_letters, 0)
    assert [letter.header(headers.ERROR_REASON) for letter in letters] == ["no_identity"]
    assert letters[0].header(headers.ERROR_OFFSET) == "0"
    assert (letters[0].key, letters[0].value) == (b"k", b"v")
    assert await engine.unique() == ["a"]


async def test_a_stage_that_raises_sets_the_record_aside(engine: Engine) -> None:
    """A defect for one record stops nothing."""

    class Poisoned(Dedup):
        def decide(self, tasks: Sequence[Sighting], state: Any) -> list[Outcome]:
            if any(task.key and b"poison" in task.key for task in tasks):
                raise ValueError("cannot be")
            return super().decide(tasks, state)

    engine.stage = Poisoned({}, default_window_secs=DAY_SECS, to=pipeline.UNIQUE)
    await engine.feed("a", "poison", "b")
    await engine.run()

    letters = await engine.log.read(pipeline.DEDUP.dead_letters, 0)
    assert [letter.header(headers.ERROR_DETAIL) for letter in letters] == ["ValueError: cannot be"]
    assert await engine.unique() == ["a", "b"]


async def test_a_retry_never_skips(engine: Engine) -> None:
    """What comes before it is committed; it is tried again in place, then all goes on."""

    class Hesitant(Dedup):
        refusals = 3

        def decide(self, tasks: Sequence[Sighting], state: Any) -> list[Outcome]:
            outcomes = super().decide(tasks, state)
            for place, task in enumerate(tasks):
                if task.key and b"|later|" in task.key and self.refusals:
                    self.refusals -= 1
                    outcomes[place] = Retry("not yet")
            return outcomes

    engine.stage = Hesitant({}, default_window_secs=DAY_SECS, to=pipeline.UNIQUE)
    await engine.feed("a", "later", "b")
    watcher = await engine.run()

    assert await engine.unique() == ["a", "later", "b"]
    assert watcher.told.count(("retried", "not yet")) == 3


async def test_an_output_that_no_topic_takes_is_set_aside(engine: Engine) -> None:
    """An oversized output must not stop the partition for ever."""
    huge = b"x" * 100_001
    await engine.log.produce(pipeline.RAW, 0, b"k", huge, identity("huge"))
    await engine.feed("a")
    await engine.run()

    letters = await engine.log.read(pipeline.DEDUP.dead_letters, 0)
    assert [letter.header(headers.ERROR_REASON) for letter in letters] == ["output_too_large"]
    assert await engine.unique() == ["a"]


async def each_once_of_twenty_pairs(engine: Engine) -> Silent:
    """Twenty events come twice; whatever the size of a transaction each goes on once, in order."""
    names = [f"e{number}" for number in range(20)]
    await engine.feed(*names, *names)
    watcher = await engine.run()

    assert await engine.unique() == names
    return watcher


async def test_large_batches_are_split_into_several_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction holds at most so many bytes; nothing is lost at the seams."""
    monkeypatch.setattr("hookmill.kafka.worker.BYTES_MAX", 500)
    watcher = await each_once_of_twenty_pairs(engine)

    assert watcher.told.count(("committed", None)) > 2


async def test_what_has_come_goes_out_in_few_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few records are decided at a time: those of one transaction see each other."""
    monkeypatch.setattr("hookmill.kafka.worker.CHUNK_RECORDS", 3)
    watcher = await each_once_of_twenty_pairs(engine)

    assert watcher.told.count(("Duplicate", 20)) == 1
    assert watcher.told.count(("committed", None)) < 10


async def test_random_crashes_lose_and_double_nothing(engine: Engine) -> None:
    """Many owners, each crashing somewhere around a commit, some with a lost disk."""
    chance = random.Random(7)
    fed: list[str] = []
    for turn in range(12):
        ids = [f"e{chance.randrange(40)}" for _ in range(chance.randrange(1, 12))]
        fed += ids
        await engine.feed(*ids)
        worker, port, _ = await engine.own(store=chance.choice(["one", "two", f"new{turn}"]))
        moment = chance.choice(["before_commit", "after_commit", "never"])
        setattr(port, moment, _crash_at(chance.randrange(1, 3)))
        with pytest.raises((Exhausted, ConnectionError)):
            await worker.run()
        await worker.close()
    await engine.run(store="last")

    assert await engine.unique() == list(dict.fromkeys(fed))


def _crash_at(call: int) -> Callable[[], None]:
    left = call

    def crash() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise ConnectionError("killed")

    return crash


async def test_the_changelog_serves_when_the_groups_offset_is_gone(tmp_path: Path) -> None:
    """The next input offset is in the changelog too: nothing is read again from the start."""
    engine = Engine(MemoryLog(), tmp_path)
    await engine.feed("a", "b")
    await engine.run()
    await engine.log.forget_offsets(pipeline.DEDUP, 0)
    await engine.feed("c")
    watcher = await engine.run(store="another")

    assert ("offset from changelog", 2) in watcher.told
    assert await engine.unique() == ["a", "b", "c"]


async def test_an_offset_that_was_committed_without_its_outputs_is_not_believed(
    tmp_path: Path,
) -> None:
    """A coordinator back from a crash can commit it alone; the changelog tells what went out."""
    engine = Engine(MemoryLog(), tmp_path)
    await engine.feed("a", "b")
    await engine.run()
    await engine.feed("c", "d")
    engine.log.offsets[pipeline.DEDUP.name, 0] = 4
    watcher = await engine.run()

    assert ("offset from changelog", 2) in watcher.told
    assert await engine.unique() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("answers", "begins_at"),
    [([1, 1, 2], 2), ([1] * (1 + ASKED_AGAIN_MAX), 1)],
    ids=["its coordinator has just come back", "it was set back by hand"],
)
async def test_an_offset_that_is_behind_is_asked_for_again(
    tmp_path: Path, answers: list[int], begins_at: int
) -> None:
    """A coordinator that comes back answers with an older one for a while, and a stage without
    state would write all that lies between once more."""
    engine = Engine(MemoryLog(), tmp_path)
    await engine.feed("a", "b")
    await engine.run()
    await engine.feed("c")
    worker, port, _ = await engine.own()
    sought: list[int] = []
    seek = port.seek

    async def committed() -> int:
        return answers.pop(0)

    def seeking(offset: int) -> None:
        sought.append(offset)
        seek(offset)

    port.committed, port.seek = committed, seeking
    with pytest.raises(Exhausted):
        await worker.run()
    await worker.close()

    assert (sought, answers) == ([begins_at], [])
    assert await engine.unique() == ["a", "b", "c"]


async def test_a_changelog_made_anew_makes_the_store_be_rebuilt(tmp_path: Path) -> None:
    """A store that knows another changelog's keys would drop events that never went out."""
    old = Engine(MemoryLog(), tmp_path)
    await old.feed("a", "b", "c")
    await old.run()
    new = Engine(MemoryLog(), tmp_path)
    await new.feed("a", "x", "y")
    await new.run(store="elsewhere")
    await new.feed("b")
    watcher = await new.run()

    assert ("rebuilt", 4) in watcher.told
    assert await new.unique() == ["a", "x", "y", "b"]


async def test_a_store_without_a_bookmark_is_nobodys(tmp_path: Path) -> None:
    """Its bookmark is of another format, its keys are another changelog's: none of them counts."""
    old = Engine(MemoryLog(), tmp_path)
    await old.feed("a", "b")
    await old.run()
    store = RocksStore(tmp_path / "store")
    store._db.put(b"\x00bookmark", b"of another format")
    store.close()
    new = Engine(MemoryLog(), tmp_path)
    await new.feed("a", "b", "c")
    await new.run()

    assert await new.unique() == ["a", "b", "c"]


async def test_an_offset_outside_the_log_stops_with_an_alarm(tmp_path: Path) -> None:
    """Never jump over what was deleted unread."""
    engine = Engine(MemoryLog(), tmp_path)
    await engine.feed("a", "b")
    await engine.run()
    engine.log.topics.pop((pipeline.RAW, 0))
    worker, _, _ = await engine.own()
    with pytest.raises(Exception, match="outside the log"):
        await worker.run()
    await worker.close()


async def test_a_worker_that_is_cancelled_while_its_commit_fails_ends(tmp_path: Path) -> None:
    """The failed commit must not swallow the cancellation, or the member would never end."""
    engine = Engine(MemoryLog(), tmp_path)
    await engine.feed("a")
    worker, port, _ = await engine.own()
    committing, failing = asyncio.Event(), asyncio.Event()

    async def commit(outputs: Any, next_offset: int) -> dict[str, int]:
        committing.set()
        await failing.wait()
        raise TimeoutError

    port.commit = commit
    task = asyncio.ensure_future(worker.run())
    await committing.wait()
    task.cancel()
    failing.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await worker.close()


async def test_a_stage_without_state_keeps_its_position_in_its_changelog(tmp_path: Path) -> None:
    """Kafka forgets the offset of a group that stood still for a week; route must not repeat."""
    engine = Engine(MemoryLog(), tmp_path)

    class Copy:
        name = "route"
        forgets = None

        def read(self, records: Sequence[Record]) -> list[Sighting]:
            return [Sighting(record) for record in records]

        def decide(self, tasks: Sequence[Sighting], state: Any) -> list[Outcome]:
            return [Forward((Output("events-other", task.record.key, b"{}"),)) for task in tasks]

    engine.stage, engine.spec = Copy(), pipeline.ROUTE
    await engine.log.produce(pipeline.NORMALIZED, 0, b"k", b"{}")
    await engine.run()
    await engine.log.forget_offsets(pipeline.ROUTE, 0)
    await engine.run(store="another")

    assert len(await engine.log.read("events-other", 0)) == 1
