"""Holds what the handlers did against the queues that they read. Pure.

A handler that keeps books counts each event of its queue once, less its dead letters. A service
that events are forwarded to takes each at least once, those of a subject for the first time in
their order, less what was set aside.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from hookmill.chaos.history import (
    Broken,
    Consumer,
    Entry,
    Found,
    History,
    Promise,
    events_of,
    in_order,
)


def broken_by(history: History, consumer: Consumer) -> Iterator[Iterable[Broken]]:
    """All that a handler did wrong; cases that are alike come in one family."""
    counted, taken = consumer.counted, consumer.taken
    if counted is not None:
        yield _left_out(history, consumer, counted, Promise.LEDGER, "has not counted")
        yield _counted_twice(history, consumer, counted)
        yield _from_nowhere(history, consumer, counted, Promise.LEDGER, "is counted and")
        wanted, booked = Counter(consumer.entries_expected), Counter(consumer.entries)
        yield _bookings(consumer, "lacks", wanted - booked)
        yield _bookings(consumer, "has too much:", booked - wanted)
    if taken is not None:
        yield _left_out(history, consumer, taken, Promise.HANDLED, "never finished")
        yield _from_nowhere(history, consumer, taken, Promise.HANDLED, "was handled and is")
        yield _taken_out_of_order(history, consumer, taken)


def _left_out(
    history: History, consumer: Consumer, done: Iterable[str], promise: Promise, how: str
) -> Iterator[Broken]:
    """Every event of its queue was done, or set aside."""
    ended = {*done, *events_of(history.of(consumer.dead_letters))}
    for record in history.of(consumer.reads):
        if record.event not in ended:
            says = f"{consumer.name} {how} event {record.event} of {consumer.reads}"
            yield Broken(promise=promise, says=says, records=(record,))


def _from_nowhere(
    history: History, consumer: Consumer, done: Iterable[str], promise: Promise, how: str
) -> Iterator[Broken]:
    """Nothing was done that is not in its queue."""
    for event in sorted({*done} - events_of(history.of(consumer.reads))):
        says = f"{consumer.name}: event {event} {how} not in {consumer.reads}"
        yield Broken(promise=promise, says=says)


def _counted_twice(
    history: History, consumer: Consumer, counted: Iterable[str]
) -> Iterator[Broken]:
    queued = {record.event: record for record in history.of(consumer.reads)}
    for event, times in sorted(Counter(counted).items()):
        if times > 1 and event in queued:
            says = f"{consumer.name}: event {event} is counted {times} times"
            yield Broken(promise=Promise.LEDGER, says=says, records=(queued[event],))


def _bookings(consumer: Consumer, sign: str, entries: Counter[Entry]) -> Iterator[Broken]:
    for entry in sorted(entries.elements()):
        says = (
            f"{consumer.name} {sign} {entry.effect} {entry.minor} {entry.currency} "
            f"of event {entry.event}"
        )
        yield Broken(promise=Promise.LEDGER, says=says)


def _taken_out_of_order(
    history: History, consumer: Consumer, taken: Iterable[str]
) -> Iterator[Broken]:
    """No event of a subject before one that lies before it; what was set aside comes when it is
    sent again, if at all."""
    turns: dict[str, int] = {}
    for turn, event in enumerate(taken):
        turns.setdefault(event, turn)
    passed = events_of(history.of(consumer.dead_letters))
    latest: dict[tuple[int, str], Found] = {}
    for record in in_order(history.of(consumer.reads)):
        if record.event not in turns or record.event in passed:
            continue
        passed.add(record.event)
        subject = record.partition, record.key
        before = latest.get(subject, record)
        if turns[record.event] < turns[before.event]:
            says = (
                f"subject {record.key}: {consumer.name} finished {record.event} before "
                f"{before.event}, which lies before it in {consumer.reads}"
            )
            yield Broken(promise=Promise.ORDER, says=says, records=(before, record))
        else:
            latest[subject] = record
