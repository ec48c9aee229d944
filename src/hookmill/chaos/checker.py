"""Holds a whole history against the promises, and shows the smallest set that breaks one. Pure.

acknowledged ⊆ raw ⊆ unique (by event) = normalized = the union of events-* = what the ledger
counted, less the dead letters of each stage; no event twice; order per subject; every record
ended; every group at the end; no open transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from hookmill.chaos.handled import broken_by
from hookmill.chaos.history import (
    Broken,
    Ends,
    Found,
    History,
    Link,
    Promise,
    Verdict,
    events_of,
    in_order,
)


def check(history: History) -> Verdict:
    """Every promise, each with the first case that breaks it and the number of further ones."""
    fates = {link.name: _fates(history, link) for link in history.links}
    losses = [list(_lost(history, link, fates[link.name])) for link in history.links]
    families = [list(family) for family in _families(history, losses)]
    found = [each for family in families for each in family]
    lost = [record for several in losses for each in several for record in each.records]
    return Verdict(
        broken=[_with_more(several) for family in families for several in _by_topics(family)],
        ends=[_ends(link, fates[link.name]) for link in history.links],
        acknowledged=sum(each.delivery is not None for each in history.attempts),
        events=len(events_of(history.of(history.raw))),
        lost=sum(each.promise is Promise.KEPT for each in found) + len(events_of(lost)),
        twice=len(events_of(each.records[0] for each in found if each.promise is Promise.ONCE)),
    )


def _families(history: History, losses: Sequence[Iterable[Broken]]) -> Iterator[Iterable[Broken]]:
    """All that is broken; cases that are alike come in one family. `losses` are the stages'."""
    yield _kept(history)
    yield _forged(history)
    yield _unsent(history)
    yield _identity(history)
    for link in history.links:
        yield _once(history, link)
        yield _ended_twice(history, link)
    for link, lost in zip(history.links, losses, strict=True):
        yield lost
        yield _from_nowhere(history, link)
    yield _order_of_arrival(history)
    yield _order_of_topics(history)
    yield from (_positions(history, each.group, each.reads) for each in history.links)
    yield from (_positions(history, each.group, each.reads) for each in history.consumers)
    yield _settled(history)
    for consumer in history.consumers:
        yield from broken_by(history, consumer)


def _kept(history: History) -> Iterator[Broken]:
    """Every item of an acknowledged delivery lies in raw."""
    kept = _events_of_deliveries(history)
    for attempt in history.attempts:
        if attempt.delivery is not None and len(kept[attempt.delivery]) < attempt.items:
            says = (
                f"delivery {attempt.delivery} ({attempt.step}) was acknowledged; "
                f"{len(kept[attempt.delivery])} of its {attempt.items} items lie in {history.raw}"
            )
            yield Broken(promise=Promise.KEPT, says=says, attempts=(attempt,))


def _forged(history: History) -> Iterator[Broken]:
    """A forgery is never acknowledged."""
    for attempt in history.attempts:
        if attempt.forged and attempt.delivery is not None:
            says = f"a forgery of {attempt.step} was acknowledged"
            yield Broken(promise=Promise.GENUINE, says=says, attempts=(attempt,))


def _unsent(history: History) -> Iterator[Broken]:
    """Raw holds no delivery that the client did not make.

    A genuine attempt that was not acknowledged, nor refused with a 4xx, may have been kept.
    """
    events, kept = _events_of_steps(history), _events_of_deliveries(history)
    held = {each.delivery: each for each in history.attempts if each.delivery is not None}
    allowed, unknown = Counter[str](), 0
    for attempt in history.attempts:
        if attempt.delivery is None and not attempt.forged and attempt.status // 100 != 4:
            allowed.update(events.get(attempt.step, ()))
            unknown += len(events.get(attempt.step, ())) < attempt.items
    known = {event for several in events.values() for event in several}
    taken = defaultdict[str, set[str]](set)
    for record in history.of(history.raw):
        answered = held.get(record.delivery)
        if answered is not None:
            if list(kept[record.delivery]).index(record.event) < answered.items:
                continue
        else:
            several = taken[record.event if record.event in known else ""]
            room = allowed[record.event] if record.event in known else unknown
            if record.delivery in several or len(several) < room:
                several.add(record.delivery)
                continue
        says = f"{record.place} is of delivery {record.delivery}, which the client did not send"
        yield Broken(promise=Promise.GENUINE, says=says, records=(record,))


