"""The history checker, by itself: one good run, then each promise broken by one small cut."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import pytest
from msgspec.structs import replace

from hookmill.chaos.checker import check
from hookmill.chaos.history import (
    Attempt,
    Bounds,
    Broken,
    Consumer,
    Ends,
    Entry,
    Found,
    History,
    Link,
    Promise,
)
from support.histories import NORMALIZED, RAW, UNIQUE, links

PAYMENT, REFUND = "events-payment", "events-refund"
LEDGER_QUEUE, LOG_QUEUE = "handler-ledger", "handler-log"
QUEUES = (LEDGER_QUEUE, LOG_QUEUE)
DOWNSTREAM = (UNIQUE, NORMALIZED, PAYMENT, REFUND, *QUEUES)

LINKS = links((PAYMENT, REFUND), QUEUES)

PARTITIONS = {"alice": 0, "bob": 1, "carol": 0, "dave": 2}
SCRIPT = [
    # step, subject, how the attempt went, how many items
    ("pay-1", "alice", "forged", 1),
    ("pay-1", "alice", "acknowledged", 1),
    ("pay-3", "bob", "acknowledged", 1),
    ("refund-1", "alice", "acknowledged", 1),
    ("pay-5", "carol", "busy", 1),
    ("pay-5", "carol", "cut off", 1),
    ("pay-3", "bob", "acknowledged", 1),
    ("pay-5", "carol", "acknowledged", 1),
    ("batch", "dave", "busy", 3),
    ("batch", "dave", "acknowledged", 3),
    ("nameless", "bob", "acknowledged", 1),
    ("odd", "dave", "acknowledged", 1),
    ("stray", "alice", "acknowledged", 1),
    ("sour", "carol", "acknowledged", 1),
    ("pay-4", "bob", "acknowledged", 1),
    ("pay-2", "alice", "acknowledged", 1),
    ("pay-1", "alice", "acknowledged", 1),
    ("given-up", "dave", "cut off", 1),
    ("late", "dave", "busy", 1),
]
STATUS = {"acknowledged": 200, "busy": 503, "cut off": 0, "forged": 401}
SET_ASIDE = {"e-nameless": "dedup", "e-odd": "normalize", "e-stray": "route"}


class Mill:
    """Appends as Kafka does, with a control record behind each transaction."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Found]] = defaultdict(list)
        self.ends: dict[tuple[str, int], int] = defaultdict(int)

    def append(self, topic: str, like: Found, source: tuple[str, int] | None) -> None:
        """One record at the end of the partition that it belongs to."""
        offset = self.ends[topic, like.partition]
        self.ends[topic, like.partition] += 1
        self.topics[topic].append(replace(like, topic=topic, offset=offset, source=source))

    def stage(self, link: Link) -> None:
        """What the stage makes of its input; a transaction for each two records."""
        seen = set[str]()
        for number, record in enumerate(self.topics[link.reads]):
            place = (link.reads, record.offset)
            came_from = place if link.reads == RAW else record.source
            if SET_ASIDE.get(record.event) == link.name:
                written = [link.dead_letters]
                self.append(link.dead_letters, record, place)
            elif link.drops_duplicates and record.event in seen:
                written = []
            else:
                kind = REFUND if "refund" in record.event else PAYMENT
                written = [kind if len(link.writes) > 1 else link.writes[0], *link.every]
                for topic in written:
                    self.append(topic, record, came_from)
            seen.add(record.event)
            if number % 2:
                for topic in written:
                    self.ends[topic, record.partition] += 1


def nested(bounds: dict[tuple[str, int], Bounds]) -> dict[str, dict[int, Bounds]]:
    """By topic, then partition."""
    found: dict[str, dict[int, Bounds]] = {}
    for (topic, partition), each in bounds.items():
        found.setdefault(topic, {})[partition] = each
    return found


def good_history(script: Iterable[tuple[str, str, str, int]] = SCRIPT) -> History:
    """A whole run in which every promise was kept."""
    mill, attempts = Mill(), []
    for number, (step, subject, how, items) in enumerate(script):
        delivery = f"d{number}"
        attempts.append(
            Attempt(
                step=step,
                endpoint="shop",
                began=2 * number,
                ended=2 * number + 1,
                status=STATUS[how],
                delivery=delivery if how == "acknowledged" else None,
                forged=how == "forged",
                items=items,
            )
        )
        for item in range(items if how in ("acknowledged", "cut off") else 0):
            record = Found(
                topic=RAW,
                partition=PARTITIONS[subject],
                offset=0,
                key=f"shop|{subject}",
                event=f"e-{step}" if items == 1 else f"e-{step}.{item}",
                delivery=delivery,
            )
            mill.append(RAW, record, None)
    for link in LINKS:
        mill.stage(link)
    for record in mill.topics[LEDGER_QUEUE]:
        if record.event == "e-sour":
            mill.append("handler-ledger-dlq", record, (LEDGER_QUEUE, record.offset))
    counted = [each.event for each in mill.topics[LEDGER_QUEUE] if each.event != "e-sour"]
    entries = [Entry(event, "received", "100", "EUR") for event in counted]
    consumers = (
        Consumer(
            name="ledger",
            group="g-ledger",
            reads=LEDGER_QUEUE,
            dead_letters="handler-ledger-dlq",
            counted=counted,
            entries=entries,
            entries_expected=entries[::-1],
        ),
        Consumer(name="log", group="g-log", reads=LOG_QUEUE, dead_letters="handler-log-dlq"),
    )
    positions = {
        each.group: {p: end for (topic, p), end in mill.ends.items() if topic == each.reads}
        for each in (*LINKS, *consumers)
    }
    return History(
        attempts=attempts,
        topics=dict(mill.topics),
        raw=RAW,
        links=LINKS,
        consumers=consumers,
        positions=positions,
        bounds=nested({place: Bounds(end, end) for place, end in mill.ends.items()}),
    )


