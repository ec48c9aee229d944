"""Counts the dead letters that nobody has decided about, reading on a little in each round."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.kafka.reader import Reader
from hookmill.pipeline import DECISIONS, Names
from hookmill.stages.letters import Decision, Place, place_of

READ_OFFSETS_MAX = 5_000
"""So many offsets of letters, and of decisions as many, are read in one round."""

Ranges = dict[int, tuple[int, int]]


class OpenLetters:
    """Which letters are open, as far as was read. Of each it keeps its place and its time only.

    A decision is about a letter of a place and of a time: a topic that is made anew has other
    letters at the same places.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        self._decided: dict[Place, int] = {}

    def letter(self, topic: str, record: Record) -> None:
        """A record of the dead-letter topic of that name (without the namespace)."""
        if self._decided.get(Place(topic, record.partition, record.offset)) != record.timestamp_ms:
            self._open[topic, record.partition][record.offset] = record.timestamp_ms

    def decision(self, record: Record) -> None:
        """A record of `dlq-decisions`; without a value its letter is gone.

        Raises HookmillError for one that this version cannot read.
        """
        place = place_of(record.key.decode("utf-8", "replace").replace("|", ":"))
        if place is None:
            return
        if not record.value:
            self._decided.pop(place, None)
            return
        try:
            letter_ms = _DECISIONS.decode(record.value).letter_ms
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HookmillError(f"{record.topic} {record.offset} is no decision: {error}") from None
        self._decided[place] = letter_ms
        letters = self._open[place.topic, place.partition]
        if letters.get(place.offset) == letter_ms:
            del letters[place.offset]

    def begins(self, topic: str, partition: int, offset: int) -> None:
        """What lies before that offset was deleted by the broker."""
        letters = self._open[topic, partition]
        for gone in [each for each in letters if each < offset]:
            del letters[gone]

    def forget(self, topic: str, partition: int) -> None:
        """The partition is to be read anew."""
        self._open.pop((topic, partition), None)

    def count(self, topic: str) -> int:
        """How many letters of that topic are open."""
        return sum(len(letters) for (name, _), letters in self._open.items() if name == topic)


_DECISIONS = msgspec.json.Decoder(Decision)


class Letterbox:
    """Reads dead letters and decisions on, at most `READ_OFFSETS_MAX` of each in a round."""

    def __init__(self, names: Names, topics: Iterable[str]) -> None:
        self._names = names
        self._topics = list(topics)
        self._read_to: dict[tuple[str, int], int] = {}
        self._letters = OpenLetters()
        self._complete = False

    async def counts(self, source: Reader) -> dict[str, int]:
        """Open letters by topic (the cluster's name); empty until all was read once."""
        behind = await self._read_on(source, self._topics)
        behind += await self._read_on(source, [DECISIONS])
        self._complete = self._complete or not behind
        if not self._complete:
            return {}
        return {self._names.topic(each): self._letters.count(each) for each in self._topics}

    async def _read_on(self, source: Reader, topics: Iterable[str]) -> int:
        """Read some; returns how many offsets are left for another round."""
        room, behind = READ_OFFSETS_MAX, 0
        for topic in topics:
            name = self._names.topic(topic)
            ranges, left = portion(self._ranges(topic, await source.bounds(name)), room)
            async for records in source.read(name, ranges):
                for record in records:
                    self._take(topic, record)
            for partition, (start, end) in ranges.items():
                self._read_to[topic, partition] = end
                room -= end - start
            behind += left
        return behind

    def _take(self, topic: str, record: Record) -> None:
        if topic == DECISIONS:
            self._letters.decision(record)
        else:
            self._letters.letter(topic, record)

    def _ranges(self, topic: str, bounds: Mapping[int, tuple[int, int]]) -> Ranges:
        """From where it stands to the end; from the beginning of a topic that was made anew."""
        ranges = {}
        for partition, (begin, end) in bounds.items():
            read_to = self._read_to.get((topic, partition), begin)
            if read_to > end:
                self._letters.forget(topic, partition)
                read_to = begin
            self._letters.begins(topic, partition, begin)
            ranges[partition] = (max(begin, read_to), end)
        return ranges


def portion(ranges: Mapping[int, tuple[int, int]], offsets_max: int) -> tuple[Ranges, int]:
    """So much of the ranges as there is room for, and how many offsets are left."""
    taken: Ranges = {}
    left = 0
    for partition, (start, end) in sorted(ranges.items()):
        stop = min(end, start + offsets_max)
        taken[partition] = (start, stop)
        offsets_max -= stop - start
        left += end - stop
    return taken, left
