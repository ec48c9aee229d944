"""The order of a handler's events on one partition, and what each transaction says of it: pure.

Each subject is a lane: its events are handled one after another. An event that waits in a retry
topic blocks its lane; what comes behind it is parked in the state once the queue's position has
to pass it, and is handled, in order, when the lane is free again. Lanes overtake each other, so
what is settled before its turn is noted in the state until the position has caught up.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Literal

import msgspec

from hookmill.core.event import Event
from hookmill.core.record import Output, Record
from hookmill.handlers.kept import (
    Kept,
    Waiting,
    encode_parked,
    parked_key,
    settled_key,
    waiting_key,
)

Change = tuple[bytes, bytes | None]

BATCH_ITEMS_MAX = 1_000
BATCH_BYTES_MAX = 4 * 1024 * 1024


class Item(msgspec.Struct, eq=False, kw_only=True):
    """A record on its way through the handler: of the queue, or of a retry topic.

    A parked one has no record in memory once that is committed; who handles it then puts record and
    event there again. `stage` goes from `waits` to `runs` to `settled` to `written`.
    """

    topic: str
    offset: int
    subject: bytes
    event_id: str = ""
    record: Record | None = None
    event: Event | None = None
    parked: bool = False
    stage: Literal["waits", "runs", "settled", "written"] = "waits"
    output: Output | None = None
    change: Change | None = None

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return len(self.record.value) if self.record is not None else 0


class Ending(msgspec.Struct, frozen=True):
    """How it ended with an item: handled (neither), set aside (`output` is the dead letter), or to
    wait (`output` goes to a retry topic, `waiting` says so in the state)."""

    output: Output | None = None
    waiting: Waiting | None = None


class Batch(msgspec.Struct, frozen=True):
    """One transaction: records to write, changes of the state, the next offset of each topic."""

    outputs: list[Output]
    changes: list[Change]
    offsets: dict[str, int]


class _Lane(msgspec.Struct, eq=False):
    """A subject: what stands in it, and what runs."""

    items: deque[Item] = msgspec.field(default_factory=deque)
    running: Item | None = None
    ready: bool = False


class _Stream(msgspec.Struct, eq=False):
    """The records of a topic from its position on, and which of them are noted as settled."""

    items: deque[Item] = msgspec.field(default_factory=deque)
    settled: set[int] = msgspec.field(default_factory=set)
    bytes: int = 0


class Lanes:
    """Everything that is under way on one partition. `queue` is the queue's topic.

    With `ordered=False` every record has a lane of its own, and none is ever parked.
    """

    def __init__(self, queue: str, kept: Kept, *, ordered: bool) -> None:
        self._queue = queue
        self._ordered = ordered
        self._streams: dict[str, _Stream] = defaultdict(_Stream)
        self._lanes: dict[object, _Lane] = {}
        self._ready: deque[object] = deque()
        self._fresh: deque[Item] = deque()
        self._parking: list[Item] = []
        self._waiting = {subject: set(events) for subject, events in kept.waiting.items()}
        self.parked = 0
        for topic, offsets in kept.settled.items():
            self._streams[topic].settled |= offsets
        for subject, offset in kept.parked:
            item = Item(topic=queue, offset=offset, subject=subject, parked=True)
            self.parked += 1
            self.line_up(item)

    @property
    def waiting(self) -> int:
        """How many events wait in retry topics."""
        return sum(map(len, self._waiting.values()))

    @property
    def ready(self) -> bool:
        """Whether `take` gives something."""
        return bool(self._ready)

    def held(self, topic: str) -> int:
        """How many records of the topic are behind its position, in memory."""
        return len(self._streams[topic].items)

    def held_bytes(self, topic: str) -> int:
        """How many bytes they hold."""
        return self._streams[topic].bytes

    def oldest_ms(self, topic: str) -> int | None:
        """Append time of the first record that holds the topic's position, epoch milliseconds."""
        items = self._streams[topic].items
        return items[0].record.timestamp_ms if items and items[0].record is not None else None

    def enter(self, topic: str, record: Record, event: Event | None, event_id: str) -> Item | None:
        """A record was read; None if it was settled before. Those of a topic come in order."""
        stream = self._streams[topic]
        item = Item(
            topic=topic,
            offset=record.offset,
            subject=record.key,
            event_id=event_id,
            record=record,
            event=event,
        )
        stream.items.append(item)
        stream.bytes += item.size_bytes
        if record.offset in stream.settled:
            item.stage = "written"
            return None
        return item

    def line_up(self, item: Item) -> None:
        """It may be handled when its turn comes; one that waited in a retry topic comes first."""
        key = self._key(item)
        lane = self._lane(key)
        if item.topic == self._queue:
            lane.items.append(item)
        else:
            lane.items.appendleft(item)
        self._rouse(key, lane)

    def take(self) -> Item | None:
        """The next one that may be handled now."""
        while self._ready:
            key = self._ready.popleft()
            lane = self._lanes[key]
            lane.ready = False
            if self._may_run(lane):
                item = lane.running = lane.items.popleft()
                item.stage = "runs"
                return item
        return None

    def settle(self, item: Item, ending: Ending) -> None:
        """It came to an end, for now or for good; its lane goes on unless it waits."""
        key = self._key(item)
        lane = self._lane(key)
        waiting = self._waiting.setdefault(item.subject, set())
        kept_at = waiting_key(item.subject, item.event_id)
        if ending.waiting is not None:
            waiting.add(item.event_id)
            item.change = (kept_at, msgspec.json.encode(ending.waiting))
        elif item.event_id in waiting:
            waiting.discard(item.event_id)
            item.change = (kept_at, None)
        if not waiting:
            del self._waiting[item.subject]
        if item.parked:
            self.parked -= 1
        item.output, item.stage = ending.output, "settled"
        self._fresh.append(item)
        if lane.running is item:
            lane.running = None
        self._rouse(key, lane)

    def batch(self) -> Batch | None:
        """What is to be committed now, None if nothing is; the caller commits it or gives up.

        To be asked once the one before is committed: only then can what that parked be found in the
        state, and may its turn have come before.
        """
        for item in self._parking:
            if item.stage == "waits":
                item.record = item.event = None
        self._parking.clear()
        outputs: list[Output] = []
        changes: dict[bytes, bytes | None] = {}
        written = list(self._written_now())
        for item in written:
            if item.output is not None:
                outputs.append(item.output)
            if item.change is not None:
                changes[item.change[0]] = item.change[1]
            if item.parked:
                changes[parked_key(item.subject, item.offset)] = None
        offsets = {}
        for topic, stream in self._streams.items():
            position = self._advance(topic, stream, changes)
            if position is not None:
                offsets[topic] = position
        for item in written:
            self._note(item, offsets.get(item.topic, 0), changes)
        if not (outputs or changes or offsets):
            return None
        return Batch(outputs, list(changes.items()), offsets)

    def _written_now(self) -> Iterator[Item]:
        """What was settled since the last batch, in that order, as much as one may hold."""
        items = size_bytes = 0
        while self._fresh and items < BATCH_ITEMS_MAX and size_bytes < BATCH_BYTES_MAX:
            item = self._fresh.popleft()
            item.stage = "written"
            items += 1
            size_bytes += len(item.output.value or b"") if item.output is not None else 0
            yield item

    def _advance(
        self, topic: str, stream: _Stream, changes: dict[bytes, bytes | None]
    ) -> int | None:
        """Pass what is written, and park what is blocked; the position, None where it stays."""
        position, parked_bytes = None, 0
        while stream.items and parked_bytes < BATCH_BYTES_MAX:
            item = stream.items[0]
            if item.stage == "waits" and self._is_blocked(item) and item.record is not None:
                changes[parked_key(item.subject, item.offset)] = encode_parked(item.record)
                parked_bytes += item.size_bytes
                self.parked += 1
            elif item.stage != "written":
                break
            stream.items.popleft()
            stream.bytes -= item.size_bytes
            if item.stage == "waits":
                item.parked = True
                self._parking.append(item)
            if item.offset in stream.settled:
                stream.settled.discard(item.offset)
                changes[settled_key(topic, item.offset)] = None
            position = item.offset + 1
        return position

    def _note(self, item: Item, position: int, changes: dict[bytes, bytes | None]) -> None:
        """What is settled before its turn is noted, until the position has passed it."""
        if not item.parked and item.offset >= position:
            self._streams[item.topic].settled.add(item.offset)
            changes[settled_key(item.topic, item.offset)] = b"1"

    def _is_blocked(self, item: Item) -> bool:
        """Whether it stands behind an event that waits in a retry topic, or behind a parked one."""
        if item.topic != self._queue or not self._ordered:
            return False
        lane = self._lanes[item.subject]
        ahead = lane.running or lane.items[0]
        return item.subject in self._waiting or (ahead is not item and ahead.parked)

    def _may_run(self, lane: _Lane) -> bool:
        if lane.running is not None or not lane.items:
            return False
        first = lane.items[0]
        waits = self._ordered and first.topic == self._queue and first.subject in self._waiting
        return not waits

    def _rouse(self, key: object, lane: _Lane) -> None:
        """A lane that may go on gets its turn; one that is empty is forgotten."""
        if not lane.ready and self._may_run(lane):
            lane.ready = True
            self._ready.append(key)
        elif not (lane.items or lane.running or lane.ready):
            del self._lanes[key]

    def _key(self, item: Item) -> object:
        return item.subject if self._ordered else (item.topic, item.offset)

    def _lane(self, key: object) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        return lane
