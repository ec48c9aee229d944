"""The history checker on random runs: good ones are found good, and one change is found out."""

import itertools
from collections import defaultdict
from collections.abc import Iterable

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hookmill.chaos.checker import check
from hookmill.chaos.history import (
    Attempt,
    Bounds,
    Consumer,
    Entry,
    Found,
    History,
    Link,
    Promise,
    Verdict,
)
from support.histories import NORMALIZED, RAW, UNIQUE, links

QUEUE = "queue"
KINDS = ("events-payment", "events-refund")
LINKS = links(KINDS, (QUEUE,))
READERS = {"g-dedup": RAW, "g-normalize": UNIQUE, "g-route": NORMALIZED, "g-ledger": QUEUE}
TOPICS = (RAW, UNIQUE, NORMALIZED, *KINDS, QUEUE)

FATES = ["acknowledged", "kept, not acknowledged", "not kept", "refused", "forged"]
STATUSES = {"acknowledged": 200, "refused": 401, "forged": 401}

MUST_NAME = {
    "lost": {Promise.KEPT, Promise.COMPLETE, Promise.LEDGER},
    "doubled": {Promise.ONCE, Promise.GENUINE},
    "swapped": {Promise.ORDER},
    "behind": {Promise.POSITIONS},
    "open": {Promise.SETTLED},
    "uncounted": {Promise.LEDGER},
    "counted twice": {Promise.LEDGER},
    "booked otherwise": {Promise.LEDGER},
    "never taken": {Promise.HANDLED},
    "taken too early": {Promise.ORDER},
}


class Log:
    """Topics that grow; the gaps that control records leave are drawn."""

    def __init__(self, gaps: Iterable[int]) -> None:
        self.topics: dict[str, list[Found]] = defaultdict(list)
        self.ends: dict[tuple[str, int], int] = defaultdict(int)
        self.gaps = itertools.cycle([*gaps, 0])

    def append(self, topic: str, like: Found, source: tuple[str, int] | None) -> None:
        """One record, and the control records behind it."""
        offset = self.ends[topic, like.partition]
        self.ends[topic, like.partition] = offset + 1 + next(self.gaps)
        self.topics[topic].append(replace(like, topic=topic, offset=offset, source=source))

    def run(self, link: Link, set_aside: dict[str, str]) -> None:
        """What the stage does with each record."""
        seen = set[str]()
        for record in self.topics[link.reads]:
            if set_aside.get(record.event) == link.name:
                self.append(link.dead_letters, record, (link.reads, record.offset))
            elif not link.drops_duplicates or record.event not in seen:
                seen.add(record.event)
                kind = link.writes[sum(record.event.encode()) % len(link.writes)]
                for topic in (kind, *link.every):
                    self.append(topic, record, record.source or (RAW, record.offset))


@st.composite
def sent(draw: st.DrawFn, log: Log) -> list[Attempt]:
    """What the client did: each step until it is acknowledged, some again, some given up.

    Attempts of different steps overlap; what is appended lies between an attempt's two ticks.
    """
    subjects = draw(st.lists(st.integers(0, 2), min_size=1, max_size=8))
    waiting = {
        number: draw(st.lists(st.sampled_from(FATES), min_size=1, max_size=4))
        for number in range(len(subjects))
    }
    items = {number: draw(st.sampled_from([1, 1, 1, 2])) for number in waiting}
    ticks, deliveries = itertools.count(), itertools.count()
    open_attempts: dict[int, tuple[int, str, str | None]] = {}
    attempts = []
    while any(waiting.values()) or open_attempts:
        ready = [number for number in waiting if waiting[number] or number in open_attempts]
        number = draw(st.sampled_from(ready[:3]))
        if number not in open_attempts:
            fate, delivery = waiting[number].pop(0), f"d{next(deliveries)}"
            open_attempts[number] = (next(ticks), fate, delivery)
            continue
        began, fate, delivery = open_attempts.pop(number)
        for item in range(items[number] * (fate in FATES[:2])):
            partition = subjects[number] % 2
            event = f"e{number}.{item}"
            key = f"shop|{subjects[number]}"
            record = Found(
                topic=RAW, partition=partition, offset=0, key=key, event=event, delivery=delivery
            )
            log.append(RAW, record, None)
        attempts.append(
            Attempt(
                step=f"step-{number}",
                endpoint="shop",
                began=began,
                ended=next(ticks),
                status=STATUSES.get(fate, 503),
                delivery=delivery if fate == "acknowledged" else None,
                forged=fate == "forged",
                items=items[number],
            )
        )
    return attempts


