"""Dedup against a dictionary: whatever arrives, an event goes on once a window."""

import os

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hookmill.core.delivery import Item
from hookmill.core.ids import bounded
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.record import Record
from hookmill.stages import headers
from hookmill.stages.accept import _item_headers
from hookmill.stages.dedup import Dedup, Duplicate, Seen, decode_seen
from support.alone import decide, read

BUSY = [HealthCheck.too_slow]  # the machine may have other work
TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
WINDOWS_SECS = {"shop": 10, "slow": 100, "shop-2": 1}
DEFAULT_SECS = 1000

Event = tuple[str, str, str]
"""Endpoint, the provider's event id, the provider's event type: what makes two events one."""

ENDPOINT = st.sampled_from(["shop", "slow", "shop-2", "gone"])
ODD = st.sampled_from(
    ["e1", "e2", "a|b", "a%7Cb", "a%257Cb", "a", "b|", "|b", "%", "%25", "|", "||", " ", "ü",
     "x" * 256, "x" * 257, "|" * 256, "é" * 129, "\ud800", "sha256:", "\x00", "e1\n"]
)  # fmt: skip
IDS = ODD | st.text(min_size=1, max_size=12) | st.text("|%7C25ab", min_size=1, max_size=6)
TYPES = st.sampled_from(["", "paid", "failed", "|", "paid|", "a|b", "b"]) | st.text(
    "|%b", max_size=3
)
EVENTS = st.tuples(ENDPOINT, IDS, TYPES)


def raw(event: Event, at_ms: int, offset: int, *, body: bytes = b"{}") -> Record:
    """The raw record of a delivery of that event, its identity written as the ingress does."""
    endpoint, event_id, event_type = event
    item = Item(body, event_id, event_type)
    identity = ((headers.ENDPOINT, endpoint.encode()), *_item_headers(item, 1, 1))
    return Record("webhooks-raw", offset % 3, offset, at_ms, b"k", body, identity)


def window_ms(event: Event) -> int:
    """How long a redelivery of the event is a duplicate."""
    return WINDOWS_SECS.get(event[0], DEFAULT_SECS) * 1000


