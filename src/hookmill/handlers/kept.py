"""What a handler keeps in its changelog beside its positions: keys and values, and reading them.

`waiting|subject|event`   an event of that subject waits in a retry topic
`parked|subject|offset`   an event that waits behind such a one: the whole record of the queue
`settled|topic|offset`    what is done although something before it in its topic is not
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from hookmill.core.record import Record

KEPT_VERSION: Final = 1


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits in a retry topic, for people: `at_ms` and `not_before_ms` are epoch
    milliseconds of its failure and of its next attempt, `attempt` counts the failures."""

    topic: str
    reason: str
    attempt: int
    at_ms: int
    not_before_ms: int
    v: Literal[1] = KEPT_VERSION


class Parked(msgspec.Struct, frozen=True):
    """A record of the queue, kept whole: its offset in the queue is committed already."""

    record: Record
    v: Literal[1] = KEPT_VERSION


class Kept(msgspec.Struct):
    """All that was kept: waiting events by subject, parked ones in the order of the queue, and what
    was settled out of order by topic."""

    waiting: dict[bytes, dict[str, Waiting]] = {}
    parked: list[tuple[bytes, int]] = []
    settled: dict[str, set[int]] = {}


def waiting_key(subject: bytes, event_id: str) -> bytes:
    """Where it is kept that this event waits."""
    return b"waiting|%b|%b" % (subject, event_id.encode())


def parked_key(subject: bytes, offset: int) -> bytes:
    """Where the record at that offset of the queue is kept."""
    return b"parked|%b|%d" % (subject, offset)


def settled_key(topic: str, offset: int) -> bytes:
    """Where it is kept that this offset is done."""
    return b"settled|%b|%d" % (topic.encode(), offset)


def encode_parked(record: Record) -> bytes:
    """A record as it is parked."""
    return _ENCODER.encode(Parked(record))


def decode_parked(value: bytes) -> Record:
    """A parked record; raises msgspec.MsgspecError for a format this release does not know."""
    return _PARKED.decode(value).record


def read_kept(items: Iterable[tuple[bytes, bytes]]) -> Kept:
    """Everything that is kept, other keys passed over; raises msgspec.MsgspecError for an unknown
    format."""
    waiting: dict[bytes, dict[str, Waiting]] = defaultdict(dict)
    settled: dict[str, set[int]] = defaultdict(set)
    kept = Kept()
    for key, value in items:
        kind, _, rest = key.partition(b"|")
        name, _, last = rest.rpartition(b"|")
        match kind:
            case b"waiting":
                waiting[name][last.decode()] = _WAITING.decode(value)
            case b"parked":
                kept.parked.append((name, int(last)))
            case b"settled":
                settled[name.decode()].add(int(last))
            case _:
                continue
    kept.parked.sort(key=lambda each: each[1])
    kept.waiting, kept.settled = dict(waiting), dict(settled)
    return kept


_ENCODER = msgspec.msgpack.Encoder()
_PARKED = msgspec.msgpack.Decoder(Parked)
_WAITING = msgspec.json.Decoder(Waiting)
