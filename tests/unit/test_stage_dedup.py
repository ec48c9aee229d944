"""Dedup: an event goes on once within its window, measured on the broker's clock."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.record import Record
from hookmill.stages.dedup import Dedup, Duplicate, Seen, decode_seen
from support.alone import decide, read

WINDOWS_SECS = {"shop": 10, "slow": 100}
STAGE = Dedup(WINDOWS_SECS, default_window_secs=1000, to="unique")


def record(
    event_id: str = "e1",
    *,
    endpoint: str = "shop",
    event_type: str = "paid",
    at_ms: int = 0,
    offset: int = 7,
) -> Record:
    """A raw record as the ingress writes it."""
    headers = (
        ("hm-endpoint", endpoint.encode()),
        ("hm-event-id", event_id.encode()),
        ("hm-event-type", event_type.encode()),
    )
    return Record("webhooks-raw", 3, offset, at_ms, b"shop|s1", b'{"a":1}', headers)


class Run:
    """The stage with a store, as the engine drives it."""

    def __init__(self) -> None:
        self.store: dict[bytes, bytes] = {}

    def forwards(self, each: Record) -> bool:
        """Whether the record goes on."""
        task = read(STAGE, each)
        found = {key: self.store[key] for key in task.state_keys if key in self.store}
        match decide(STAGE, task, found):
            case Forward(_, state):
                self.store.update(state)
                return True
            case outcome:
                assert isinstance(outcome, Duplicate)
                return False


def test_the_first_sighting_is_forwarded_and_remembered() -> None:
    """Key and value as they were; only where the raw record lies is added."""
    first = record(at_ms=123_000, offset=42)
    outcome = decide(STAGE, read(STAGE, first), {})

    assert isinstance(outcome, Forward)
    (output,) = outcome.outputs
    assert (output.topic, output.key, output.value) == ("unique", b"shop|s1", b'{"a":1}')
    assert output.headers == (*first.headers, ("hm-raw-offset", b"42"))
    assert outcome.state == (
        (b"shop|e1|paid", b'{"time_ms":123000,"partition":3,"offset":42,"v":1}'),
    )


@pytest.mark.parametrize(
    ("later_ms", "goes_on"),
    [(0, False), (1, False), (9_999, False), (10_000, False), (10_001, True), (-5_000, False)],
)
def test_the_window_is_closed_at_its_end(later_ms: int, goes_on: bool) -> None:
    """Ten seconds later is a duplicate still; a clock that steps back changes nothing."""
    run = Run()
    run.forwards(record(at_ms=50_000))

    assert goes_on is run.forwards(record(at_ms=50_000 + later_ms, offset=8))


def test_the_window_is_the_endpoints_own() -> None:
    """Each provider redelivers for another time; an endpoint that is gone has the default."""
    for endpoint, window_ms in {"shop": 10_000, "slow": 100_000, "gone": 1_000_000}.items():
        assert window_ms == read(STAGE, record(endpoint=endpoint)).window_ms


def test_the_same_record_read_again_is_dropped() -> None:
    """A sighting means that its event was forwarded, so nothing goes twice."""
    run = Run()
    once = record(offset=42)

    assert run.forwards(once)
    assert not run.forwards(once)


@pytest.mark.parametrize(
    "other",
    [record("e2"), record(endpoint="slow"), record(event_type="failed"), record(event_type="")],
    ids=["event id", "endpoint", "event type", "no event type"],
)
def test_another_event_is_no_duplicate(other: Record) -> None:
    """Endpoint, event id and the provider's event type make it the same."""
    run = Run()
    run.forwards(record())

    assert run.forwards(other)


def test_the_partition_and_the_body_do_not_matter() -> None:
    """A redelivery may differ in a byte; it is the same event all the same."""
    run = Run()
    run.forwards(record())
    again = msgspec.structs.replace(record(), partition=9, key=b"shop|s2", value=b"{}")

    assert not run.forwards(again)


@pytest.mark.parametrize(
    "headers",
    [(), (("hm-endpoint", b"shop"),), (("hm-event-id", b"e1"),), (("hm-endpoint", b""),)],
    ids=["none", "no event id", "no endpoint", "empty endpoint"],
)
def test_a_record_without_identity_is_set_aside(headers: tuple[tuple[str, bytes], ...]) -> None:
    """It was not written by the ingress; it asks for no state."""
    task = read(STAGE, Record("webhooks-raw", 0, 0, 0, b"k", b"v", headers))
    outcome = decide(STAGE, task, {})

    assert task.state_keys == ()
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == "no_identity"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["shop", "slow"]),
            st.sampled_from(["e1", "e2", "e3"]),
            st.sampled_from(["paid", "failed"]),
            st.integers(0, 30_000),
        ),
        max_size=40,
    )
)
def test_agrees_with_a_simple_model_of_the_window(
    deliveries: list[tuple[str, str, str, int]],
) -> None:
    """An event goes on if it did not go on within the window before."""
    run, went_on, now_ms = Run(), dict[tuple[str, str, str], int](), 0
    for offset, (endpoint, event_id, event_type, pause_ms) in enumerate(deliveries):
        now_ms += pause_ms
        event = (endpoint, event_id, event_type)
        last_ms = went_on.get(event)
        expected = last_ms is None or now_ms > last_ms + WINDOWS_SECS[endpoint] * 1000
        if expected:
            went_on[event] = now_ms
        raw = record(event_id, endpoint=endpoint, event_type=event_type, at_ms=now_ms,
                     offset=offset)  # fmt: skip

        assert expected is run.forwards(raw)


def test_a_sighting_survives_its_changelog() -> None:
    """What is written is what is read."""
    assert Seen(1, 2, 3) == decode_seen(b'{"time_ms":1,"partition":2,"offset":3,"v":1}')


@pytest.mark.parametrize("value", [b"", b"{}", b'{"time_ms":"1","partition":2,"offset":3}'])
def test_a_sighting_that_is_none_is_an_error(value: bytes) -> None:
    """A damaged fact is no reason to forward again, nor to drop."""
    with pytest.raises(msgspec.MsgspecError):
        decode_seen(value)
