"""Gathers a run's history from outside: every record that a reader sees, offsets, the ledger."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec

from hookmill import pipeline
from hookmill.chaos.history import Attempt, Bounds, Consumer, Entry, Found, History, Link
from hookmill.core.event import Event, decode
from hookmill.core.ids import normalized_id
from hookmill.core.record import Record
from hookmill.handlers.bookings import Booked, Effect, booking_for, effects_of
from hookmill.handlers.bookings import Entry as Line
from hookmill.kafka.client import Connection
from hookmill.kafka.reader import Reader, reader
from hookmill.stages import headers
from hookmill.stages.letters import redrives_of

LEDGER = "ledger"


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A history, and the longest time in it without a new event in `events-*` (broker's time)."""

    history: History
    silence_secs: float


def links(names: pipeline.Names, handlers: Sequence[str]) -> list[Link]:
    """The stages of the pipeline, where every handler takes every event."""
    writes = {
        "dedup": (pipeline.UNIQUE,),
        "normalize": (pipeline.NORMALIZED,),
        "route": tuple(pipeline.KIND_TOPICS.values()),
    }
    queues = tuple(pipeline.HandlerTopics(name).queue for name in handlers)
    return [
        Link(
            name=stage.name,
            group=names.group(stage.name),
            reads=stage.reads,
            writes=writes[stage.name],
            dead_letters=stage.dead_letters,
            drops_duplicates=stage is pipeline.DEDUP,
            every=queues if stage is pipeline.ROUTE else (),
        )
        for stage in pipeline.STAGES.values()
    ]


async def positions(
    source: Reader, names: pipeline.Names, handlers: Sequence[str]
) -> dict[str, dict[int, int]]:
    """The committed offset of each group and partition."""
    reads = {names.group(stage.name): stage.reads for stage in pipeline.STAGES.values()}
    reads |= {
        names.group(f"handler-{each}"): pipeline.HandlerTopics(each).queue for each in handlers
    }
    found = {}
    for group, topic in reads.items():
        committed = await source.committed(group)
        name = names.topic(topic)
        found[group] = {
            part: offset for (where, part), offset in committed.items() if where == name
        }
    return found


async def observe(
    connection: Connection,
    names: pipeline.Names,
    *,
    topics: Sequence[str],
    handlers: Sequence[str],
    attempts: Sequence[Attempt],
    ledger: Path,
    taken: Mapping[str, Sequence[str]],
) -> Observed:
    """Read everything. `topics` are all there are, without the namespace; `taken` is what the
    services behind handlers took, by handler."""
    records: dict[str, list[Record]] = {}
    ends: dict[str, dict[int, int]] = {}
    async with reader(connection) as source:
        for topic in topics:
            bounds = await source.bounds(names.topic(topic))
            ends[topic] = {partition: end for partition, (_, end) in bounds.items()}
            records[topic] = await source.read_all(names.topic(topic), bounds)
        committed = await positions(source, names, handlers)
    history = History(
        attempts=attempts,
        topics={topic: _found(topic, records[topic], names) for topic in _flow(handlers)},
        raw=pipeline.RAW,
        links=links(names, handlers),
        consumers=[
            _consumer(
                names, name, records[pipeline.HandlerTopics(name).queue], ledger, taken.get(name)
            )
            for name in handlers
        ],
        positions=committed,
        bounds=await _bounds(connection, names, topics, ends),
    )
    return Observed(history=history, silence_secs=_silence_secs(records))


def _flow(handlers: Sequence[str]) -> list[str]:
    """The topics that an event is on its way in, or set aside in: what the checker knows of."""
    stages = pipeline.STAGES.values()
    its = [pipeline.HandlerTopics(name) for name in handlers]
    return [
        *(stage.reads for stage in stages),
        *pipeline.KIND_TOPICS.values(),
        *(each.queue for each in its),
        *(stage.dead_letters for stage in stages),
        *(each.dead_letters for each in its),
    ]


