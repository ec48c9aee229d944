"""The figures of `hookmill lag`: what is counted, how old it is, and how it is shown."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.cli.kept_view import KeptView, ParkedEvent, UnknownFormat, positions_in
from hookmill.cli.lag import Group, ahead, choose
from hookmill.cli.lag_figures import (
    Ahead,
    Delays,
    GroupLag,
    HandlerState,
    ParkedLag,
    RetryLag,
    group_lag,
    rows,
    secs,
)
from hookmill.core.errors import ConfigurationError
from hookmill.core.record import Record
from hookmill.handlers.kept import (
    Waiting,
    encode_parked,
    parked_key,
    read_kept,
    settled_key,
    waiting_key,
)
from hookmill.kafka.changelog import MARK_KEY
from hookmill.pipeline import HandlerTopics, Names

NOW_MS = 1_795_424_400_000
TOPIC = "webhooks-raw"
LEDGER = HandlerTopics("ledger")
DELAYS = Delays(
    {each: (LEDGER.retry(each), "eu-" + LEDGER.retry(each)) for each in (30, 300)}, (30,)
)


class Source:
    """Topics in memory: what has no record at an offset is a marker, or was aborted."""

    def __init__(self, ends: Mapping[int, int], *records: Record) -> None:
        self.ends = dict(ends)
        self.records = list(records)
        self.asked = 0

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Every partition from 0."""
        return {each: (0, end) for each, end in self.ends.items()}

    async def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """One record at a time."""
        for each in self.records:
            start, end = ranges.get(each.partition, (0, 0))
            if start <= each.offset < end:
                self.asked += 1
                yield [each]


def record(
    offset: int, *, partition: int = 0, at_ms: int = 0, key: bytes = b"k", value: bytes = b"v"
) -> Record:
    """A record that was appended at that time."""
    return Record(TOPIC, partition, offset, at_ms, key, value, (("ce_id", b"hm_%d" % offset),))


def look(source: Any, spans: dict[int, tuple[int, int]], done: Any = None, **options: Any) -> Any:
    """What lies before the group."""
    return asyncio.run(ahead(source, TOPIC, spans, done or {}, **options))


def test_markers_alone_are_no_lag() -> None:
    """A group that is through has zero, though its position is not the end."""
    assert look(Source({0: 9}), {0: (7, 9), 1: (4, 4)}) == [Ahead(0, 7, 9), Ahead(1, 4, 4)]


def test_what_is_done_out_of_order_does_not_count() -> None:
    """A handler is done with some events behind its position; the oldest is the first it is not."""
    source = Source({0: 9}, record(5, at_ms=50), record(6, at_ms=60), record(7, at_ms=70))

    assert look(source, {0: (5, 9)}, {0: {5, 7}}) == [Ahead(0, 5, 9, 1, True, 60)]


@given(
    taken=st.lists(st.booleans(), max_size=30),
    done=st.sets(st.integers(0, 29)),
    counted_max=st.integers(1, 12),
    start=st.integers(0, 29),
)
def test_it_never_counts_too_few_and_zero_means_none(
    taken: list[bool], done: set[int], counted_max: int, start: int
) -> None:
    """Whatever the log looks like: exact is exact, the oldest is the oldest, none is missed."""
    end = max(start, len(taken))
    records = [record(at, at_ms=1000 + at) for at, is_record in enumerate(taken) if is_record]
    source = Source({0: end}, *records)
    [found] = look(source, {0: (start, end)}, {0: done & {each.offset for each in records}},
                   counted_max=counted_max)  # fmt: skip
    open_ones = [each for each in records if each.offset >= start and each.offset not in done]

    assert found.records >= len(open_ones)
    assert (found.records == 0) is (not open_ones)
    assert found.oldest_ms == (open_ones[0].timestamp_ms if open_ones else None)
    if found.exact:
        assert found.records == len(open_ones)
    assert found.exact or end - start > counted_max


def test_a_long_span_is_not_read_to_its_end() -> None:
    """The first offsets tell how old the oldest is; a million more would tell nothing else."""
    source = Source({0: 100}, *(record(each) for each in range(100)))
    [found] = look(source, {0: (0, 100)}, counted_max=10)

    assert (found.records, found.exact) == (100, False)
    assert source.asked == 10


def waiting(topic: str, *, at_ms: int, due_ms: int) -> Waiting:
    """An event that failed once."""
    return Waiting(topic, "http_503", 1, at_ms, due_ms)


def parked(offset: int, *, subject: bytes = b"shop|p_1", at_ms: int = 0) -> ParkedEvent:
    """A parked event."""
    return ParkedEvent(subject, offset, f"hm_{offset}", at_ms)


def ledger(
    states: dict[int, HandlerState], aheads: list[Ahead] | None = None, *, partitions: bool = False
) -> GroupLag:
    """The lag of a handler."""
    return group_lag("g", "handler-ledger", aheads or [Ahead(0, 5, 5)], NOW_MS, delays=DELAYS,
                     states=states, partitions=partitions)  # fmt: skip