GOOD = good_history()


# Cuts


def find(history: History, topic: str, event: str, which: int = 0) -> Found:
    """The record of the event in the topic, the first one unless told."""
    return [each for each in history.topics[topic] if each.event == event][which]


def with_topic(history: History, topic: str, records: Iterable[Found]) -> History:
    """The same history, but for what lies in one topic."""
    return replace(history, topics={**history.topics, topic: list(records)})


def without(history: History, event: str, *topics: str) -> History:
    """The event is gone from the topics."""
    for topic in topics:
        kept = [each for each in history.topics[topic] if each.event != event]
        history = with_topic(history, topic, kept)
    return history


def without_record(history: History, record: Found) -> History:
    """That one record is gone."""
    kept = [each for each in history.topics[record.topic] if each != record]
    return with_topic(history, record.topic, kept)


def plus(history: History, topic: str, record: Found) -> History:
    """One more record at the topic's end, read by all who read there."""
    offset = history.bounds[topic][record.partition].end if topic in (*DOWNSTREAM, RAW) else 77
    records = [*history.topics.get(topic, ()), replace(record, topic=topic, offset=offset)]
    positions = dict(history.positions)
    for each in (*history.links, *history.consumers):
        if each.reads == topic:
            positions[each.group] = {**positions[each.group], record.partition: offset + 2}
    return replace(with_topic(history, topic, records), positions=positions)


def swapped(history: History, topic: str, one: str, other: str) -> History:
    """The two events have changed places, each with what it was made from."""
    a, b = find(history, topic, one), find(history, topic, other)
    places = {a: b.offset, b: a.offset}
    records = [replace(r, offset=places.get(r, r.offset)) for r in history.topics[topic]]
    return with_topic(history, topic, records)


def books(history: History, **changes: object) -> History:
    """The ledger says something else."""
    ledger, *others = history.consumers
    return replace(history, consumers=(replace(ledger, **changes), *others))


def uncounted(history: History, *events: str) -> History:
    """The ledger has not heard of the events at all, nor should it."""
    ledger = history.consumers[0]
    entries = [each for each in ledger.entries if each.event not in events]
    return books(
        history,
        counted=[each for each in ledger.counted or () if each not in events],
        entries=entries,
        entries_expected=entries,
    )


def attempt(history: History, step: str, which: int = 0) -> Attempt:
    """The acknowledged attempt of the step, the first one unless told."""
    made = [each for each in history.attempts if each.step == step and each.delivery]
    return made[which]


def with_attempts(history: History, *changes: tuple[Attempt, Attempt]) -> History:
    """Some attempts went otherwise."""
    changed = dict(changes)
    return replace(history, attempts=[changed.get(each, each) for each in history.attempts])


def all_broken(history: History) -> list[Broken]:
    """What is broken; the four ways of ending add up whatever it is."""
    verdict = check(history)
    for ends in verdict.ends:
        assert ends.read == ends.forwarded + ends.dropped + ends.dead_lettered + ends.open
    assert verdict.good is (not verdict.broken)
    return list(verdict.broken)


def only(history: History, promise: Promise, *, more: int = 0) -> Broken:
    """The one thing that is broken."""
    (broken,) = all_broken(history)
    assert (broken.promise, broken.more) == (promise, more)
    return broken


def shapes(history: History) -> list[tuple[Promise, tuple[str, ...]]]:
    """All that is broken: the promise, and which topics show it."""
    return [(each.promise, tuple(r.topic for r in each.records)) for each in all_broken(history)]


# The good run


def test_a_good_run_breaks_nothing() -> None:
    """Duplicates, dead letters, forgeries, attempts cut off: nothing of it is a fault."""
    verdict = check(GOOD)

    assert verdict.broken == []
    assert verdict.good
    assert (verdict.acknowledged, verdict.events, verdict.lost, verdict.twice) == (13, 14, 0, 0)
    assert verdict.ends == [
        Ends(stage="dedup", read=17, forwarded=13, dropped=3, dead_lettered=1, open=0),
        Ends(stage="normalize", read=13, forwarded=12, dropped=0, dead_lettered=1, open=0),
        Ends(stage="route", read=12, forwarded=11, dropped=0, dead_lettered=1, open=0),
    ]


def test_an_empty_run_breaks_nothing() -> None:
    """Nobody sent, nothing lies anywhere."""
    empty = History(attempts=(), topics={}, raw=RAW, links=LINKS)

    assert all_broken(empty) == []


