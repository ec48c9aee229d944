"""`hookmill lag`: how far each group is behind, in records and in seconds, and what waits."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.live import Live

from hookmill import pipeline
from hookmill.cli.kept_view import KeptView, positions_in, retry_delays_secs
from hookmill.cli.lag_figures import (
    COLUMNS,
    Ahead,
    Delays,
    GroupLag,
    HandlerState,
    group_lag,
    rows,
)
from hookmill.cli.output import print_json, print_table, table
from hookmill.cli.progress import reading
from hookmill.cli.setup import Setup, now_us
from hookmill.core.errors import ConfigurationError
from hookmill.core.times import from_epoch_us
from hookmill.kafka.reader import Reader, reader
from hookmill.kafka.topics import admin, check_present

WATCH_SECS = 2.0
COUNTED_OFFSETS_MAX = 500
"""So many offsets of a partition are read and counted; more are counted by their offsets."""


class Group(msgspec.Struct, frozen=True):
    """A consumer group of the configuration, topics without the namespace; `its` of handlers."""

    part: str
    reads: str
    changelog: str
    its: pipeline.HandlerTopics | None = None


async def run(
    setup: Setup, wanted: Sequence[str], *, partitions: bool, watch: bool, as_json: bool
) -> None:
    """Print the lag of the groups named, or of all; with `watch` again and again.

    Raises ConfigurationError for a name that no group has.
    """
    chosen = choose(groups(setup), wanted, setup.names)
    async with admin(setup.connection()) as client:
        there = await client.names()
    check_present((setup.names.topic(each.reads) for each in chosen), there)
    async with reader(setup.connection()) as source:
        meter = _Meter(setup, source, there, partitions=partitions)
        if not watch:
            _print(await meter.measure(chosen), partitions=partitions, as_json=as_json)
            return
        await _watch(_rounds(meter, chosen), partitions=partitions, as_json=as_json)


async def measured(setup: Setup) -> list[GroupLag]:
    """The lag of every group now."""
    async with admin(setup.connection()) as client:
        there = await client.names()
    chosen = groups(setup)
    check_present((setup.names.topic(each.reads) for each in chosen), there)
    async with reader(setup.connection()) as source:
        return await _Meter(setup, source, there, partitions=False).measure(chosen)


def groups(setup: Setup) -> list[Group]:
    """Every group of the configuration in flow order."""
    stages = [Group(each.name, each.reads, each.changelog) for each in pipeline.STAGES.values()]
    topics = [pipeline.HandlerTopics(name) for name in setup.config.handlers]
    return stages + [Group(its.part, its.queue, its.state, its) for its in topics]


def choose(known: Sequence[Group], wanted: Sequence[str], names: pipeline.Names) -> list[Group]:
    """The groups of those names: a stage's, a handler's, or the group's own; all for none.

    Raises ConfigurationError for a name that fits none.
    """
    called = {
        each.part: {each.part, each.its.handler if each.its else each.part, names.group(each.part)}
        for each in known
    }
    for name in wanted:
        if not any(name in several for several in called.values()):
            raise ConfigurationError(f"no group is called '{name}'; there are: {', '.join(called)}")
    return [each for each in known if not wanted or called[each.part] & set(wanted)]


async def unread(
    source: Reader,
    names: pipeline.Names,
    group: Group,
    committed: Mapping[tuple[str, int], int],
    there: Collection[str],
) -> dict[int, tuple[int, int]]:
    """What lies before the group: offsets of each partition of the topic that it reads.

    Where its own position is gone, the changelog's serves; `there` are the topics of the cluster.
    """
    topic, changelog = names.topic(group.reads), names.topic(group.changelog)
    bounds = await source.bounds(topic)
    starts = {each: at for each in bounds if (at := committed.get((topic, each), -1)) >= 0}
    lost = [each for each, (begin, end) in bounds.items() if each not in starts and begin < end]
    if lost and changelog in there:
        starts |= await positions_in(source, changelog, lost)
    return {
        each: (max(begin, starts.get(each, begin)), end) for each, (begin, end) in bounds.items()
    }


async def ahead(
    source: Reader,
    topic: str,
    spans: Mapping[int, tuple[int, int]],
    done: Mapping[int, Collection[int]],
    *,
    counted_max: int = COUNTED_OFFSETS_MAX,
) -> list[Ahead]:
    """What lies in each partition's span of offsets, except those that are done.

    Markers of transactions have offsets too, so only reading tells whether there is a record, and
    how old the first is. Of a span of more than `counted_max` offsets the rest is counted by them.
    """
    counted, beyond, oldest_ms = Counter[int](), Counter[int](), dict[int, int]()
    left = {each: span for each, span in spans.items() if span[0] < span[1]}
    while left:
        heads = {each: (start, min(end, start + counted_max))
                 for each, (start, end) in left.items()}  # fmt: skip
        with reading(topic, sum(end - start for start, end in heads.values()), short=True) as read:
            async for records in source.read(topic, heads):
                read(len(records))
                for record in records:
                    if record.offset not in done.get(record.partition, ()):
                        counted[record.partition] += 1
                        oldest_ms.setdefault(record.partition, record.timestamp_ms)
        rest = {each: (heads[each][1], end) for each, (_, end) in left.items()
                if heads[each][1] < end}  # fmt: skip
        for each in rest.keys() & oldest_ms.keys():
            start, end = rest[each]
            beyond[each] = end - start - sum(start <= at < end for at in done.get(each, ()))
        left = {each: span for each, span in rest.items() if each not in oldest_ms}
    return [
        Ahead(each, start, end, counted[each] + beyond[each], each not in beyond,
              oldest_ms.get(each))
        for each, (start, end) in sorted(spans.items())
    ]  # fmt: skip


class _Meter:
    """Measures groups, one round after another; what it read of a state once it reads on from.

    In each round it asks for the position first, then for the state, then for the end: whatever
    happens meanwhile, nothing that is still to be done is missed.
    """

    def __init__(
        self, setup: Setup, source: Reader, there: Collection[str], *, partitions: bool
    ) -> None:
        self._setup = setup
        self._names = setup.names
        self._source = source
        self._there = there
        self._partitions = partitions
        self._views: dict[str, KeptView] = {}

    async def measure(self, chosen: Iterable[Group]) -> list[GroupLag]:
        """The lag of each group now."""
        return [await self._measure(each) for each in chosen]

    async def _measure(self, group: Group) -> GroupLag:
        topic, name = self._names.topic(group.reads), self._names.group(group.part)
        committed = await self._source.committed(name)
        view = None if group.its is None else await self._view(group.its)
        spans = await unread(self._source, self._names, group, committed, self._there)
        done = {} if view is None else {each: _done(view, group.reads, each) for each in spans}
        aheads = await ahead(self._source, topic, spans, done)
        now_ms = now_us() // 1000
        if view is None or group.its is None:
            return group_lag(name, topic, aheads, now_ms, partitions=self._partitions)
        states = {each: _state(view, each) for each in spans}
        delays = self._delays(group.its, states.values())
        return group_lag(name, topic, aheads, now_ms, delays=delays, states=states,
                         partitions=self._partitions)  # fmt: skip

    async def _view(self, its: pipeline.HandlerTopics) -> KeptView:
        view = self._views.get(its.handler)
        if view is None:
            view = self._views[its.handler] = KeptView(self._source, self._names.topic(its.state))
        await view.read_on()
        return view

    def _delays(self, its: pipeline.HandlerTopics, states: Iterable[HandlerState]) -> Delays:
        """Those configured, those whose topics are there, those named by an event that waits."""
        named = {its.delay_secs(each.topic) for state in states for each in state.waiting}
        delays_secs = {*retry_delays_secs(self._setup, its, self._there), *named} - {None}
        topics = {each: (its.retry(each), self._names.topic(its.retry(each)))
                  for each in delays_secs if each is not None}  # fmt: skip
        return Delays(topics, self._setup.config.handlers[its.handler].retry_delays_secs)


def _done(view: KeptView, queue: str, partition: int) -> set[int]:
    """What lies behind the position but is handled, or parked, and so counted there."""
    settled = view.kept(partition).settled.get(queue, set())
    return settled | {each.offset for each in view.parked(partition)}


def _state(view: KeptView, partition: int) -> HandlerState:
    waiting = view.kept(partition).waiting.values()
    return HandlerState(
        [each for events in waiting for each in events.values()], view.parked(partition)
    )


async def _rounds(meter: _Meter, chosen: Sequence[Group]) -> AsyncIterator[list[GroupLag]]:
    while True:
        yield await meter.measure(chosen)
        await asyncio.sleep(WATCH_SECS)


async def _watch(rounds: AsyncIterator[list[GroupLag]], *, partitions: bool, as_json: bool) -> None:
    """On a terminal one table that changes; else lines, each with its time."""
    if as_json or not sys.stdout.isatty():
        async for lags in rounds:
            _print(lags, partitions=partitions, as_json=True) if as_json else _print_lines(lags)
        return
    with Live(console=Console(highlight=False, markup=False), auto_refresh=False) as live:
        async for lags in rounds:
            title = f"{_now()}  Ctrl-C ends"
            live.update(table(*_shown(lags, partitions=partitions), title), refresh=True)


def _shown(
    lags: Sequence[GroupLag], *, partitions: bool
) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Columns and rows; without a column for partitions where none are asked for."""
    if partitions:
        return COLUMNS, list(rows(lags))
    return (*COLUMNS[:2], *COLUMNS[3:]), [(*row[:2], *row[3:]) for row in rows(lags)]


def _print(lags: Sequence[GroupLag], *, partitions: bool, as_json: bool) -> None:
    if as_json:
        print_json([msgspec.to_builtins(each) for each in lags])
    else:
        print_table(*_shown(lags, partitions=partitions))


def _print_lines(lags: Sequence[GroupLag]) -> None:
    at = _now()
    for group, where, partition, records, age, more in rows(lags):
        place = where if not partition else f"{where}:{partition}"
        print("  ".join([at, group, place, records, age, *([more] if more else [])]), flush=True)


def _now() -> str:
    return f"{(from_epoch_us(now_us()) or '')[:19]}Z"