def test_a_group_has_the_sum_and_the_oldest_of_its_partitions() -> None:
    """One partition that is not counted exactly makes the sum a bound."""
    aheads = [Ahead(0, 1, 9, 3, True, NOW_MS - 5_000), Ahead(1, 4, 900, 800, False, NOW_MS - 7_000)]
    found = group_lag("g", TOPIC, aheads, NOW_MS, partitions=True)

    assert (found.records, found.exact, found.age_secs) == (803, False, 7.0)
    assert (found.retries, found.parked) == ([], None)
    assert isinstance(found.partitions, list)
    assert [(each.partition, each.records, each.age_secs) for each in found.partitions] == [
        (0, 3, 5.0), (1, 800, 7.0),
    ]  # fmt: skip


def test_what_waits_is_counted_for_each_delay() -> None:
    """With the next attempt, how late it is, and how long ago the oldest failed."""
    topic = "handler-ledger-retry-30"
    states = {
        0: HandlerState([waiting(topic, at_ms=NOW_MS - 40_000, due_ms=NOW_MS - 10_000)], []),
        1: HandlerState([waiting(topic, at_ms=NOW_MS - 10_000, due_ms=NOW_MS + 20_000)], []),
    }

    assert ledger(states).retries == [
        RetryLag("eu-handler-ledger-retry-30", 30, True, 2, "2026-11-23T08:59:50.000000Z", 10, 40),
        RetryLag("eu-handler-ledger-retry-300", 300, False, 0, None, 0, 0),
    ]


def test_what_is_parked_is_counted_with_its_subjects() -> None:
    """The oldest came to the queue first."""
    states = {
        0: HandlerState([], [parked(1, at_ms=NOW_MS - 9_000), parked(4, at_ms=NOW_MS - 3_000)]),
        1: HandlerState([], [parked(2, subject=b"shop|p_2", at_ms=NOW_MS - 4_500)]),
    }

    assert ledger(states).parked == ParkedLag(3, 2, 9.0)
    assert ledger({}).parked == ParkedLag(0, 0, 0.0)


def test_a_clock_that_is_behind_the_brokers_gives_no_negative_age() -> None:
    """Two machines never agree to the millisecond."""
    found = group_lag("g", TOPIC, [Ahead(0, 0, 1, 1, True, NOW_MS + 300)], NOW_MS)

    assert found.age_secs == 0


def test_the_table_has_a_row_for_each_place_where_events_wait() -> None:
    """Zeros too; a bound is marked, and what is late or no longer configured is said."""
    topic = "handler-ledger-retry-300"
    state = HandlerState([waiting(topic, at_ms=NOW_MS - 400_000, due_ms=NOW_MS - 100_400)],
                         [parked(1, at_ms=NOW_MS - 12_340)])  # fmt: skip
    found = ledger({0: state}, [Ahead(0, 1, 901, 900, False, NOW_MS - 5_000)])

    assert rows([found]) == [
        ("g", "handler-ledger", "", "≤ 900", "5 s", ""),
        ("g", "eu-handler-ledger-retry-30", "", "0", "0 s", ""),
        ("g", "eu-handler-ledger-retry-300", "", "1", "400 s",
         "next at 08:58:19Z, overdue 100.4 s; not configured any more"),
        ("g", "parked", "", "1", "12.3 s", "of 1 subject"),
    ]  # fmt: skip


def test_of_single_partitions_empty_retries_are_left_out() -> None:
    """Twelve partitions and three delays would hide the row that matters."""
    states = {0: HandlerState([], []), 1: HandlerState([], [parked(1, at_ms=NOW_MS - 1_000)])}
    found = ledger(states, [Ahead(0, 5, 5), Ahead(1, 6, 6)], partitions=True)

    assert rows([found]) == [
        ("g", "handler-ledger", "0", "0", "0 s", ""),
        ("g", "handler-ledger", "1", "0", "0 s", ""),
        ("g", "parked", "1", "1", "1 s", "of 1 subject"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 s"), (0.04, "0 s"), (12.345, "12.3 s"), (1234567.0, "1234567 s")]
)
def test_seconds_read_as_seconds(seconds: float, text: str) -> None:
    """Never in powers of ten."""
    assert secs(seconds) == text


GROUPS = [Group("dedup", "r", "c"), Group("handler-ledger", "r", "c", LEDGER),
          Group("handler-dedup", "r", "c", HandlerTopics("dedup"))]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        ([], ["dedup", "handler-ledger", "handler-dedup"]),
        (["ledger"], ["handler-ledger"]),
        (["handler-ledger"], ["handler-ledger"]),
        (["eu-hookmill-handler-ledger", "ledger"], ["handler-ledger"]),
        (["dedup"], ["dedup", "handler-dedup"]),
    ],
)
def test_a_group_is_called_by_any_of_its_names(wanted: list[str], parts: list[str]) -> None:
    """The stage's, the handler's, or the group's own; all groups without."""
    assert [each.part for each in choose(GROUPS, wanted, Names("eu"))] == parts