def _identity(history: History) -> Iterator[Broken]:
    """Deliveries of one event carry one id; those of two events, two."""
    records = {record.delivery: record for record in history.of(history.raw)}
    steps: dict[str, tuple[str, Found]] = {}
    seen: dict[str, Found] = {}
    for attempt in history.attempts:
        record = records.get(attempt.delivery or "")
        if record is None or attempt.items != 1 or attempt.forged:
            continue
        first = seen.setdefault(attempt.step, record)
        if first.event != record.event:
            says = f"{attempt.step} has two ids: {first.event} and {record.event}"
            yield Broken(promise=Promise.IDENTITY, says=says, records=(first, record))
        step, other = steps.setdefault(record.event, (attempt.step, record))
        if step != attempt.step:
            says = f"{step} and {attempt.step} have one id: {record.event}"
            yield Broken(promise=Promise.IDENTITY, says=says, records=(other, record))


def _once(history: History, link: Link) -> Iterator[Broken]:
    """No event twice in what a stage makes, all kinds together; a redrive is one record more."""
    for topics in (link.writes, *((each,) for each in link.every)):
        first: dict[tuple[str, int], Found] = {}
        for record in (found for topic in topics for found in history.of(topic)):
            other = first.setdefault((record.event, record.redrives), record)
            if other is not record:
                says = (
                    f"event {record.event} is twice in {_named(topics)}: "
                    f"{other.place} and {record.place}"
                )
                yield Broken(promise=Promise.ONCE, says=says, records=(other, record))


def _ended_twice(history: History, link: Link) -> Iterator[Broken]:
    """No record is set aside twice, or set aside and forwarded as well."""
    copies = Counter(record.event for record in history.of(link.reads))
    sources: dict[tuple[object, ...], Found] = {}
    events: dict[str, Found] = {}
    for record in (each for to in (*link.writes, *link.every) for each in history.of(to)):
        events.setdefault(record.event, record)
        if link.drops_duplicates:
            sources.setdefault((record.partition, record.source), record)
    for letter in history.of(link.dead_letters):
        other = sources.setdefault((letter.partition, letter.source), letter)
        if other is letter and not link.drops_duplicates and copies[letter.event] == 1:
            other = events.get(letter.event, letter)
        if other is not letter:
            says = (
                f"{link.name} ended one record of event {letter.event} twice: "
                f"{other.place} and {letter.place}"
            )
            yield Broken(promise=Promise.ONCE, says=says, records=(other, letter))


def _lost(history: History, link: Link, fates: Mapping[Found, str]) -> Iterator[Broken]:
    """Every record that went in came out."""
    for record, how in fates.items():
        if how == "open":
            says = (
                f"{link.name} read {record.place} (event {record.event}) and nothing came "
                f"of it: it is neither in {_named(link.writes)} nor in {link.dead_letters}"
            )
            yield Broken(promise=Promise.COMPLETE, says=says, records=(record,))
    for topic in link.every:
        missing = events_of(fates) - events_of(history.of(topic))
        for record in _made(history, link):
            if record.event in missing:
                says = f"event {record.event} is in {record.topic} and not in {topic}"
                yield Broken(promise=Promise.COMPLETE, says=says, records=(record,))


def _from_nowhere(history: History, link: Link) -> Iterator[Broken]:
    """Nothing came out that did not go in."""
    read = history.of(link.reads)
    known = events_of(read)
    places = {(record.partition, (link.reads, record.offset)) for record in read}
    strange = [record for topic in (*link.writes, *link.every)
               for record in history.of(topic) if record.event not in known]  # fmt: skip
    strange += [letter for letter in history.of(link.dead_letters)
                if (letter.partition, letter.source) not in places]  # fmt: skip
    for record in strange:
        says = f"{record.place} holds event {record.event}, which is not in {link.reads}"
        yield Broken(promise=Promise.COMPLETE, says=says, records=(record,))


def _fates(history: History, link: Link) -> dict[Found, str]:
    """For each record of the input: forwarded, dead_lettered, dropped or open.

    Dropped is only a record whose event an earlier record of its partition was forwarded for.
    """
    made = _made(history, link)
    forwarded = {(record.partition, record.event) for record in made}
    exact = {(record.partition, record.source, record.event) for record in made}
    dead = history.of(link.dead_letters)
    failed = {(record.partition, record.source) for record in dead}
    fates, gone = {}, set[tuple[int, str]]()
    for record in in_order(history.of(link.reads)):
        mine, place = (record.partition, record.event), (link.reads, record.offset)
        goes_on = (record.partition, place, record.event) in exact
        if (record.partition, place) in failed:
            fates[record] = "dead_lettered"
        elif goes_on if link.drops_duplicates else mine in forwarded:
            fates[record] = "forwarded"
            gone.add(mine)
        elif link.drops_duplicates and mine in gone:
            fates[record] = "dropped"
        else:
            fates[record] = "open"
    return fates


def _ends(link: Link, fates: Mapping[Found, str]) -> Ends:
    counts = Counter(fates.values())
    ways = {how: counts[how] for how in ("forwarded", "dropped", "dead_lettered", "open")}
    return Ends(stage=link.name, read=len(fates), **ways)


