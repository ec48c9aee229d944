"""Deduplication: an event that was forwarded within the window is not forwarded again."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome
from hookmill.core.record import Headers, Output, Record
from hookmill.stages import headers

SEEN_VERSION: Final = 1
MARGIN_MS = 7 * 86_400_000
"""How long a sighting is kept beyond its window, at most."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """The first sighting: the broker's append time, and where in `webhooks-raw` it lies."""

    time_ms: int
    partition: int
    offset: int
    v: Literal[1] = SEEN_VERSION


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A raw record, the key that makes it the same event as another, and the headers to keep."""

    record: Record
    key: bytes | None = None
    window_ms: int = 0
    endpoint: bytes = b""
    headers: Headers = ()

    @property
    def state_keys(self) -> tuple[bytes, ...]:
        """The dedup key, where the record has one."""
        return () if self.key is None else (self.key,)


class Duplicate(Drop, frozen=True, kw_only=True):
    """An event of that endpoint that was forwarded before, `age_ms` earlier on the broker's
    clock."""

    age_ms: int
    endpoint: str


class Dedup:
    """The stage. `windows_secs` holds each endpoint's window, the default is for any other."""

    name = "dedup"

    def __init__(
        self, windows_secs: Mapping[str, int], *, default_window_secs: int, to: str
    ) -> None:
        self._to = to
        self._windows_ms = {name.encode(): 1000 * each for name, each in windows_secs.items()}
        self._default_window_ms = 1000 * default_window_secs
        self._least_ms = min([*self._windows_ms.values(), self._default_window_ms])

    def read(self, records: Sequence[Record]) -> list[Sighting]:
        """Find each record's dedup key in its headers."""
        return [self._sighting(record) for record in records]

    def _sighting(self, record: Record) -> Sighting:
        named = dict(record.headers)
        endpoint, event_id = named.get(headers.ENDPOINT), named.get(headers.EVENT_ID)
        if not endpoint or not event_id:
            return Sighting(record)
        kept = record.headers
        if headers.RAW_OFFSET in named:
            kept = tuple(pair for pair in kept if pair[0] != headers.RAW_OFFSET)
        window_ms = self._windows_ms.get(endpoint, self._default_window_ms)
        return Sighting(record, headers.dedup_key_in(named), window_ms, endpoint, kept)

    def forgets(self, key: bytes, value: bytes, now_ms: int) -> bool:
        """Whether the sighting is older than its endpoint's window, and as much again, at most a
        week: a broker's clock that is behind another's, or a window made longer, harms nothing."""
        age_ms = now_ms - decode_seen(value).time_ms
        if age_ms <= self._least_ms:
            return False  # nearly always, whatever its endpoint
        window_ms = self._windows_ms.get(key.partition(b"|")[0], self._default_window_ms)
        return age_ms > window_ms + min(window_ms, MARGIN_MS)

    def decide(self, tasks: Sequence[Sighting], state: dict[bytes, bytes]) -> list[Outcome]:
        """Drop what was seen within the window, measured on the broker's append time."""
        outcomes: list[Outcome] = []
        for task in tasks:
            if task.key is None:
                outcomes.append(_NO_IDENTITY)
                continue
            kept = state.get(task.key)
            first_seen = None if kept is None else decode_seen(kept)
            outcome = decide(task, first_seen=first_seen, to=self._to)
            if isinstance(outcome, Forward):
                state.update(outcome.state)
            outcomes.append(outcome)
        return outcomes


_NO_IDENTITY = DeadLetter("no_identity", "the record lacks hm-endpoint or hm-event-id")


def decide(task: Sighting, *, first_seen: Seen | None, to: str) -> Outcome:
    """The decision itself, once the fact is known.

    A sighting means that its event *was* forwarded: the same record read again is dropped too.
    """
    record = task.record
    assert task.key is not None
    if first_seen is not None:
        age_ms = record.timestamp_ms - first_seen.time_ms
        if age_ms <= task.window_ms:
            return Duplicate("duplicate", age_ms=age_ms, endpoint=task.endpoint.decode())
    lies_at = (headers.RAW_OFFSET, b"%d" % record.offset)
    forwarded = Output(to, record.key, record.value, (*task.headers, lies_at))
    seen = Seen(record.timestamp_ms, record.partition, record.offset)
    return Forward((forwarded,), state=((task.key, _ENCODER.encode(seen)),))


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Seen)


def decode_seen(value: bytes) -> Seen:
    """A sighting as kept in `dedup-seen`."""
    return _DECODER.decode(value)