def test_the_good_run_has_gaps_in_its_offsets() -> None:
    """Else control records would not be tried at all."""
    assert any(
        len([r for r in GOOD.topics[topic] if r.partition == partition]) < bounds.end
        for topic, several in GOOD.bounds.items()
        for partition, bounds in several.items()
    )


# Acknowledged means kept


def test_an_acknowledged_delivery_that_raw_lacks() -> None:
    """Another delivery of its event is there, so nothing else is missing."""
    history = without_record(GOOD, find(GOOD, RAW, "e-pay-1", 1))

    broken = only(history, Promise.KEPT)

    assert broken.attempts == (attempt(GOOD, "pay-1", 1),)
    assert broken.records == ()
    assert "pay-1" in broken.says
    assert "0 of its 1 items" in broken.says
    assert check(history).lost == 1


def test_an_acknowledged_event_that_is_nowhere() -> None:
    """Gone from end to end: what was promised to the client is all that shows it."""
    history = uncounted(without(GOOD, "e-pay-4", RAW, *DOWNSTREAM), "e-pay-4")

    assert only(history, Promise.KEPT).attempts == (attempt(GOOD, "pay-4"),)


def test_one_item_of_several_is_missing() -> None:
    """A delivery is kept whole."""
    history = uncounted(without(GOOD, "e-batch.1", RAW, *DOWNSTREAM), "e-batch.1")

    broken = only(history, Promise.KEPT)

    assert broken.attempts == (attempt(GOOD, "batch"),)
    assert "2 of its 3 items" in broken.says


def test_one_item_twice_does_not_make_up_for_another() -> None:
    """Items are counted by their events."""
    history = uncounted(without(GOOD, "e-batch.1", RAW, *DOWNSTREAM), "e-batch.1")
    history = plus(history, RAW, find(GOOD, RAW, "e-batch.0"))

    assert only(history, Promise.KEPT).attempts == (attempt(GOOD, "batch"),)


def test_further_cases_are_counted() -> None:
    """The first is shown, the others are a number."""
    history = without_record(GOOD, find(GOOD, RAW, "e-pay-1", 1))
    history = without_record(history, find(GOOD, RAW, "e-pay-3", 1))

    broken = only(history, Promise.KEPT, more=1)

    assert broken.attempts == (attempt(GOOD, "pay-3", 1),)
    assert check(history).lost == 2


def test_a_lost_delivery_whose_attempt_before_was_kept() -> None:
    """What the attempt that was cut off left is the client's own, although it was not told."""
    kept = [r for r in GOOD.topics[RAW] if r.delivery != attempt(GOOD, "pay-5").delivery]

    broken = only(with_topic(GOOD, RAW, kept), Promise.KEPT)

    assert broken.attempts == (attempt(GOOD, "pay-5"),)


# Only what was proved is taken


def test_a_forgery_is_acknowledged() -> None:
    """Whatever became of it."""
    forgery = GOOD.attempts[0]
    taken = replace(forgery, status=200, delivery="d0")
    record = replace(find(GOOD, RAW, "e-pay-1"), delivery="d0")

    broken = only(plus(with_attempts(GOOD, (forgery, taken)), RAW, record), Promise.GENUINE)

    assert broken.attempts == (taken,)
    assert "forgery of pay-1" in broken.says


@pytest.mark.parametrize("event", ["e-pay-1", "e-pay-2"])
def test_a_delivery_that_nobody_sent(event: str) -> None:
    """The event is known; that a refused forgery was kept can be told by the count alone."""
    record = replace(find(GOOD, RAW, event), delivery="d99")
    history = plus(GOOD, RAW, record)

    broken = only(history, Promise.GENUINE)

    assert broken.records == (find(history, RAW, event, -1),)
    assert "d99" in broken.says


def test_an_event_that_nobody_sent() -> None:
    """No attempt of unknown fate is left that it could be of."""
    script = [each for each in SCRIPT if each[0] not in ("given-up", "late")]
    history = good_history([*script, ("made-up", "dave", "cut off", 1)])
    history = replace(history, attempts=[a for a in history.attempts if a.step != "made-up"])

    broken = only(history, Promise.GENUINE)

    assert broken.records == (find(history, RAW, "e-made-up"),)


def test_more_in_a_delivery_than_was_sent() -> None:
    """A request of one event is one record."""
    script = [(*each[:3], 2) if each[0] == "pay-4" else each for each in SCRIPT]
    history = good_history(script)
    made = attempt(history, "pay-4")

    broken = only(with_attempts(history, (made, replace(made, items=1))), Promise.GENUINE)

    assert broken.records == (find(history, RAW, "e-pay-4.1"),)


@pytest.mark.parametrize("status", [0, 200, 500, 503])
def test_an_attempt_without_an_acknowledgement_may_be_kept(status: int) -> None:
    """Whether the client tried again or gave up."""
    changes = [(a, replace(a, status=status)) for a in GOOD.attempts if a.status == 0]

    assert len(changes) == 2
    assert all_broken(with_attempts(GOOD, *changes)) == []