async def _bounds(
    connection: Connection,
    names: pipeline.Names,
    topics: Sequence[str],
    stable: Mapping[str, Mapping[int, int]],
) -> dict[str, dict[int, Bounds]]:
    found = {}
    async with reader(connection, committed=False) as source:
        for topic in topics:
            bounds = await source.bounds(names.topic(topic))
            found[topic] = {
                each: Bounds(stable[topic][each], end) for each, (_, end) in bounds.items()
            }
    return found


def _found(topic: str, records: Sequence[Record], names: pipeline.Names) -> list[Found]:
    before_normalized = {
        pipeline.RAW, pipeline.UNIQUE, pipeline.DEDUP.dead_letters, pipeline.NORMALIZE.dead_letters,
    }  # fmt: skip
    found = []
    for record in records:
        if topic in before_normalized:
            event = normalized_id(headers.dedup_key(record))
        else:
            event = record.header("ce_id") or ""
        found.append(
            Found(
                topic=topic,
                partition=record.partition,
                offset=record.offset,
                key=record.key.decode(errors="replace"),
                event=event,
                delivery=record.header(headers.DELIVERY) or "",
                source=_source(topic, record, names),
                redrives=redrives_of(record),
            )
        )
    return found


def _source(topic: str, record: Record, names: pipeline.Names) -> tuple[str, int] | None:
    if topic == pipeline.RAW:
        return None
    if topic == pipeline.UNIQUE:
        return pipeline.RAW, int(record.header(headers.RAW_OFFSET) or -1)
    failed = record.header(headers.ERROR_TOPIC)
    if failed is not None:
        prefix = names.topic("")
        return failed.removeprefix(prefix), int(record.header(headers.ERROR_OFFSET) or -1)
    return pipeline.RAW, decode(record.value).raw.offset


def _consumer(
    names: pipeline.Names,
    name: str,
    queue: Sequence[Record],
    ledger: Path,
    taken: Sequence[str] | None,
) -> Consumer:
    books = name == LEDGER
    return Consumer(
        name=name,
        group=names.group(f"handler-{name}"),
        reads=pipeline.HandlerTopics(name).queue,
        dead_letters=pipeline.HandlerTopics(name).dead_letters,
        counted=_counted(ledger) if books else None,
        entries=_entries(ledger) if books else (),
        entries_expected=_expected(queue) if books else (),
        taken=taken,
    )


def _counted(ledger: Path) -> list[str]:
    with closing(sqlite3.connect(ledger)) as database:
        return [row[0] for row in database.execute("SELECT event_id FROM events_counted")]


def _entries(ledger: Path) -> list[Entry]:
    query = (
        "SELECT event_id, effect || ': ' || side || ' ' || account, coalesce(minor, ''), "
        "coalesce(currency, '') FROM bookings JOIN entries ON booking = number"
    )
    with closing(sqlite3.connect(ledger)) as database:
        return [Entry(*row) for row in database.execute(query)]


def _expected(queue: Sequence[Record]) -> list[Entry]:
    """What the same events give when they are booked once, in order, by nobody who is killed."""
    books: dict[tuple[str, str], Booked] = {}
    entries = []
    for event in {(event := decode(record.value)).id: event for record in queue}.values():
        for effect in effects_of(event):
            booking = booking_for(effect, books.get((effect.resource, effect.name)))
            if booking is not None:
                books[effect.resource, effect.name] = booking.booked
                entries += [_entry(event, effect, each) for each in booking.entries]
    return entries


def _entry(event: Event, effect: Effect, line: Line) -> Entry:
    minor, currency = (line.amount.minor, line.amount.currency) if line.amount else ("", "")
    return Entry(event.id, f"{effect.name}: {line.side} {line.account}", minor, currency)


def _silence_secs(records: Mapping[str, Sequence[Record]]) -> float:
    times = sorted(
        record.timestamp_ms
        for topic in pipeline.KIND_TOPICS.values()
        for record in records.get(topic, ())
    )
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return max(gaps, default=0) / 1000