@st.composite
def taken(draw: st.DrawFn, queue: Iterable[Found]) -> list[str]:
    """What a service took: subjects one beside the other, each from where it was committed again
    and again."""
    subjects: dict[str, list[str]] = defaultdict(list)
    for record in queue:
        subjects[record.key].append(record.event)
    at = dict.fromkeys(subjects, 0)
    found = []
    while left := [key for key, events in subjects.items() if at[key] < len(events)]:
        key = draw(st.sampled_from(left))
        found.append(subjects[key][at[key]])
        at[key] += 1
        if draw(st.integers(0, 7)) == 0:
            again = draw(st.integers(0, at[key]))
            found += subjects[key][again : at[key]]
    return found


@st.composite
def good_histories(draw: st.DrawFn) -> History:
    """Whole runs in which nothing went wrong that is promised not to."""
    log = Log(draw(st.lists(st.integers(0, 2), max_size=4)))
    attempts = draw(sent(log))
    events = sorted({record.event for record in log.topics[RAW]})
    parts = st.sampled_from([None, None, None, None, "dedup", "normalize", "route", "ledger"])
    set_aside = {event: draw(parts) or "" for event in events}
    for link in LINKS:
        log.run(link, set_aside)
    for record in log.topics[QUEUE]:
        if set_aside[record.event] == "ledger":
            log.append("ledger-dlq", record, (QUEUE, record.offset))
    counted = [r.event for r in log.topics[QUEUE] if set_aside[r.event] != "ledger"]
    entries = [Entry(event, "received", "100", "EUR") for event in counted]
    ledger = Consumer(
        name="ledger",
        group="g-ledger",
        reads=QUEUE,
        dead_letters="ledger-dlq",
        counted=draw(st.permutations(counted)),
        entries=entries,
        entries_expected=draw(st.permutations(entries)),
        taken=draw(taken(r for r in log.topics[QUEUE] if set_aside[r.event] != "ledger")),
    )
    return History(
        attempts=draw(st.permutations(attempts)),
        topics=dict(log.topics),
        raw=RAW,
        links=LINKS,
        consumers=(ledger,),
        positions={
            group: {p: end for (topic, p), end in log.ends.items() if topic == reads}
            for group, reads in READERS.items()
        },
        bounds={
            topic: {part: Bounds(end, end) for (of, part), end in log.ends.items() if of == topic}
            for topic in {topic for topic, _ in log.ends}
        },
    )


def checked(history: History) -> Verdict:
    """The verdict; the ways of ending add up whatever it is."""
    verdict = check(history)
    for ends in verdict.ends:
        assert ends.read == ends.forwarded + ends.dropped + ends.dead_lettered + ends.open
    return verdict


def with_topic(history: History, topic: str, records: Iterable[Found]) -> History:
    """The same history, but for what lies in one topic."""
    return replace(history, topics={**history.topics, topic: list(records)})


def with_ledger(history: History, **changes: object) -> History:
    """The ledger says something else."""
    return replace(history, consumers=(replace(history.consumers[0], **changes),))


def lose(draw: st.DrawFn, history: History) -> History:
    """A record of one topic is gone; in raw, one of a delivery that was acknowledged."""
    acknowledged = {attempt.delivery for attempt in history.attempts}
    record = draw(
        st.sampled_from(
            [
                each
                for topic in TOPICS
                for each in history.topics.get(topic, ())
                if topic != RAW or each.delivery in acknowledged
            ]
        )
    )
    kept = [each for each in history.topics[record.topic] if each != record]
    return with_topic(history, record.topic, kept)


def double(draw: st.DrawFn, history: History) -> History:
    """A record is there once more; in raw, as a delivery that nobody made."""
    record = draw(st.sampled_from([r for t in TOPICS for r in history.topics.get(t, ())]))
    given_up = {a.step for a in history.attempts} - {a.step for a in history.attempts if a.delivery}
    assume(record.topic != RAW or not given_up)
    end = history.bounds[record.topic][record.partition].end
    again = replace(record, offset=end)
    if record.topic == RAW:
        unsure = [a for a in history.attempts if a.status == 503]
        again = replace(again, delivery="d-none")
        history = replace(history, attempts=[a for a in history.attempts if a not in unsure])
    return with_topic(history, record.topic, [*history.topics[record.topic], again])