def test_an_attempt_that_was_refused_may_not_be_kept() -> None:
    """A 4xx is a definite answer."""
    (cut_off,) = (a for a in GOOD.attempts if a.step == "pay-5" and a.status == 0)
    history = with_attempts(GOOD, (cut_off, replace(cut_off, status=401)))
    busy = [a for a in history.attempts if a.status != 503]

    broken = only(replace(history, attempts=busy), Promise.GENUINE)

    assert broken.records == (find(GOOD, RAW, "e-pay-5"),)


def test_one_delivery_appended_twice_is_no_other_delivery() -> None:
    """An append that was tried again is a duplicate like any other."""
    assert all_broken(plus(GOOD, RAW, find(GOOD, RAW, "e-pay-4"))) == []


# One event has one id


def test_two_ids_for_one_event() -> None:
    """A redelivery got another id and so went through as an event of its own."""
    script = [*SCRIPT, ("pay-7", "bob", "acknowledged", 1)]
    history = good_history(script)
    made = attempt(history, "pay-7")

    broken = only(with_attempts(history, (made, replace(made, step="pay-4"))), Promise.IDENTITY)

    assert broken.records == (find(history, RAW, "e-pay-4"), find(history, RAW, "e-pay-7"))
    assert "pay-4 has two ids" in broken.says


def test_one_id_for_two_events() -> None:
    """The second was dropped as a duplicate of the first."""
    made = attempt(GOOD, "pay-3", 1)

    broken = only(with_attempts(GOOD, (made, replace(made, step="pay-6"))), Promise.IDENTITY)

    assert broken.records == (find(GOOD, RAW, "e-pay-3"), find(GOOD, RAW, "e-pay-3", 1))
    assert "pay-3 and pay-6 have one id" in broken.says


# No event twice


@pytest.mark.parametrize("topic", [UNIQUE, NORMALIZED, PAYMENT, *QUEUES])
def test_an_event_is_twice(topic: str) -> None:
    """The two records show it; nothing behind is at fault."""
    one = find(GOOD, topic, "e-pay-4")
    history = plus(GOOD, topic, one)

    broken = only(history, Promise.ONCE)

    assert broken.records == (one, find(history, topic, "e-pay-4", 1))
    assert "e-pay-4 is twice" in broken.says
    assert check(history).twice == 1


def test_an_event_is_twice_in_all_topics() -> None:
    """One event, though it is shown for each topic."""
    history = GOOD
    for topic in (UNIQUE, NORMALIZED, PAYMENT, *QUEUES):
        history = plus(history, topic, find(GOOD, topic, "e-pay-4"))

    assert {each.promise for each in all_broken(history)} == {Promise.ONCE}
    assert check(history).twice == 1


def test_a_duplicate_that_was_forwarded() -> None:
    """Each of the two unique records was made from a raw one of its own."""
    second = find(GOOD, RAW, "e-pay-3", 1)
    made = replace(find(GOOD, UNIQUE, "e-pay-3"), source=(RAW, second.offset))
    history = plus(GOOD, UNIQUE, made)

    assert len(only(history, Promise.ONCE).records) == 2
    assert (check(history).ends[0].forwarded, check(history).ends[0].dropped) == (14, 2)


def test_an_event_is_in_two_kinds() -> None:
    """The topics of all kinds hold an event once, taken together."""
    one = find(GOOD, PAYMENT, "e-pay-4")
    refund = replace(one, topic=REFUND, offset=0)
    history = with_topic(GOOD, REFUND, [*GOOD.topics[REFUND], refund])

    broken = only(history, Promise.ONCE)

    assert broken.records == (one, refund)


@pytest.mark.parametrize(
    ("link", "event"), [("dedup", "e-nameless"), ("normalize", "e-odd"), ("route", "e-stray")]
)
def test_a_record_is_set_aside_twice(link: str, event: str) -> None:
    """A dead letter is as exactly once as what goes on."""
    letter = find(GOOD, f"{link}-dlq", event)

    broken = only(plus(GOOD, letter.topic, letter), Promise.ONCE)

    assert broken.records == (letter, replace(letter, offset=77))


@pytest.mark.parametrize(("number", "topic"), [(0, UNIQUE), (1, NORMALIZED), (2, PAYMENT)])
def test_a_record_is_forwarded_and_set_aside(number: int, topic: str) -> None:
    """A record ends in one way."""
    link, one = LINKS[number], find(GOOD, topic, "e-pay-4")
    read = find(GOOD, link.reads, "e-pay-4")
    letter = replace(one, source=(link.reads, read.offset))
    history = plus(GOOD, link.dead_letters, letter)

    broken = only(history, Promise.ONCE)

    assert broken.records == (one, find(history, link.dead_letters, "e-pay-4"))
    assert link.name in broken.says


def test_a_handler_may_set_aside_twice() -> None:
    """Handlers are promised at least once."""
    letter = find(GOOD, "handler-ledger-dlq", "e-sour")

    assert all_broken(plus(GOOD, letter.topic, letter)) == []


# Nothing disappears


