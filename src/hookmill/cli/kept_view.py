"""What a handler keeps in its state, looked at from outside: by its changelog, last value per key.

`hookmill lag` counts it, `hookmill trace` asks it what became of one event.
"""

from collections.abc import Iterable, Sequence

import msgspec

from hookmill.cli.progress import reading
from hookmill.cli.setup import Setup
from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.handlers.kept import Kept, decode_parked, read_kept
from hookmill.kafka.changelog import MARK_KEY, Mark
from hookmill.kafka.queue import POSITION
from hookmill.kafka.reader import Reader
from hookmill.pipeline import HandlerTopics

TAIL_OFFSETS = 2_500
"""A mark ends every transaction, which holds at most 2,000 records: so far back there is one."""


class ParkedEvent(msgspec.Struct, frozen=True):
    """An event that is parked: its offset in the queue, and its append time there."""

    subject: bytes
    offset: int
    event_id: str | None
    timestamp_ms: int


class UnknownFormat(HookmillError):
    """The state was written by a release that this one does not understand."""


class KeptView:
    """The state of all partitions of a handler, as far as it was read. `topic` is the cluster's
    name of the changelog; one that is not there keeps nothing."""

    def __init__(self, source: Reader, topic: str) -> None:
        self._source = source
        self._topic = topic
        self._partitions: dict[int, _Partition] = {}

    async def read_on(self, only: int | None = None) -> None:
        """Read what was written since the last time; of one partition if `only` names it.

        Raises UnknownFormat.
        """
        bounds = await self._source.bounds(self._topic)
        ranges = {
            each: (self._start(each, begin, end), end)
            for each, (begin, end) in bounds.items()
            if only in (None, each)
        }
        total = sum(end - start for start, end in ranges.values())
        with reading(self._topic, total, short=True) as read:
            async for records in self._source.read(self._topic, ranges):
                read(len(records))
                for record in records:
                    self._partitions[record.partition].put(record)
        for each, (_, end) in ranges.items():
            self._partitions[each].read_to = end

    def kept(self, partition: int) -> Kept:
        """What is kept on that partition. Raises UnknownFormat."""
        try:
            return read_kept(self._of(partition).values.items())
        except msgspec.MsgspecError as error:
            raise UnknownFormat(f"{self._topic}: {error}") from None

    def parked(self, partition: int) -> list[ParkedEvent]:
        """The events that are parked on that partition, in the order of the queue."""
        return sorted(self._of(partition).parked.values(), key=lambda each: each.offset)

    def positions(self, partition: int, queue: str) -> dict[str, int]:
        """The next offset of the queue and of each retry topic, as the state tells them: they serve
        when the group's own are gone."""
        values = self._of(partition).values
        found = {key.removeprefix(POSITION).decode(): int(value)
                 for key, value in values.items() if key.startswith(POSITION)}  # fmt: skip
        return found | ({queue: next_offset_in(values[MARK_KEY])} if MARK_KEY in values else {})

    def _start(self, partition: int, begin: int, end: int) -> int:
        """Where to read on; at the beginning if the changelog is another one by now."""
        known = self._of(partition)
        if not begin <= known.read_to <= end:
            known = _Partition()
            known.read_to = begin
        self._partitions[partition] = known
        return known.read_to

    def _of(self, partition: int) -> "_Partition":
        return self._partitions.get(partition) or _Partition()


class _Partition:
    """The last value of each key; of a parked record, which may be large, only what is asked of."""

    def __init__(self) -> None:
        self.read_to = -1
        self.values: dict[bytes, bytes] = {}
        self.parked: dict[bytes, ParkedEvent] = {}

    def put(self, record: Record) -> None:
        """Apply one record of the changelog; an empty value forgets the key."""
        key, value = record.key, record.value
        if not value:
            self.values.pop(key, None)
            self.parked.pop(key, None)
        elif key.startswith(b"parked|"):
            self.parked[key] = _parked(record)
            self.values[key] = b""
        else:
            self.values[key] = value


def _parked(record: Record) -> ParkedEvent:
    try:
        kept = decode_parked(record.value)
    except msgspec.MsgspecError as error:
        raise UnknownFormat(f"{record.topic}, offset {record.offset}: {error}") from None
    return ParkedEvent(kept.key, kept.offset, kept.header("ce_id"), kept.timestamp_ms)


def next_offset_in(mark: bytes) -> int:
    """The next input offset that a changelog's mark tells."""
    return msgspec.json.decode(mark, type=Mark).next_input_offset


async def positions_in(source: Reader, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """The next input offsets that a changelog tells, by its last marks; without those that have
    none. A stage begins there when the group's own offset is gone."""
    bounds = await source.bounds(topic)
    tails = {
        each: (max(begin, end - TAIL_OFFSETS), end)
        for each, (begin, end) in bounds.items()
        if each in partitions
    }
    found: dict[int, int] = {}
    async for records in source.read(topic, tails):
        for record in records:
            if record.key == MARK_KEY:
                found[record.partition] = next_offset_in(record.value)
    return found


def retry_delays_secs(setup: Setup, its: HandlerTopics, topics: Iterable[str]) -> list[int]:
    """The configured delays, and those of earlier configurations whose topics are among the
    cluster's `topics` still, ascending."""
    plain = [setup.names.plain(each) or "" for each in topics]
    there = {delay for each in plain if (delay := its.delay_secs(each)) is not None}
    return sorted(there | set(setup.config.handlers[its.handler].retry_delays_secs))