class DedupMachine(RuleBasedStateMachine):
    """The stage with a store as the engine drives it, and beside it a dictionary."""

    events = Bundle("events")

    def __init__(self) -> None:
        super().__init__()
        self.stage = Dedup(WINDOWS_SECS, default_window_secs=DEFAULT_SECS, to="unique")
        self.now_ms = 1_000_000
        self.offset = 0
        self.store: dict[bytes, bytes] = {}
        self.went_on: dict[Event, int] = {}
        self.places: dict[tuple[int, int], Event] = {}

    @rule(target=events, event=EVENTS)
    def an_event(self, event: Event) -> Event:
        """Any event, perhaps one that was there before."""
        self._deliver(event)
        return event

    @rule(target=events, event=events, endpoint=ENDPOINT, event_type=TYPES)
    def a_namesake(self, event: Event, endpoint: str, event_type: str) -> Event:
        """The same id at another endpoint, or of another type: another event."""
        namesake = endpoint, event[1], event_type
        self._deliver(namesake)
        return namesake

    @rule(target=events, event=events, cut=st.integers(0, 30))
    def a_look_alike(self, event: Event, cut: int) -> object:
        """Id and type that only look the same once they are written one behind the other."""
        endpoint, event_id, event_type = event
        whole = f"{event_id}|{event_type}"
        cut = min(cut, len(whole) - 1)
        look_alike = endpoint, whole[: cut + 1], whole[cut + 1 :]
        self._deliver(look_alike)
        return multiple(look_alike)

    @rule(event=events, times=st.integers(1, 3), body=st.binary(max_size=3))
    def a_redelivery(self, event: Event, times: int, body: bytes) -> None:
        """Once more, or several times, perhaps with other bytes."""
        for _ in range(times):
            self._deliver(event, body=body)

    @rule(event=consumes(events), away_ms=st.sampled_from([-1, 0, 1]))
    def the_edge_of_the_window(self, event: Event, away_ms: int) -> None:
        """A redelivery just before, at and just after the end of the window."""
        edge_ms = self.went_on[event] + window_ms(event) + away_ms
        if edge_ms >= self.now_ms - 50:
            self.now_ms = edge_ms
            before = len(self.places)
            self._deliver(event)
            assert (len(self.places) > before) is (away_ms > 0)

    @rule(pause_ms=st.integers(0, 20_000) | st.sampled_from([999, 1000, 9_999, 10_000, 100_000]))
    def time_passes(self, pause_ms: int) -> None:
        """By the broker's clock."""
        self.now_ms += pause_ms

    @rule(back_ms=st.integers(1, 50))
    def another_broker_leads(self, back_ms: int) -> None:
        """Its clock is a little behind."""
        self.now_ms -= back_ms

    @rule(event=events)
    def the_changelog_is_read_again(self, event: Event) -> None:
        """Every sighting survives being written and read; nothing of it is lost or added."""
        self.store = {key: msgspec.json.encode(decode_seen(value))
                      for key, value in self.store.items()}  # fmt: skip
        self._deliver(event)

    @rule(event=events, missing=st.sampled_from([headers.ENDPOINT, headers.EVENT_ID]))
    def a_record_without_identity(self, event: Event, missing: str) -> None:
        """It is set aside and changes nothing of what was seen."""
        record = raw(event, self.now_ms, self.offset)
        kept = tuple(pair for pair in record.headers if pair[0] != missing)
        task = read(self.stage, msgspec.structs.replace(record, headers=kept))
        assert task.state_keys == ()
        assert isinstance(decide(self.stage, task, self.store), DeadLetter)

    @invariant()
    def the_state_tells_of_what_went_on_alone(self) -> None:
        """Each sighting names the record that was forwarded for its event, and its time."""
        assert len(self.store) == len(self.went_on)
        for value in self.store.values():
            seen = decode_seen(value)
            assert self.went_on[self.places[seen.partition, seen.offset]] == seen.time_ms

    def _deliver(self, event: Event, *, body: bytes = b"{}") -> None:
        record = raw(event, self.now_ms, self.offset, body=body)
        self.offset += 1
        task = read(self.stage, record)
        found = {key: self.store[key] for key in task.state_keys if key in self.store}
        outcome = decide(self.stage, task, found)
        last_ms = self.went_on.get(event)
        if last_ms is not None and self.now_ms - last_ms <= window_ms(event):
            age_ms = self.now_ms - last_ms
            assert outcome == Duplicate("duplicate", age_ms=age_ms, endpoint=event[0])
            return
        assert isinstance(outcome, Forward)
        (output,) = outcome.outputs
        assert (output.key, output.value) == (record.key, body)
        self.store.update(outcome.state)
        self.went_on[event] = self.now_ms
        self.places[record.partition, record.offset] = event


TestDedup = DedupMachine.TestCase
TestDedup.settings = settings(
    max_examples=100 * TIMES,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)

QUICK = settings(
    max_examples=200 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@QUICK
@given(EVENTS, EVENTS)
def test_two_events_have_one_key_only_if_they_are_one(one: Event, other: Event) -> None:
    """Whatever separators and escapes stand in an id or a type."""
    keys = [headers.dedup_key(raw(event, 0, 0)) for event in (one, other)]

    assert (keys[0] == keys[1]) is (one == other)


@QUICK
@given(IDS)
def test_a_bounded_id_fits_and_cannot_end_its_part_of_the_key(text: str) -> None:
    """Escaped it grows threefold at most, and it is never empty."""
    short = bounded(text)

    assert "|" not in short
    assert 0 < len(short.encode()) <= 3 * 256


@QUICK
@given(INTEGERS, INTEGERS, INTEGERS)
def test_a_sighting_is_read_as_it_was_written(time_ms: int, partition: int, offset: int) -> None:
    """The format of `dedup-seen`."""
    seen = Seen(time_ms, partition, offset)

    assert decode_seen(msgspec.json.encode(seen)) == seen


@QUICK
@given(st.binary(max_size=60) | st.sampled_from([
    b'{"time_ms":1,"partition":2,"offset":3,"v":2}', b'{"time_ms":1.5,"partition":2,"offset":3}',
    b'{"time_ms":1,"partition":2}', b"null", b"[1,2,3,1]", b'{"time_ms":true,"partition":2,'
    b'"offset":3,"v":1}', b"[" * 3000,
]))  # fmt: skip
def test_what_is_no_sighting_is_refused(value: bytes) -> None:
    """A state that this release does not know is no answer, and no other error."""
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)):
        decode_seen(value)