def test_a_raw_record_of_which_nothing_came() -> None:
    """An event lost by dedup."""
    history = uncounted(without(GOOD, "e-pay-4", *DOWNSTREAM), "e-pay-4")

    broken = only(history, Promise.COMPLETE)

    assert broken.records == (find(GOOD, RAW, "e-pay-4"),)
    assert "dedup read" in broken.says
    assert "e-pay-4" in broken.says
    assert check(history).ends[0].open == 1
    assert check(history).lost == 1


def test_a_duplicate_dropped_although_its_first_was_not_forwarded() -> None:
    """Every copy is open then; one is shown."""
    history = uncounted(without(GOOD, "e-pay-3", *DOWNSTREAM), "e-pay-3")

    assert only(history, Promise.COMPLETE, more=1).records == (find(GOOD, RAW, "e-pay-3"),)
    assert check(history).lost == 1


def test_a_first_that_was_passed_over_for_a_later_one() -> None:
    """Dedup forwards the first; that a duplicate went on later does not end the first."""
    first, second = (find(GOOD, RAW, "e-pay-3", which) for which in (0, 1))
    records = [
        replace(r, source=(RAW, second.offset)) if r.event == "e-pay-3" else r
        for r in GOOD.topics[UNIQUE]
    ]
    history = with_topic(GOOD, UNIQUE, records)

    assert only(history, Promise.COMPLETE).records == (first,)


def test_a_record_forwarded_as_another_event() -> None:
    """That something was made from a record is not enough: it must be the record's event."""
    one = find(GOOD, UNIQUE, "e-pay-4")
    records = [replace(r, event="e-pay-3") if r == one else r for r in GOOD.topics[UNIQUE]]

    assert shapes(with_topic(GOOD, UNIQUE, records)) == [
        (Promise.ONCE, (UNIQUE, UNIQUE)),
        (Promise.COMPLETE, (RAW,)),
        (Promise.COMPLETE, (NORMALIZED,)),  # it truly is not in what normalize reads
    ]


@pytest.mark.parametrize(
    ("stage", "reads", "gone"),
    [
        ("normalize", UNIQUE, (NORMALIZED, PAYMENT, *QUEUES)),
        ("route", NORMALIZED, (PAYMENT, *QUEUES)),
    ],
)
def test_an_event_lost_at_a_stage(stage: str, reads: str, gone: tuple[str, ...]) -> None:
    """The record that the stage read is shown."""
    history = uncounted(without(GOOD, "e-pay-4", *gone), "e-pay-4")

    broken = only(history, Promise.COMPLETE)

    assert broken.records == (find(GOOD, reads, "e-pay-4"),)
    assert f"{stage} read" in broken.says
    assert check(history).lost == 1


@pytest.mark.parametrize(("stage", "event"), [(1, "e-odd"), (2, "e-stray"), (0, "e-nameless")])
def test_a_dead_letter_is_missing(stage: int, event: str) -> None:
    """What was not forwarded must be set aside."""
    history = without(GOOD, event, LINKS[stage].dead_letters)

    assert only(history, Promise.COMPLETE).records == (find(GOOD, LINKS[stage].reads, event),)


def test_an_event_lost_in_the_kind_alone() -> None:
    """The queues have it; route's input shows what is missing."""
    history = without(GOOD, "e-pay-4", PAYMENT)

    assert only(history, Promise.COMPLETE).records == (find(GOOD, NORMALIZED, "e-pay-4"),)


@pytest.mark.parametrize("queue", QUEUES)
def test_an_event_lost_in_a_queue_alone(queue: str) -> None:
    """Route writes both in one transaction."""
    history = uncounted(without(GOOD, "e-pay-4", queue), "e-pay-4" * (queue == LEDGER_QUEUE))

    broken = only(history, Promise.COMPLETE)

    assert broken.records == (find(GOOD, PAYMENT, "e-pay-4"),)
    assert queue in broken.says


@pytest.mark.parametrize("topic", [UNIQUE, NORMALIZED, PAYMENT, LOG_QUEUE])
def test_an_event_from_nowhere(topic: str) -> None:
    """It was not in what the stage read."""
    strange = replace(find(GOOD, topic, "e-pay-4"), event="e-strange")
    history = plus(GOOD, topic, strange)

    first, *others = all_broken(history)

    assert first.promise is Promise.COMPLETE
    assert first.records == (find(history, topic, "e-strange"),)
    assert "e-strange, which is not in" in first.says
    # Nobody has made anything of it: that follows for whoever reads it.
    assert [o.records for o in others] == [first.records] * (topic in (UNIQUE, NORMALIZED))
    assert check(history).lost == len(others)


def test_a_dead_letter_from_nowhere() -> None:
    """It names a record that there is not."""
    letter = replace(find(GOOD, "normalize-dlq", "e-odd"), source=(UNIQUE, 999))
    history = plus(GOOD, "normalize-dlq", letter)

    assert only(history, Promise.COMPLETE).records == (replace(letter, offset=77),)


