"""Sends dead letters again, or discards them: each at most once, whoever is killed meanwhile.

The order of the steps is what makes it so. **Fence**: one transactional id for everybody, so that
whoever was at it before can commit no more. **Read the decisions**: nothing of them is open now.
**Select and send**: each record goes in one transaction with the decision about its letter. A
commit whose outcome is unknown begins again at the fence, and the decisions say which way it went.

It knows no aiokafka: `Port` is all it wants of Kafka, as with the stage engine.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Protocol

import msgspec

from hookmill.core.errors import HookmillError
from hookmill.core.record import Output, Record
from hookmill.core.times import from_epoch_us
from hookmill.kafka.safely import to_the_end
from hookmill.pipeline import DECISIONS
from hookmill.stages.letters import (
    Decision,
    Decisions,
    Letter,
    Place,
    Selection,
    Word,
    batches,
    may_be,
    sent_again,
    spans,
)

RECORDS_MAX = 500
BYTES_MAX = 4 * 1024 * 1024
TURNS_PER_SEC = 10
"""With a rate, records go in so many transactions a second."""
ATTEMPTS_MAX = 5


class Overtaken(HookmillError):
    """Another `hookmill dlq` has begun meanwhile; the message says how far this one came."""


class Fenced(Exception):
    """A newer owner of the transactional id is there: nothing can be committed any more."""


class Source(Protocol):
    """Reads topics, which are named without the namespace."""

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and next stable offset of each partition; empty if there is no such topic."""

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """The committed records of those offset ranges, in order within each partition."""


class Port(Source, Protocol):
    """What a redrive wants of Kafka. Every call has a time limit.

    Any exception but `Fenced` means doubt; it then begins again with `fence`.
    """

    async def fence(self) -> None:
        """Make sure that nobody who was here before can commit any more."""

    async def commit(self, outputs: Sequence[Output], partition: int) -> None:
        """Write the outputs to that partition number in one transaction; raises Fenced."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: to which letters, at most how many, and why.

    `sent_again_to` are the dead-letter topics in flow order, each with where its letters go.
    `rate_per_sec` 0 is as fast as it goes.
    """

    word: Word
    selection: Selection
    sent_again_to: Mapping[str, str]
    count_max: int | None = None
    rate_per_sec: int = 0
    why: str | None = None
    by: str | None = None


class Watcher(Protocol):
    """Is told how far it is."""

    def begins(self, offsets: int) -> None:
        """So many offsets lie before it."""

    def passed(self, offsets: int) -> None:
        """So many more of them are behind it."""

    def settled(self, count: int) -> None:
        """So many more letters are decided, or events sent."""


