"""Dead letters: what is said of one, which are meant, what is decided of it, how it goes again.

Pure. A letter's decision is kept in `dlq-decisions` under the letter's place, on the letter's
partition number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from hookmill.core.ids import bounded
from hookmill.core.record import Output, Record, size_of, with_headers
from hookmill.stages import headers

DECISION_VERSION: Final = 1

Word = Literal["redriven", "discarded"]

_GONE_AFTERWARDS = frozenset(
    {
        headers.ERROR_REASON, headers.ERROR_DETAIL, headers.ERROR_STAGE, headers.ERROR_TOPIC,
        headers.ERROR_PARTITION, headers.ERROR_OFFSET, headers.ERROR_AT, headers.ATTEMPT,
        headers.NOT_BEFORE, headers.ATTEMPT_TRACE,
    }
)  # fmt: skip
"""What belongs to the failure and not to the record."""


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a dead letter lies; the topic is named without the namespace."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def key(self) -> bytes:
        """The key of its decision."""
        return f"{self.topic}|{self.partition}|{self.offset}".encode()


def place_of(text: str) -> Place | None:
    """A place as people write it, `topic:partition:offset`, or None if it is none."""
    topic, *numbers = text.rsplit(":", 2)
    if not topic or len(numbers) != 2 or not all(_is_number(each) for each in numbers):
        return None
    return Place(topic, int(numbers[0]), int(numbers[1]))


class Letter(msgspec.Struct, frozen=True):
    """A record that was set aside, and where it lies."""

    place: Place
    record: Record

    @property
    def reason(self) -> str:
        """The bounded reason; `unknown` for a record that nobody of ours set aside."""
        return self.record.header(headers.ERROR_REASON) or "unknown"

    @property
    def failed_at_us(self) -> int:
        """When it was set aside, in epoch microseconds."""
        at = self.record.header(headers.ERROR_AT) or ""
        return int(at) if _is_number(at) else self.record.timestamp_ms * 1000

    @property
    def endpoint(self) -> str:
        """The endpoint it came in by."""
        before, _, _ = self.record.key.partition(b"|")
        return self.record.header(headers.ENDPOINT) or before.decode("utf-8", "replace")

    @property
    def subject(self) -> str:
        """The subject in its key, as `hookmill.core.ids.bounded` writes it."""
        return self.record.key.partition(b"|")[2].decode("utf-8", "replace")

    @property
    def redrives(self) -> int:
        """How often it was sent again before."""
        return redrives_of(self.record)


def is_about(letter: Letter, subject: str) -> bool:
    """Whether the letter is about that subject, written as the provider does, or as in a key."""
    key = letter.record.key.decode("utf-8", "replace")
    return letter.subject in (subject, bounded(subject)) or key == subject


def redrives_of(record: Record) -> int:
    """How often the record was sent again from a dead-letter topic."""
    count = record.header(headers.REDRIVES) or ""
    return int(count) if _is_number(count) else 0


class Decision(msgspec.Struct, frozen=True):
    """What was decided of a letter. `at` is RFC 3339; `by` is None where the user has no name.

    `letter_ms` is the broker's append time of the letter: a topic that is made anew has other
    letters at the same places, and nothing was decided of them.
    """

    decision: Word
    at: str
    letter_ms: int
    why: str | None = None
    by: str | None = None
    v: Literal[1] = DECISION_VERSION


_DECISIONS = msgspec.json.Decoder(Decision)


class Decisions:
    """What was decided until now, letter by letter."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Decision] = {}

    def add(self, key: bytes, value: bytes) -> None:
        """A record of `dlq-decisions`, without a value where its letter is gone.

        Raises msgspec.MsgspecError or UnicodeDecodeError for one that is no decision.
        """
        if value:
            self._by_key[key] = _DECISIONS.decode(value)
        else:
            self._by_key.pop(key, None)

    def put(self, place: Place, decision: Decision) -> None:
        """What was decided just now."""
        self._by_key[place.key] = decision

    def before(self, topic: str, partition: int, offset: int) -> list[bytes]:
        """The keys of all that was decided of letters of that partition before the offset."""
        prefix = f"{topic}|{partition}|".encode()
        return [
            key
            for key in self._by_key
            if key.startswith(prefix) and int(key.removeprefix(prefix)) < offset
        ]

    def of(self, letter: Letter) -> Decision | None:
        """The letter's decision, None while it is open."""
        found = self._by_key.get(letter.place.key)
        return found if found and found.letter_ms == letter.record.timestamp_ms else None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant: those that fit every field; an empty field takes everything.

    `since_us` and `until_us` are epoch microseconds of the failure, the second one excluded.
    """

    places: frozenset[Place] = frozenset()
    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    since_us: int | None = None
    until_us: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.places or letter.place in self.places)
            and (not self.topics or letter.place.topic in self.topics)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.endpoints or letter.endpoint in self.endpoints)
            and (not self.subjects or any(is_about(letter, each) for each in self.subjects))
            and (self.since_us is None or letter.failed_at_us >= self.since_us)
            and (self.until_us is None or letter.failed_at_us < self.until_us)
        )

    def takes_topic(self, topic: str) -> bool:
        """Whether letters of that topic can be meant."""
        places = {each.topic for each in self.places}
        return (not self.topics or topic in self.topics) and (not places or topic in places)


class Span(msgspec.Struct, frozen=True):
    """Offsets of one partition of a dead-letter topic, from `start` to before `end`."""

    topic: str
    partition: int
    start: int
    end: int


def spans(
    selection: Selection, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> Iterator[Span]:
    """What must be read of the topic, partition by partition, to find every letter meant."""
    for partition, (begin, end) in sorted(bounds.items()):
        if selection.places:
            offsets = sorted(each.offset for each in selection.places
                             if (each.topic, each.partition) == (topic, partition))  # fmt: skip
            yield from (Span(topic, partition, at, at + 1) for at in offsets if begin <= at < end)
        elif begin < end:
            yield Span(topic, partition, begin, end)


def may_be(word: Word, letter: Letter, decided: Decision | None, selection: Selection) -> bool:
    """Whether the letter may now be redriven or discarded: nothing is sent twice.

    An open one may. A discarded one was never sent, so it may still be redriven, if it is named
    by its place.
    """
    if decided is None:
        return True
    names_it = letter.place in selection.places
    return word == "redriven" and decided.decision == "discarded" and names_it


def sent_again(letter: Letter, to: str) -> Output:
    """The record as it is sent again: what the failure added is gone, and it says how often."""
    kept = tuple(pair for pair in letter.record.headers if pair[0] not in _GONE_AFTERWARDS)
    added = [
        (headers.REDRIVES, str(letter.redrives + 1)),
        (headers.REDRIVEN_FROM, str(letter.place)),
    ]
    return Output(to, letter.record.key, letter.record.value, with_headers(kept, added))


def batches(
    letters: Iterable[Letter], *, records_max: int, bytes_max: int
) -> Iterator[Sequence[Letter]]:
    """The letters in order, in pieces of at most that many records and about as many bytes."""
    batch: list[Letter] = []
    size_bytes = 0
    for letter in letters:
        more_bytes = size_of(letter.record)
        if batch and (len(batch) == records_max or size_bytes + more_bytes > bytes_max):
            yield batch
            batch, size_bytes = [], 0
        batch.append(letter)
        size_bytes += more_bytes
    if batch:
        yield batch


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