def test_a_duplicate_of_what_dedup_set_aside_may_go_on() -> None:
    """Set aside is not seen: the next copy is the first; and its place in the order is its own."""
    record = find(GOOD, RAW, "e-pay-3")
    letter = replace(record, source=(RAW, record.offset))
    second = find(GOOD, RAW, "e-pay-3", 1)
    history = with_topic(GOOD, "dedup-dlq", [*GOOD.topics["dedup-dlq"], letter])
    for topic in (UNIQUE, NORMALIZED, PAYMENT, *QUEUES):
        records = [
            replace(r, source=(RAW, second.offset)) if r.event == "e-pay-3" else r
            for r in history.topics[topic]
        ]
        history = with_topic(history, topic, records)

    assert all_broken(history) == []
    assert check(history).ends[0].dead_lettered == 2


def test_a_first_set_aside_lies_behind_what_came_between() -> None:
    """pay-1's first copy is a dead letter, its second came after refund-1 and pay-2."""
    first, second = (find(GOOD, RAW, "e-pay-1", which) for which in (0, 1))
    letter = replace(first, topic="dedup-dlq", offset=50, source=(RAW, first.offset))
    history = with_topic(GOOD, "dedup-dlq", [*GOOD.topics["dedup-dlq"], letter])
    for topic in (UNIQUE, NORMALIZED, PAYMENT, *QUEUES):
        one = find(history, topic, "e-pay-1")
        history = plus(
            without_record(history, one), topic, replace(one, source=(RAW, second.offset))
        )

    assert all_broken(history) == []


def redriven(history: History, event: str, *topics: str) -> History:
    """The event was sent again to the first of the topics and went on through the others."""
    for topic in topics:
        made = find(history, topics[0], event)
        history = plus(history, topic, replace(made, redrives=1))
    return history


def test_a_redriven_record_may_go_on() -> None:
    """Its first copy was set aside, its second was forwarded, behind all that went by meanwhile."""
    history = redriven(GOOD, "e-stray", NORMALIZED, PAYMENT, *QUEUES)
    history = books(history, counted=[*(history.consumers[0].counted or ()), "e-stray"])

    assert all_broken(history) == []
    assert check(history).ends[2] == Ends(
        stage="route", read=13, forwarded=12, dropped=0, dead_lettered=1, open=0
    )


def test_a_redriven_event_may_be_handled_at_last() -> None:
    """Its queue has it twice: once before it was set aside, once after."""
    history = redriven(GOOD, "e-sour", LEDGER_QUEUE)
    history = books(history, counted=[*(history.consumers[0].counted or ()), "e-sour"])

    assert all_broken(history) == []


@pytest.mark.parametrize("topic", [NORMALIZED, LEDGER_QUEUE])
def test_a_letter_is_sent_again_twice(topic: str) -> None:
    """One redrive is one record."""
    event = {NORMALIZED: "e-stray", LEDGER_QUEUE: "e-sour"}[topic]
    history = redriven(redriven(GOOD, event, topic), event, topic)

    assert {promise for promise, _ in shapes(history)} >= {Promise.ONCE}


# Order per subject


def test_raw_is_not_in_the_order_of_the_acknowledgements() -> None:
    """refund-1 was acknowledged before pay-2 was sent, and lies behind it."""
    one, other = attempt(GOOD, "refund-1"), attempt(GOOD, "pay-2")
    history = with_attempts(
        GOOD,
        (one, replace(one, began=other.began, ended=other.ended)),
        (other, replace(other, began=one.began, ended=one.ended)),
    )

    first = only(history, Promise.ORDER, more=1)  # `stray` came between, so it shows it too

    assert first.records == (find(GOOD, RAW, "e-refund-1"), find(GOOD, RAW, "e-stray"))


def test_attempts_that_overlap_may_be_kept_in_any_order() -> None:
    """Sent before the other was acknowledged: either may come first."""
    one, other = attempt(GOOD, "pay-1"), attempt(GOOD, "refund-1")
    history = with_attempts(
        GOOD,
        (one, replace(one, began=3, ended=7)),
        (other, replace(other, began=2, ended=6)),
    )

    assert all_broken(history) == []


def test_a_forgery_says_nothing_of_the_order() -> None:
    """That it began early, or was acknowledged, does not count for the event it imitates."""
    forgery = GOOD.attempts[0]
    late = replace(
        attempt(GOOD, "pay-2"), forged=True, delivery=None, status=401, began=-9, ended=-8
    )

    assert all_broken(with_attempts(GOOD, (forgery, late))) == []


@pytest.mark.parametrize(
    ("topic", "first", "second"),
    [
        (UNIQUE, "e-pay-1", "e-refund-1"),
        (NORMALIZED, "e-pay-1", "e-refund-1"),
        (PAYMENT, "e-pay-3", "e-pay-4"),
        (LEDGER_QUEUE, "e-pay-1", "e-refund-1"),
        (LOG_QUEUE, "e-pay-3", "e-pay-4"),
    ],
)
def test_a_later_topic_has_another_order(topic: str, first: str, second: str) -> None:
    """The two in raw and the two in the topic show it."""
    history = swapped(GOOD, topic, first, second)

    broken = only(history, Promise.ORDER)

    assert broken.records == (
        find(GOOD, RAW, first),
        find(GOOD, RAW, second),
        find(history, topic, second),
        find(history, topic, first),
    )
    assert f"{first} comes before {second}" in broken.says
    assert topic in broken.says


