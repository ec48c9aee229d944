"""Finds in Kafka what an id names: deliveries as they came in, events as they were normalized."""

from collections.abc import AsyncIterator

import msgspec

from hookmill import pipeline
from hookmill.cli.progress import reading
from hookmill.core.ids import bounded, normalized_id, uuid7_epoch_ms
from hookmill.core.record import Record
from hookmill.kafka.reader import Reader
from hookmill.stages import headers

CLOCK_MARGIN_MS = 60_000
DELIVERY_SPAN_MS = 600_000


class Finder:
    """Looks back as far as `since_ms`; a delivery id says itself when that was."""

    def __init__(self, names: pipeline.Names, source: Reader, since_ms: int) -> None:
        self._names = names
        self._source = source
        self._since_ms = since_ms

    async def deliveries(self, id: str) -> list[Record]:
        """The first record of every delivery that the id names, in order of time."""
        at_ms = uuid7_epoch_ms(id)
        start_ms = self._since_ms if at_ms is None else at_ms - CLOCK_MARGIN_MS
        end_ms = None if at_ms is None else at_ms + DELIVERY_SPAN_MS
        named = {id}
        if at_ms is None:
            spoken = [each async for each in self._events_since(start_ms) if _speaks_of(each, id)]
            named = {each.header(headers.DELIVERY) or "" for each in spoken}
        found = []
        for topic in (pipeline.RAW, pipeline.REJECTED):
            async for record in self._scan(topic, start_ms, end_ms):
                if record.header(headers.DELIVERY) in named or _is_called(record, id):
                    found.append(record)
        return sorted(found, key=lambda record: (record.timestamp_ms, record.offset))

    async def events(self, id: str) -> list[Record]:
        """The record in `events-normalized` of every event that the id names, in order of time.

        A redelivery names the event that was first: it may be older than the delivery.
        """
        start_ms, wanted = self._since_ms, {id}
        at_ms = uuid7_epoch_ms(id)
        if at_ms is not None:
            start_ms = min(start_ms, at_ms - CLOCK_MARGIN_MS)
            kept = [each for each in await self.deliveries(id) if not each.header(headers.REASON)]
            wanted = {normalized_id(headers.dedup_key(each)) for each in kept}
            if not wanted:
                return []
        found = [
            record
            async for record in self._events_since(start_ms)
            if record.header("ce_id") in wanted
            or (at_ms is None and (_is_called(record, id) or _speaks_of(record, id)))
        ]
        return sorted(found, key=lambda record: (record.timestamp_ms, record.offset))

    def _events_since(self, start_ms: int) -> AsyncIterator[Record]:
        return self._scan(pipeline.NORMALIZED, start_ms, None)

    async def _scan(self, topic: str, start_ms: int, end_ms: int | None) -> AsyncIterator[Record]:
        name = self._names.topic(topic)
        ranges = await self._source.since(name, start_ms)
        if end_ms is not None:
            ends = await self._source.since(name, end_ms)
            ranges = {each: (start, ends[each][0]) for each, (start, _) in ranges.items()}
        total = sum(end - start for start, end in ranges.values())
        with reading(name, total) as read:
            async for records in self._source.read(name, ranges):
                read(len(records))
                for record in records:
                    yield record


def _is_called(record: Record, id: str) -> bool:
    if record.header(headers.EVENT_ID) == bounded(id):
        return True
    if record.key.partition(b"|")[2] == bounded(id).encode():
        return True
    return id.startswith("hm_") and normalized_id(headers.dedup_key(record)) == id


def _speaks_of(event: Record, id: str) -> bool:
    """Whether a normalized event has the id in it: of a refund, an order, a resource."""
    wanted = msgspec.json.encode(id)
    return wanted in event.value or wanted[:-1] + b":" in event.value