def _order_of_arrival(history: History) -> Iterator[Broken]:
    """An event acknowledged before another one of its subject was first sent lies before it."""
    events = _events_of_steps(history)
    began: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    for attempt in history.attempts:
        for event in events.get(attempt.step, ()) if not attempt.forged else ():
            began[event] = min(began.get(event, attempt.began), attempt.began)
            if attempt.delivery is not None:
                acknowledged[event] = min(acknowledged.get(event, attempt.ended), attempt.ended)
    for records in _firsts_by_subject(history.of(history.raw)):
        latest: Found | None = None
        for record in records:
            if record.event not in began:
                continue
            if latest is not None and acknowledged[record.event] < began[latest.event]:
                says = (
                    f"subject {record.key}: event {record.event} was acknowledged before "
                    f"{latest.event} was sent, and lies behind it in {history.raw}"
                )
                yield Broken(promise=Promise.ORDER, says=says, records=(latest, record))
            if latest is None or began[record.event] > began[latest.event]:
                latest = record


def _order_of_topics(history: History) -> Iterator[Broken]:
    """The order in raw holds in every later topic, subject by subject; redrives come later."""
    places: dict[tuple[int, int, str], Found] = {}
    firsts: dict[str, Found] = {}
    for record in in_order(history.of(history.raw)):
        places[record.partition, record.offset, record.event] = record
        firsts.setdefault(record.event, record)
    later = {topic for link in history.links for topic in (*link.writes, *link.every)}
    for topic in sorted(later):
        seen = set[str]()
        last: dict[tuple[int, str], tuple[Found, Found]] = {}
        for record in in_order(r for r in history.of(topic) if not r.redrives):
            made_of, offset = record.source or ("", 0)
            raw = places.get((record.partition, offset, record.event))
            raw = raw if made_of == history.raw and raw else firsts.get(record.event)
            if raw is None or raw.partition != record.partition or record.event in seen:
                continue
            seen.add(record.event)
            before, ahead = last.get((raw.partition, raw.key), (raw, record))
            if raw.offset < before.offset:
                says = (
                    f"subject {raw.key}: {raw.event} comes before {before.event} in "
                    f"{history.raw} and behind it in {topic}"
                )
                yield Broken(promise=Promise.ORDER, says=says, records=(raw, before, ahead, record))
            else:
                last[raw.partition, raw.key] = raw, record


def _positions(history: History, group: str, topic: str) -> Iterator[Broken]:
    """The group has no record of its input still before it."""
    committed = history.positions.get(group, {})
    for record in history.of(topic):
        if record.offset >= committed.get(record.partition, 0):
            at = committed.get(record.partition, "no offset")
            says = f"group {group} stands at {at}, before {record.place}"
            yield Broken(promise=Promise.POSITIONS, says=says, records=(record,))


def _settled(history: History) -> Iterator[Broken]:
    ends = ((topic, *each) for topic, several in history.bounds.items() for each in several.items())
    for topic, partition, bounds in sorted(ends, key=lambda each: each[:2]):
        if bounds.stable_end < bounds.end:
            says = f"a transaction is open in {topic}[{partition}] at {bounds.stable_end}"
            yield Broken(promise=Promise.SETTLED, says=says)


def _events_of_deliveries(history: History) -> defaultdict[str, dict[str, None]]:
    """The events that lie in raw under a delivery's id, in order."""
    events = defaultdict[str, dict[str, None]](dict)
    for record in history.of(history.raw):
        events[record.delivery][record.event] = None
    return events


def _events_of_steps(history: History) -> dict[str, set[str]]:
    """The events that each step of the client turned out to be, by its acknowledged deliveries."""
    events = _events_of_deliveries(history)
    steps = defaultdict[str, set[str]](set)
    for attempt in history.attempts:
        if attempt.delivery is not None and not attempt.forged:
            steps[attempt.step].update(events[attempt.delivery])
    return steps


def _firsts_by_subject(records: Iterable[Found]) -> Iterator[list[Found]]:
    """The first record of each event, in order, subject by subject."""
    subjects: dict[tuple[int, str], dict[str, Found]] = defaultdict(dict)
    for record in in_order(records):
        subjects[record.partition, record.key].setdefault(record.event, record)
    return (list(firsts.values()) for firsts in subjects.values())


def _by_topics(family: Iterable[Broken]) -> list[list[Broken]]:
    """Cases of a family that involve the same topics come together."""
    groups: dict[tuple[str, ...], list[Broken]] = defaultdict(list)
    for each in family:
        groups[tuple(record.topic for record in each.records)].append(each)
    return list(groups.values())


def _with_more(alike: Sequence[Broken]) -> Broken:
    return msgspec.structs.replace(alike[0], more=len(alike) - 1)


def _made(history: History, link: Link) -> list[Found]:
    return [record for topic in link.writes for record in history.of(topic)]


def _named(topics: Sequence[str]) -> str:
    return topics[0] if len(topics) == 1 else "one of " + ", ".join(topics)