def test_the_order_is_seen_whatever_the_later_key_is() -> None:
    """The subject is raw's: another key downstream does not hide it."""
    history = swapped(GOOD, NORMALIZED, "e-pay-1", "e-refund-1")
    records = [replace(r, key=f"other {r.event}") for r in history.topics[NORMALIZED]]

    assert only(with_topic(history, NORMALIZED, records), Promise.ORDER).records


@pytest.mark.parametrize("topic", [NORMALIZED, PAYMENT, *QUEUES])
def test_the_order_of_two_subjects_is_free(topic: str) -> None:
    """pay-1 is alice's and pay-5 is carol's, on one partition."""
    history = swapped(GOOD, topic, "e-pay-5", "e-sour")
    assert [b.promise for b in all_broken(history)] == [Promise.ORDER]  # one subject's is not

    history = swapped(GOOD, topic, "e-refund-1" if topic != PAYMENT else "e-pay-1", "e-pay-5")
    assert all_broken(history) == []


# Positions and transactions


@pytest.mark.parametrize(
    ("group", "topic"),
    [
        ("g-dedup", RAW),
        ("g-normalize", UNIQUE),
        ("g-route", NORMALIZED),
        ("g-ledger", LEDGER_QUEUE),
        ("g-log", LOG_QUEUE),
    ],
)
def test_a_group_is_not_at_the_end(group: str, topic: str) -> None:
    """The first record that is still before it is shown."""
    last = [r for r in GOOD.topics[topic] if r.partition == 1][-1]
    positions = {**GOOD.positions, group: {**GOOD.positions[group], 1: last.offset}}

    broken = only(replace(GOOD, positions=positions), Promise.POSITIONS)

    assert broken.records == (last,)
    assert f"group {group} stands at {last.offset}" in broken.says


def test_a_group_that_never_committed() -> None:
    """Everything is before it."""
    positions = {group: at for group, at in GOOD.positions.items() if group != "g-log"}

    more = len(GOOD.topics[LOG_QUEUE]) - 1
    broken = only(replace(GOOD, positions=positions), Promise.POSITIONS, more=more)

    assert broken.records == (GOOD.topics[LOG_QUEUE][0],)
    assert "no offset" in broken.says


def test_two_groups_behind_are_two_cases() -> None:
    """Though they read the same topic."""
    link = replace(LINKS[2], name="audit", group="g-audit", writes=(), every=(), dead_letters="x")
    consumer = Consumer(name="audit", group=link.group, reads=LOG_QUEUE, dead_letters="x")
    positions = {**GOOD.positions, "g-log": {}}
    history = replace(GOOD, positions=positions, consumers=(*GOOD.consumers, consumer))

    assert shapes(history) == [(Promise.POSITIONS, (LOG_QUEUE,))] * 2


def test_control_records_behind_the_last_do_not_matter() -> None:
    """A group may stand just behind the last record, or behind the marker that follows."""
    for beyond in (1, 2, 3):
        positions = {
            each.group: {
                p: max(r.offset for r in GOOD.topics[each.reads] if r.partition == p) + beyond
                for p in (0, 1, 2)
            }
            for each in (*GOOD.links, *GOOD.consumers)
        }
        assert all_broken(replace(GOOD, positions=positions)) == []


def test_a_transaction_is_left_open() -> None:
    """Readers cannot go to the end of the partition."""
    at = GOOD.bounds[UNIQUE][1].end
    bounds = {**GOOD.bounds, UNIQUE: {1: Bounds(at, at + 2), 2: Bounds(0, 9)}}

    broken = only(replace(GOOD, bounds=bounds), Promise.SETTLED, more=1)

    assert f"open in {UNIQUE}[1] at {at}" in broken.says


# The ledger


def test_an_event_that_the_ledger_has_not_counted() -> None:
    """It is in the queue and no dead letter says why."""
    history = uncounted(GOOD, "e-pay-4", "e-pay-2")

    broken = only(history, Promise.LEDGER, more=1)

    assert broken.records == (find(GOOD, LEDGER_QUEUE, "e-pay-4"),)
    assert "not counted event e-pay-4" in broken.says


def test_an_event_counted_twice() -> None:
    """The record of the queue shows which."""
    counted = [*(GOOD.consumers[0].counted or ()), "e-pay-4"]

    broken = only(books(GOOD, counted=counted), Promise.LEDGER)

    assert broken.records == (find(GOOD, LEDGER_QUEUE, "e-pay-4"),)
    assert "e-pay-4 is counted 2 times" in broken.says


def test_an_event_counted_from_nowhere() -> None:
    """No record shows it, for there is none."""
    counted = [*(GOOD.consumers[0].counted or ()), "e-strange"]

    broken = only(books(GOOD, counted=counted), Promise.LEDGER)

    assert broken.records == ()
    assert "e-strange is counted and not in handler-ledger" in broken.says


def test_faults_of_the_ledger_that_differ_are_told_apart() -> None:
    """One kind does not hide in another's number."""
    counted = [e for e in GOOD.consumers[0].counted or () if e != "e-pay-2"]

    history = books(GOOD, counted=[*counted, "e-pay-4", "e-strange"])

    assert [(b.promise, b.more) for b in all_broken(history)] == [(Promise.LEDGER, 0)] * 3