def at_once(rate_per_sec: int) -> int:
    """How many records go in one transaction at that rate; 0 is as fast as it goes."""
    return max(1, min(RECORDS_MAX, rate_per_sec // TURNS_PER_SEC)) if rate_per_sec else RECORDS_MAX


async def read_decisions(source: Source) -> Decisions:
    """Everything decided until now. Raises HookmillError for a record that is no decision."""
    decisions = Decisions()
    bounds = await source.bounds(DECISIONS)
    async for records in source.read(DECISIONS, bounds):
        for record in records:
            try:
                decisions.add(record.key, record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise HookmillError(
                    f"{record.topic} {record.partition}:{record.offset} is no decision that this "
                    f"version can read ({error}); without it a letter could be sent twice"
                ) from None
    return decisions


async def selected(
    source: Source, selection: Selection, topics: Iterable[str], watcher: Watcher
) -> AsyncGenerator[list[Letter], None]:
    """The letters meant, topic by topic and partition by partition, in their order.

    All there are now and none that come later: a letter that fails again would otherwise go round
    for ever. They come in pieces, so that a topic of any size can be read.
    """
    found = [
        span
        for topic in topics
        if selection.takes_topic(topic)
        for span in spans(selection, topic, await source.bounds(topic))
    ]
    watcher.begins(sum(span.end - span.start for span in found))
    for span in found:
        at = span.start
        async for records in source.read(span.topic, {span.partition: (span.start, span.end)}):
            letters = [Letter(Place(span.topic, each.partition, each.offset), each)
                       for each in records]  # fmt: skip
            yield [letter for letter in letters if selection.takes(letter)]
            behind = records[-1].offset + 1 if records else at
            watcher.passed(behind - at)
            at = behind
        watcher.passed(span.end - at)


class Redrive:
    """One order, carried out once. `done` counts its letters by topic, also when it fails."""

    def __init__(
        self,
        port: Port,
        order: Order,
        *,
        now_us: Callable[[], int],
        pause: Callable[[float], Awaitable[None]],
        watcher: Watcher,
    ) -> None:
        self.done = Counter[str]()
        self._port = port
        self._order = order
        self._now_us = now_us
        self._pause = pause
        self._watcher = watcher
        self._decisions = Decisions()
        self._wait_secs = 0.0

    async def run(self) -> None:
        """Do it. Raises Overtaken; after any exception it can be run again."""
        try:
            await self._begin()
            await self._forget()
            await self._work_off()
        except Fenced:
            raise Overtaken(
                f"another `hookmill dlq` has begun meanwhile, or this one stood still for too "
                f"long: {self.done.total()} letters were {self._order.word}, none of them twice; "
                "`hookmill dlq list` shows what is left"
            ) from None

    async def _begin(self) -> None:
        await self._port.fence()
        self._decisions = await read_decisions(self._port)

    async def _forget(self) -> None:
        """Delete what was decided of letters that are gone: compaction would keep it for ever."""
        for topic in self._order.sent_again_to:
            for partition, (begin, _) in (await self._port.bounds(topic)).items():
                gone = self._decisions.before(topic, partition, begin)
                for keys in (gone[i : i + RECORDS_MAX] for i in range(0, len(gone), RECORDS_MAX)):
                    outputs = [Output(DECISIONS, key, None) for key in keys]
                    await self._port.commit(outputs, partition)

    async def _work_off(self) -> None:
        order = self._order
        count = at_once(order.rate_per_sec)
        letters = selected(self._port, order.selection, order.sent_again_to, self._watcher)
        async with contextlib.aclosing(letters) as pieces:
            async for piece in pieces:
                open_ones = [letter for letter in piece if self._may_be(letter)]
                for batch in batches(open_ones, records_max=count, bytes_max=BYTES_MAX):
                    await self._settle(batch[: self._left()])
                    if self._left() == 0:
                        return

    async def _settle(self, batch: Sequence[Letter]) -> None:
        """Commit the batch, or find out that it is committed; raises what stands in the way."""
        ours = {letter.place: self._decision(letter) for letter in batch}
        await self._pause(self._wait_secs)
        try:
            await self._until_settled(batch, ours)
        finally:
            mine = [each for each in batch if self._decisions.of(each) == ours[each.place]]
            self.done.update(each.place.topic for each in mine)
            self._watcher.settled(len(mine))
        self._wait_secs = len(batch) / self._order.rate_per_sec if self._order.rate_per_sec else 0.0

    async def _until_settled(self, batch: Sequence[Letter], ours: Mapping[Place, Decision]) -> None:
        for attempt in itertools.count(1):
            try:
                if attempt > 1:
                    await self._begin()
                letters = [each for each in batch if self._may_be(each)]
                await to_the_end(self._commit(letters, ours))
                return
            except Fenced:
                raise
            except Exception:  # whatever it is: the fence and the decisions tell what became of it
                if attempt == ATTEMPTS_MAX:
                    raise
                await self._pause(2.0 ** (attempt - 1))

    async def _commit(self, letters: Sequence[Letter], ours: Mapping[Place, Decision]) -> None:
        if not letters:
            return
        outputs = [
            Output(DECISIONS, each.place.key, msgspec.json.encode(ours[each.place]))
            for each in letters
        ]
        if self._order.word == "redriven":
            outputs += [
                sent_again(each, self._order.sent_again_to[each.place.topic]) for each in letters
            ]
        await self._port.commit(outputs, letters[0].place.partition)
        for each in letters:
            self._decisions.put(each.place, ours[each.place])

    def _may_be(self, letter: Letter) -> bool:
        decided = self._decisions.of(letter)
        return may_be(self._order.word, letter, decided, self._order.selection)

    def _decision(self, letter: Letter) -> Decision:
        at = from_epoch_us(self._now_us())
        assert at is not None
        order = self._order
        return Decision(order.word, at, letter.record.timestamp_ms, why=order.why, by=order.by)

    def _left(self) -> int | None:
        most = self._order.count_max
        return None if most is None else max(0, most - self.done.total())