def test_a_name_that_no_group_has_is_wrong_usage() -> None:
    """One right name beside it does not help."""
    with pytest.raises(ConfigurationError, match="no group is called 'gone'; there are: dedup, "):
        choose(GROUPS, ["ledger", "gone"], Names("eu"))


STATE = "handler-ledger-state"
A, B = b"shop|p_1", b"shop|with|bars"


def view_of(source: Any) -> KeptView:
    """A view that has read everything."""
    view = KeptView(source, STATE)
    asyncio.run(view.read_on())
    return view


def kept(offset: int, key: bytes, value: bytes, partition: int = 0) -> Record:
    """A record of a changelog."""
    return Record(STATE, partition, offset, 0, key, value)


def test_the_last_value_of_each_key_counts() -> None:
    """As after compaction, whether it took place or not."""
    lies = record(4, at_ms=4_000, key=B)
    wait = b'{"topic":"t","reason":"r","attempt":1,"at_ms":1,"not_before_ms":2,"v":1}'
    source = Source(
        {0: 9, 1: 3},
        kept(0, waiting_key(A, "hm_1"), wait),
        kept(1, waiting_key(B, "hm_2"), wait),
        kept(2, parked_key(B, 4), encode_parked(lies)),
        kept(3, parked_key(A, 5), encode_parked(record(5, key=A))),
        kept(4, settled_key("q", 7), b"1"),
        kept(5, MARK_KEY, b'{"incarnation":"i","next_input_offset":6,"v":1}'),
        kept(6, waiting_key(A, "hm_1"), b""),
        kept(7, parked_key(A, 5), b""),
        kept(1, parked_key(A, 9), encode_parked(record(9, key=A)), partition=1),
    )
    view = view_of(source)

    assert view.kept(0).waiting == {B: {"hm_2": Waiting("t", "r", 1, 1, 2)}}
    assert view.kept(0).settled == {"q": {7}}
    assert view.parked(0) == [ParkedEvent(B, 4, "hm_4", 4_000)]
    assert [each.offset for each in view.parked(1)] == [9]
    assert view.kept(7) == read_kept([])


CHANGES = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20)


@given(changes=CHANGES, pieces=st.lists(st.integers(0, 20), max_size=4))
def test_reading_on_gives_what_reading_at_once_gives(
    changes: list[tuple[int, bool]], pieces: list[int]
) -> None:
    """However often it looked before; and nothing is read twice."""
    records = [
        kept(at, parked_key(A, offset), encode_parked(record(offset, key=A)) if is_there else b"")
        for at, (offset, is_there) in enumerate(changes)
    ]
    source = Source({0: 0}, *records)
    view = KeptView(source, STATE)  # type: ignore[arg-type]
    for end in sorted({*(min(each, len(records)) for each in pieces), len(records)}):
        source.ends[0] = end
        asyncio.run(view.read_on())
    last = dict(changes)

    assert [each.offset for each in view.parked(0)] == sorted(at for at, there in last.items()
                                                             if there)  # fmt: skip
    assert source.asked == len(records)


def test_a_changelog_that_was_made_anew_is_read_anew() -> None:
    """What the old one kept is gone with it."""
    source = Source({0: 2}, kept(0, settled_key("q", 1), b"1"), kept(1, settled_key("q", 2), b"1"))
    view = view_of(source)
    source.ends, source.records = {0: 1}, [kept(0, settled_key("q", 9), b"1")]
    asyncio.run(view.read_on())

    assert view.kept(0).settled == {"q": {9}}


@pytest.mark.parametrize("key", [waiting_key(A, "hm_1"), parked_key(A, 1)])
def test_a_format_of_another_release_is_an_error_that_says_where(key: bytes) -> None:
    """Better no figure than a wrong one."""
    source = Source({0: 1}, kept(0, key, b'{"v":9}'))

    with pytest.raises(UnknownFormat, match=STATE):
        view_of(source).kept(0)


def test_the_last_mark_tells_where_a_group_goes_on() -> None:
    """Kafka forgets the offsets of a group that stood still for a week."""
    marks = [kept(at, MARK_KEY, b'{"incarnation":"i","next_input_offset":%d,"v":1}' % at)
             for at in (1, 3)]  # fmt: skip
    source = Source({0: 5, 1: 5}, *marks, kept(4, b"key", b"value"))

    assert asyncio.run(positions_in(source, STATE, [0, 1])) == {0: 3}  # type: ignore[arg-type]
    assert asyncio.run(positions_in(source, STATE, [1])) == {}  # type: ignore[arg-type]


def test_a_handlers_state_tells_its_positions_too() -> None:
    """Of the queue by the mark, of each retry topic by a key of its own."""
    source = Source(
        {0: 3},
        kept(0, b"position|" + LEDGER.retry(30).encode(), b"12"),
        kept(1, MARK_KEY, b'{"incarnation":"i","next_input_offset":6,"v":1}'),
    )
    view = view_of(source)

    assert view.positions(0, LEDGER.queue) == {LEDGER.queue: 6, LEDGER.retry(30): 12}
    assert view.positions(1, LEDGER.queue) == {}