def swap(draw: st.DrawFn, history: History) -> History:
    """Two events of one subject have changed places in a later topic."""
    pairs = [
        (one, other)
        for topic in TOPICS[1:]
        for one, other in itertools.combinations(history.topics.get(topic, ()), 2)
        if one.key == other.key
    ]
    assume(pairs)
    one, other = draw(st.sampled_from(pairs))
    places = {one: other.offset, other: one.offset}
    records = [replace(r, offset=places.get(r, r.offset)) for r in history.topics[one.topic]]
    return with_topic(history, one.topic, records)


def fall_behind(draw: st.DrawFn, history: History) -> History:
    """A group has not read the last record of a partition, or has no offset there."""
    group = draw(st.sampled_from(sorted(READERS)))
    records = history.topics.get(READERS[group], ())
    assume(records)
    record = draw(st.sampled_from(records))
    at = {**history.positions[group], record.partition: draw(st.integers(0, record.offset))}
    if draw(st.booleans()):
        del at[record.partition]
    return replace(history, positions={**history.positions, group: at})


def leave_open(draw: st.DrawFn, history: History) -> History:
    """The stable end of a partition lies before its end."""
    topic = draw(st.sampled_from(sorted(history.bounds)))
    partition = draw(st.sampled_from(sorted(history.bounds[topic])))
    end = history.bounds[topic][partition].end
    lower = {**history.bounds[topic], partition: Bounds(draw(st.integers(0, end - 1)), end)}
    return replace(history, bounds={**history.bounds, topic: lower})


def take_early(draw: st.DrawFn, history: History) -> History:
    """The service took a later event of a subject before an earlier one."""
    first = {
        event: turn for turn, event in reversed(list(enumerate(history.consumers[0].taken or ())))
    }
    pairs = [
        (one.event, other.event)
        for one, other in itertools.combinations(history.topics[QUEUE], 2)
        if one.key == other.key and one.event in first and other.event in first
    ]
    assume(pairs)
    one, other = draw(st.sampled_from(pairs))
    taken = list(history.consumers[0].taken or ())
    taken.insert(first[one], other)
    return with_ledger(history, taken=taken)


def spoil(draw: st.DrawFn, history: History, what: str) -> History:
    """One thing is otherwise than it was."""
    ledger = history.consumers[0]
    counted, entries = list(ledger.counted or ()), list(ledger.entries)
    match what:
        case "lost":
            return lose(draw, history)
        case "doubled":
            return double(draw, history)
        case "swapped":
            return swap(draw, history)
        case "behind":
            return fall_behind(draw, history)
        case "open":
            return leave_open(draw, history)
    assume(counted)
    number = draw(st.integers(0, len(counted) - 1))
    if what == "uncounted":
        return with_ledger(history, counted=counted[:number] + counted[number + 1 :])
    if what == "never taken":
        gone = counted[number]
        return with_ledger(history, taken=[e for e in ledger.taken or () if e != gone])
    if what == "taken too early":
        return take_early(draw, history)
    if what == "counted twice":
        return with_ledger(history, counted=[*counted, counted[number]])
    entries[number] = replace(entries[number], minor="99")
    return with_ledger(history, entries=entries)


@settings(max_examples=150, deadline=None)
@given(good_histories())
def test_a_good_history_is_found_good(history: History) -> None:
    """Whatever was sent twice, cut off, given up or set aside."""
    verdict = checked(history)

    assert verdict.broken == []
    assert verdict.good
    assert (verdict.lost, verdict.twice) == (0, 0)
    assert sum(ends.open for ends in verdict.ends) == 0
    assert verdict.events == len({record.event for record in history.topics.get(RAW, ())})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_change_is_found_out(data: st.DataObject) -> None:
    """It is named as what it is; what follows from it may be named as well."""
    history = data.draw(good_histories())
    assume(any(attempt.delivery for attempt in history.attempts))
    what = data.draw(st.sampled_from(sorted(MUST_NAME)))

    verdict = checked(spoil(data.draw, history, what))

    assert not verdict.good
    assert MUST_NAME[what] & {each.promise for each in verdict.broken}, verdict.broken


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_order_in_which_a_reader_found_the_records_is_no_matter(data: st.DataObject) -> None:
    """Partitions are read side by side; only offsets say what came first."""
    history = data.draw(good_histories())
    for topic, records in history.topics.items():
        history = with_topic(history, topic, data.draw(st.permutations(list(records))))

    assert checked(history).broken == []
