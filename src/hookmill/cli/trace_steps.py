"""The steps that `hookmill trace` shows: a record on its way, or a note on what became of it."""

from collections.abc import AsyncIterator

import msgspec

from hookmill.core.record import Record
from hookmill.core.times import from_epoch_us
from hookmill.kafka.reader import Reader
from hookmill.stages import headers
from hookmill.stages.letters import place_of, redrives_of


class Step(msgspec.Struct, frozen=True):
    """One record on the way, and what it means."""

    at: str | None
    after_ms: int
    topic: str
    position: str
    outcome: str


def step(first: Record, record: Record, outcome: str) -> Step:
    """The step that a record is, so long after the first one."""
    at = from_epoch_us(record.timestamp_ms * 1000)
    after_ms = record.timestamp_ms - first.timestamp_ms
    return Step(at, after_ms, record.topic, f"{record.partition}:{record.offset}", outcome)


def note(record: Record, group: str, outcome: str) -> Step:
    """What a group made of a record, or has still to do with it: it has no time of its own."""
    return Step(None, 0, group, f"{record.partition}:{record.offset}", outcome)


async def same_delivery(source: Reader, topic: str, first: Record) -> AsyncIterator[Record]:
    """The records of a topic of the cluster that were made of that one, in their order."""
    delivery, event_id = first.header(headers.DELIVERY), first.header(headers.EVENT_ID)
    ranges = await source.since(topic, first.timestamp_ms)
    here = {each: span for each, span in ranges.items() if each == first.partition}
    async for records in source.read(topic, here):
        for record in records:
            if (record.header(headers.DELIVERY), record.header(headers.EVENT_ID)) == (
                delivery or "",
                event_id,
            ):
                yield record


def set_aside(record: Record) -> str:
    """What a dead letter says of itself."""
    reason, detail = record.header(headers.ERROR_REASON), record.header(headers.ERROR_DETAIL)
    again = f" after {_redrives(record)}" if redrives_of(record) else ""
    return f"set aside{again}: {reason}" + (f" ({detail})" if detail else "")


def sent_again(record: Record) -> str:
    """What a record that lies in its topic once more says of where it came from."""
    letter = place_of(record.header(headers.REDRIVEN_FROM) or "")
    if letter is None:
        return "queued again"
    return f"sent again from {letter}, {_redrives(record)} so far"


def _redrives(record: Record) -> str:
    times = redrives_of(record)
    return "1 redrive" if times == 1 else f"{times} redrives"


def clock(epoch_ms: int, now_ms: int) -> str:
    """A time for people: the time of day in UTC, with the date where it is not today's."""
    text, today = from_epoch_us(epoch_ms * 1000) or "?", from_epoch_us(now_ms * 1000) or ""
    return f"{text[11:19]}Z" if text[:10] == today[:10] else f"{text[:19]}Z"
