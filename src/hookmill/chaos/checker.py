"""Holds a whole history against the promises, and shows the smallest set that breaks one. Pure.

acknowledged ⊆ raw ⊆ unique (by event) = normalized = the union of events-* = what the ledger
counted, less the dead letters of each stage; no event twice; order per subject; every record
ended; every group at the end; no open transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from hookmill.chaos.history import (
    Broken,
    Consumer,
    Ends,
    Found,
    History,
    Link,
    Promise,
    Verdict,
)


def check(history: History) -> Verdict:
    """Every promise, each with the first case that breaks it and the number of further ones."""
    found = list(_all_broken(history))
    return Verdict(
        broken=[_with_more(several) for several in _by_shape(found)],
        ends=[_ends(history, link) for link in history.links],
        acknowledged=sum(each.delivery is not None for each in history.attempts),
        events=len(_events(_records(history, history.raw))),
        lost=sum(each.promise in (Promise.KEPT, Promise.COMPLETE) for each in found),
        twice=sum(each.promise is Promise.ONCE for each in found),
    )


def _all_broken(history: History) -> Iterator[Broken]:
    yield from _kept(history)
    yield from _genuine(history)
    yield from _identity(history)
    yield from _once(history)
    for link in history.links:
        yield from _complete(history, link)
    yield from _order_of_arrival(history)
    yield from _order_of_topics(history)
    yield from _positions(history)
    yield from _settled(history)
    for consumer in history.consumers:
        yield from _ledger(history, consumer)


def _kept(history: History) -> Iterator[Broken]:
    """Every item of an acknowledged delivery lies in raw."""
    kept = Counter(record.delivery for record in _records(history, history.raw))
    for attempt in history.attempts:
        if attempt.delivery is not None and kept[attempt.delivery] < attempt.items:
            yield Broken(
                promise=Promise.KEPT,
                says=f"delivery {attempt.delivery} ({attempt.step}) was acknowledged; "
                f"{kept[attempt.delivery]} of its {attempt.items} items lie in {history.raw}",
                attempts=(attempt,),
            )


def _genuine(history: History) -> Iterator[Broken]:
    """A forgery is never acknowledged, and raw holds no delivery that the client did not make."""
    events = _events_of_steps(history)
    meant = {event for several in events.values() for event in several}
    for attempt in history.attempts:
        if attempt.forged and attempt.delivery is not None:
            yield Broken(
                promise=Promise.GENUINE,
                says=f"a forgery of {attempt.step} was acknowledged",
                attempts=(attempt,),
            )
    for record in _records(history, history.raw):
        if record.event not in meant:
            yield Broken(
                promise=Promise.GENUINE,
                says=f"{_place(record)} holds event {record.event}, of which no delivery was ever "
                "acknowledged",
                records=(record,),
            )


def _identity(history: History) -> Iterator[Broken]:
    """Deliveries of one event carry one id; those of two events, two."""
    records = {record.delivery: record for record in _records(history, history.raw)}
    steps: dict[str, tuple[str, Found]] = {}
    seen: dict[str, Found] = {}
    for attempt in history.attempts:
        record = records.get(attempt.delivery or "")
        if record is None or attempt.items != 1 or attempt.forged:
            continue
        first = seen.setdefault(attempt.step, record)
        if first.event != record.event:
            yield Broken(
                promise=Promise.IDENTITY,
                says=f"{attempt.step} has two ids: {first.event} and {record.event}",
                records=(first, record),
            )
        step, other = steps.setdefault(record.event, (attempt.step, record))
        if step != attempt.step:
            yield Broken(
                promise=Promise.IDENTITY,
                says=f"{step} and {attempt.step} have one id: {record.event}",
                records=(other, record),
            )


def _once(history: History) -> Iterator[Broken]:
    """No event twice in what a stage makes, the topics of all kinds taken together."""
    for link in history.links:
        for topics in (link.writes, *((each,) for each in link.every)):
            first: dict[str, Found] = {}
            for record in (found for topic in topics for found in _records(history, topic)):
                other = first.setdefault(record.event, record)
                if other is not record:
                    yield Broken(
                        promise=Promise.ONCE,
                        says=f"event {record.event} is twice in {_named(topics)}: "
                        f"{_place(other)} and {_place(record)}",
                        records=(other, record),
                    )


def _complete(history: History, link: Link) -> Iterator[Broken]:
    """Every record that went in came out once, and nothing came out that did not go in."""
    read = _records(history, link.reads)
    made = [record for topic in link.writes for record in _records(history, topic)]
    dead = _records(history, link.dead_letters)
    for record, how in _fates(read, made, dead, link).items():
        if how == "open":
            yield Broken(
                promise=Promise.COMPLETE,
                says=f"{link.name} read {_place(record)} (event {record.event}) and nothing came "
                f"of it: it is neither in {_named(link.writes)} nor in {link.dead_letters}",
                records=(record,),
            )
    known = _events(read)
    for topic in (*link.writes, *link.every):
        for record in _records(history, topic):
            if record.event not in known:
                yield Broken(
                    promise=Promise.COMPLETE,
                    says=f"{_place(record)} holds event {record.event}, which is not in "
                    f"{link.reads}",
                    records=(record,),
                )
    for topic in link.every:
        there = _events(_records(history, topic))
        for record in made:
            if record.event not in there:
                yield Broken(
                    promise=Promise.COMPLETE,
                    says=f"event {record.event} is in {record.topic} and not in {topic}",
                    records=(record,),
                )


def _fates(
    read: Iterable[Found], made: Iterable[Found], dead: Iterable[Found], link: Link
) -> dict[Found, str]:
    """For each record of the input: forwarded, dead_lettered, dropped or open.

    Dropped is only a record whose event an earlier record of its partition was forwarded for.
    """
    forwarded = {(record.partition, record.event) for record in made}
    exact = {(record.partition, record.source) for record in made}
    failed = {(record.partition, record.source) for record in dead}
    fates, gone = {}, set[tuple[int, str]]()
    for record in sorted(read, key=lambda each: (each.partition, each.offset)):
        mine, place = (record.partition, record.event), (link.reads, record.offset)
        if (record.partition, place) in failed:
            fates[record] = "dead_lettered"
        elif link.drops_duplicates and mine in gone:
            fates[record] = "dropped"
        elif (record.partition, place) in exact if link.drops_duplicates else mine in forwarded:
            fates[record] = "forwarded"
            gone.add(mine)
        else:
            fates[record] = "open"
    return fates


def _ends(history: History, link: Link) -> Ends:
    read = _records(history, link.reads)
    made = [record for topic in link.writes for record in _records(history, topic)]
    fates = Counter(_fates(read, made, _records(history, link.dead_letters), link).values())
    return Ends(
        stage=link.name,
        read=len(read),
        forwarded=fates["forwarded"],
        dropped=fates["dropped"],
        dead_lettered=fates["dead_lettered"],
        open=fates["open"],
    )


def _order_of_arrival(history: History) -> Iterator[Broken]:
    """An event acknowledged before another one of its subject was first sent lies before it."""
    events = _events_of_steps(history)
    began: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    for attempt in history.attempts:
        for event in events.get(attempt.step, ()):
            if not attempt.forged:
                began[event] = min(began.get(event, attempt.began), attempt.began)
            if attempt.delivery is not None:
                acknowledged[event] = min(acknowledged.get(event, attempt.ended), attempt.ended)
    for records in _firsts_by_subject(_records(history, history.raw)):
        latest: Found | None = None
        for record in records:
            if record.event not in began:
                continue
            if latest is not None and acknowledged[record.event] < began[latest.event]:
                yield Broken(
                    promise=Promise.ORDER,
                    says=f"subject {record.key}: event {record.event} was acknowledged before "
                    f"{latest.event} was sent, and lies behind it in {history.raw}",
                    records=(latest, record),
                )
            if latest is None or began[record.event] > began[latest.event]:
                latest = record


def _order_of_topics(history: History) -> Iterator[Broken]:
    """The order of first append to raw holds in every later topic, subject by subject."""
    place: dict[tuple[str, str], Found] = {}
    for records in _firsts_by_subject(_records(history, history.raw)):
        for record in records:
            place[record.key, record.event] = record
    later = {topic for link in history.links for topic in (*link.writes, *link.every)}
    for topic in sorted(later):
        for records in _firsts_by_subject(_records(history, topic)):
            last: Found | None = None
            for record in records:
                raw = place.get((record.key, record.event))
                if raw is None:
                    continue
                before = place[last.key, last.event] if last is not None else None
                if last is not None and before is not None and raw.offset < before.offset:
                    yield Broken(
                        promise=Promise.ORDER,
                        says=f"subject {record.key}: {record.event} comes before {last.event} in "
                        f"{history.raw} and behind it in {topic}",
                        records=(raw, before, last, record),
                    )
                if before is None or raw.offset > before.offset:
                    last = record


def _positions(history: History) -> Iterator[Broken]:
    """No group has a record of its input still before it."""
    groups = [(link.group, link.reads) for link in history.links]
    groups += [(each.group, each.reads) for each in history.consumers]
    for group, topic in groups:
        committed = history.positions.get(group, {})
        for record in _records(history, topic):
            if record.offset >= committed.get(record.partition, 0):
                yield Broken(
                    promise=Promise.POSITIONS,
                    says=f"group {group} stands at {committed.get(record.partition, 'no offset')} "
                    f"of partition {record.partition}, before {_place(record)}",
                    records=(record,),
                )


def _settled(history: History) -> Iterator[Broken]:
    for (topic, partition), bounds in sorted(history.bounds.items()):
        if bounds.stable_end < bounds.end:
            yield Broken(
                promise=Promise.SETTLED,
                says=f"partition {partition} of {topic} ends at {bounds.end}, but readers may not "
                f"go past {bounds.stable_end}: a transaction is open there",
            )


def _ledger(history: History, consumer: Consumer) -> Iterator[Broken]:
    """What it counted is its queue less its dead letters; its bookings are those that follow."""
    if consumer.counted is None:
        return
    queue = _records(history, consumer.reads)
    queued = _events(queue)
    dead = _events(_records(history, consumer.dead_letters))
    counted = Counter(consumer.counted)
    for record in queue:
        if counted[record.event] == 0 and record.event not in dead:
            yield Broken(
                promise=Promise.LEDGER,
                says=f"event {record.event} is in {consumer.reads} and {consumer.name} has not "
                "counted it",
                records=(record,),
            )
    for event, times in sorted(counted.items()):
        if times > 1 or event not in queued:
            where = f"counted {times} times" if times > 1 else f"not in {consumer.reads}"
            yield Broken(promise=Promise.LEDGER, says=f"{consumer.name}: event {event} is {where}")
    wanted, booked = Counter(consumer.entries_expected), Counter(consumer.entries)
    for sign, entries in (("lacks", wanted - booked), ("has too much:", booked - wanted)):
        for entry in sorted(entries):
            yield Broken(
                promise=Promise.LEDGER,
                says=f"{consumer.name} {sign} {entry.effect} {entry.minor} {entry.currency} "
                f"of event {entry.event}",
            )


def _events_of_steps(history: History) -> dict[str, set[str]]:
    """The events that each step of the client turned out to be, by its acknowledged deliveries."""
    events = defaultdict[str, set[str]](set)
    for record in _records(history, history.raw):
        events[record.delivery].add(record.event)
    steps = defaultdict[str, set[str]](set)
    for attempt in history.attempts:
        if attempt.delivery is not None:
            steps[attempt.step] |= events[attempt.delivery]
    return steps


def _firsts_by_subject(records: Iterable[Found]) -> Iterator[list[Found]]:
    """The first record of each event, in order, subject by subject."""
    subjects: dict[tuple[int, str], dict[str, Found]] = defaultdict(dict)
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        subjects[record.partition, record.key].setdefault(record.event, record)
    return (list(firsts.values()) for firsts in subjects.values())


def _by_shape(broken: Iterable[Broken]) -> list[list[Broken]]:
    """Cases of one promise that are alike (the same topics are involved) come together."""
    groups: dict[tuple[Promise, tuple[str, ...]], list[Broken]] = defaultdict(list)
    for each in broken:
        groups[each.promise, tuple(record.topic for record in each.records)].append(each)
    return list(groups.values())


def _with_more(alike: Sequence[Broken]) -> Broken:
    first = alike[0]
    return Broken(
        promise=first.promise,
        says=first.says,
        attempts=first.attempts,
        records=first.records,
        more=len(alike) - 1,
    )


def _records(history: History, topic: str) -> Sequence[Found]:
    return history.topics.get(topic, ())


def _events(records: Iterable[Found]) -> set[str]:
    return {record.event for record in records}


def _place(record: Found) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def _named(topics: Sequence[str]) -> str:
    return topics[0] if len(topics) == 1 else "one of " + ", ".join(topics)
