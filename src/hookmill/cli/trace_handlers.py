"""What became of an event at a handler: failed, waiting, parked, set aside or handled.

Each record of its queue and its retry topics is a step. What is between those is in the group's
position and in the handler's state, which are read before the topics: so whatever happens
meanwhile, an event is said to be handled only if it is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from hookmill.cli.kept_view import KeptView, ParkedEvent, retry_delays_secs
from hookmill.cli.setup import Setup
from hookmill.cli.trace_steps import (
    Step,
    clock,
    note,
    same_delivery,
    sent_again,
    set_aside,
    step,
)
from hookmill.core.record import Record
from hookmill.handlers.handling import attempts_of, not_before_ms_of
from hookmill.handlers.kept import Kept
from hookmill.kafka.reader import Reader
from hookmill.pipeline import HandlerTopics
from hookmill.stages import headers


class Standing(msgspec.Struct, frozen=True):
    """Where a handler stands on one partition: the group's next offsets by topic, what its state
    keeps, the events parked in it in their order, and whether any are held up at all. Topics
    without the namespace."""

    committed: Mapping[str, int]
    kept: Kept
    parked: Sequence[ParkedEvent]
    ordered: bool = True

    def is_done(self, topic: str, offset: int) -> bool:
        """Whether the handler is done with that record, as far as that topic goes."""
        settled = self.kept.settled.get(topic, ())
        return offset < self.committed.get(topic, 0) or offset in settled


class Told(msgspec.Struct, frozen=True):
    """A handler's records of one event, each topic's in order. Topics without the namespace."""

    queue: Sequence[Record]
    retries: Sequence[tuple[str, Record]]
    dead_letters: Sequence[Record]


class HandlerTracer:
    """Tells the stories of events at the handlers. `there` are the topics that the cluster has."""

    def __init__(self, setup: Setup, source: Reader, there: Collection[str], now_ms: int) -> None:
        self._setup = setup
        self._source = source
        self._there = there
        self._now_ms = now_ms
        self._views: dict[str, KeptView] = {}

    async def steps(self, its: HandlerTopics, first: Record, queue: Sequence[Record]) -> list[Step]:
        """The handler's steps with the event that came first in `first` and lies in the handler's
        queue in these records; the first of those is shown already."""
        standing = await self._standing(its, first.partition)
        told = Told(queue, await self._retries(its, first), await self.letters(its, first))
        group = self._setup.names.group(its.part)
        return story(its, group, first, told, standing, self._now_ms)

    async def _standing(self, its: HandlerTopics, partition: int) -> Standing:
        names = self._setup.names
        offsets = await self._source.committed(names.group(its.part))
        here = {topic: at for (topic, number), at in offsets.items() if number == partition}
        committed = {plain: at for topic, at in here.items()
                     if at >= 0 and (plain := names.plain(topic))}  # fmt: skip
        view = self._views.get(its.handler)
        if view is None:
            view = self._views[its.handler] = KeptView(self._source, names.topic(its.state))
        if names.topic(its.state) in self._there:
            await view.read_on(partition)
        ordered = self._setup.config.handlers[its.handler].ordered
        positions = {**view.positions(partition, its.queue), **committed}
        return Standing(positions, view.kept(partition), view.parked(partition), ordered)

    async def _retries(self, its: HandlerTopics, first: Record) -> list[tuple[str, Record]]:
        delays_secs = retry_delays_secs(self._setup, its, self._there)
        return [(its.retry(delay), record) for delay in delays_secs
                for record in await self._found(its.retry(delay), first)]  # fmt: skip

    async def letters(self, its: HandlerTopics, first: Record) -> list[Record]:
        """The event's dead letters of that handler."""
        return await self._found(its.dead_letters, first)

    async def _found(self, topic: str, first: Record) -> list[Record]:
        name = self._setup.names.topic(topic)
        if name not in self._there:
            return []
        return [record async for record in same_delivery(self._source, name, first)]


def story(
    its: HandlerTopics, group: str, first: Record, told: Told, standing: Standing, now_ms: int
) -> list[Step]:
    """The steps after the event first lay in the queue, in the order of time. Pure.

    A dead letter that was sent again lies in the queue once more, and its story begins anew.
    """
    steps: list[Step] = []
    for number, queued in enumerate(told.queue):
        if number:
            steps.append(step(first, queued, sent_again(queued)))
        retries = sorted(
            (each for each in told.retries if _origin(each[1]) == queued.offset),
            key=lambda each: (each[1].timestamp_ms, not_before_ms_of(each[1])),
        )
        steps += [step(first, record, text) for record, text in _failures(retries, now_ms)]
        aside = [each for each in told.dead_letters if _origin(each) == queued.offset]
        steps += [step(first, each, set_aside(each)) for each in aside]
        if not aside:
            steps.append(note(queued, group, _now(its, queued, retries, standing, now_ms)))
    return steps


def _failures(retries: Iterable[tuple[str, Record]], now_ms: int) -> Iterable[tuple[Record, str]]:
    """What each record of a retry topic tells; one that only waits on is no failure."""
    before = 0
    for _, record in retries:
        again = clock(not_before_ms_of(record), now_ms)
        attempts = attempts_of(record)
        if attempts == before:
            yield record, f"waits on, again at {again}"
        else:
            reason = record.header(headers.ERROR_REASON)
            yield record, f"failed: {reason} (attempt {attempts}), again at {again}"
        before = attempts


def _now(
    its: HandlerTopics,
    queued: Record,
    retries: Sequence[tuple[str, Record]],
    standing: Standing,
    now_ms: int,
) -> str:
    """How it stands with an event that was not set aside."""
    if retries:
        topic, last = retries[-1]
        attempt = attempts_of(last) + 1
        if standing.is_done(topic, last.offset):
            return f"handled by {its.handler} (attempt {attempt})"
        due_ms = not_before_ms_of(last)
        when = "until" if due_ms > now_ms else "since"
        waits = "for" if due_ms > now_ms else "due for"
        return f"waits in {topic} {waits} attempt {attempt} {when} {clock(due_ms, now_ms)}"
    if any(each.offset == queued.offset for each in standing.parked):
        return f"parked behind {_ahead(queued, standing)}"
    if standing.is_done(its.queue, queued.offset):
        return f"handled by {its.handler}"
    if standing.ordered and standing.kept.waiting.get(queued.key):
        return f"waits for {its.handler}, behind {_ahead(queued, standing)}"
    return f"waits for {its.handler}"


def _ahead(queued: Record, standing: Standing) -> str:
    """What holds up an event: one of its subject that waits for a retry, or that is parked too."""
    waiting = standing.kept.waiting.get(queued.key)
    if waiting:
        return f"event {min(waiting, key=lambda each: waiting[each].at_ms)}"
    earlier = [each for each in standing.parked
               if each.subject == queued.key and each.offset < queued.offset]  # fmt: skip
    return f"event {earlier[0].event_id}" if earlier else "no other any more: it is next"


def _origin(record: Record) -> int:
    """The offset in the queue of the record that failed."""
    return int(record.header(headers.ERROR_OFFSET) or -1)