LESS = list(GOOD.consumers[0].entries)[1:]
WANTED = GOOD.consumers[0].entries[0]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (LESS, ["lacks received 100 EUR of event e-pay-1"]),
        ([*LESS, WANTED, WANTED], ["has too much: received 100 EUR of event e-pay-1"]),
        (
            [*LESS, replace(WANTED, minor="10")],
            ["lacks received 100 EUR", "has too much: received 10 EUR"],
        ),
    ],
    ids=["missing", "extra", "wrong"],
)
def test_a_booking_that_does_not_follow(entries: list[Entry], says: list[str]) -> None:
    """What is booked is what follows from the events, entry by entry."""
    broken = all_broken(books(GOOD, entries=entries))

    assert [(b.promise, b.more) for b in broken] == [(Promise.LEDGER, 0)] * len(says)
    assert all(text in b.says for text, b in zip(says, broken, strict=True))


def test_what_the_handler_set_aside_need_not_be_counted() -> None:
    """Without the dead letter it must."""
    history = without(GOOD, "e-sour", "handler-ledger-dlq")

    broken = only(history, Promise.LEDGER)

    assert broken.records == (find(GOOD, LEDGER_QUEUE, "e-sour"),)


# Every event is handled


def served(history: History, *taken: str) -> History:
    """The service behind the handler `log` took these events, as they came."""
    ledger, log = history.consumers
    return replace(history, consumers=(ledger, replace(log, taken=taken)))


QUEUED = [record.event for record in GOOD.topics[LOG_QUEUE]]


def test_what_was_taken_once_is_good() -> None:
    """In whatever order subjects come between each other."""
    by_subject = sorted(GOOD.topics[LOG_QUEUE], key=lambda record: (record.key, record.offset))

    assert all_broken(served(GOOD, *QUEUED)) == []
    assert all_broken(served(GOOD, *(record.event for record in by_subject))) == []


@pytest.mark.parametrize("again", range(len(QUEUED)))
def test_what_was_taken_may_come_again(again: int) -> None:
    """A member that was killed is followed by one that goes on from the last commit."""
    assert all_broken(served(GOOD, *QUEUED[: again + 1], *QUEUED[again // 2 :])) == []


@pytest.mark.parametrize("gone", range(len(QUEUED)))
def test_an_event_that_was_never_taken(gone: int) -> None:
    """It is named by its record in the queue."""
    broken = only(served(GOOD, *QUEUED[:gone], *QUEUED[gone + 1 :]), Promise.HANDLED)

    assert broken.records == (find(GOOD, LOG_QUEUE, QUEUED[gone]),)
    assert "log never finished" in broken.says


def test_what_a_handler_set_aside_need_not_be_taken() -> None:
    """Nor come in its turn if it was sent again."""
    first, *others = QUEUED
    record = find(GOOD, LOG_QUEUE, first)
    letter = replace(record, source=(LOG_QUEUE, record.offset))
    history = plus(GOOD, "handler-log-dlq", letter)

    assert all_broken(served(history, *others)) == []
    assert all_broken(served(history, *others, first)) == []


def test_an_event_taken_that_is_not_in_the_queue() -> None:
    """Whoever posted it, it was not route."""
    broken = only(served(GOOD, *QUEUED, "e-strange"), Promise.HANDLED)

    assert broken.records == ()
    assert "e-strange" in broken.says


def test_a_subject_taken_out_of_order() -> None:
    """The later one came first; that it came again in its turn does not mend it."""
    one, other = "e-refund-1", "e-pay-2"
    others = [event for event in QUEUED if event not in (one, other)]

    broken = only(served(GOOD, *others, other, one, other), Promise.ORDER)

    assert broken.records == (find(GOOD, LOG_QUEUE, one), find(GOOD, LOG_QUEUE, other))
    assert "alice: log finished e-pay-2 before e-refund-1" in broken.says


# Size


class Word(str):
    """A text whose comparisons are Python, so that a search through a list can be counted."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def lines_run(history: History) -> int:
    """How many lines of Python the check takes; unlike seconds, always the same."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check(history)
    finally:
        sys.settrace(before)
    return count


def large(raw: int, change: Callable[[History], History]) -> History:
    """Half of raw's records are duplicates."""
    script = [
        (f"pay-{number // 2}", list(PARTITIONS)[number // 2 % 4], "acknowledged", 1)
        for number in range(raw)
    ]
    history = good_history(script)
    for topic, records in history.topics.items():
        words = [replace(r, event=Word(r.event), delivery=Word(r.delivery)) for r in records]
        history = with_topic(history, topic, words)
    return change(history)


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history,
        lambda history: with_topic(replace(history, positions={}), RAW, ()),
        lambda history: with_topic(
            history, NORMALIZED, [replace(r, offset=-r.offset) for r in history.topics[NORMALIZED]]
        ),
    ],
    ids=["good", "none kept", "all turned round"],
)
def test_ten_times_the_records_take_ten_times_the_work(
    change: Callable[[History], History],
) -> None:
    """Good or broken throughout; quadratic would be a hundred times."""
    assert lines_run(large(2_000, change)) < 12 * lines_run(large(200, change))
