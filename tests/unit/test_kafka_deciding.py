"""Decisions of many records at once: what is said of each is what would be said of it alone."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.config import options
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome, Retry
from hookmill.core.record import Record, size_of
from hookmill.kafka.deciding import Decider, Decisions
from hookmill.kafka.store import Overlay
from hookmill.providers.endpoint import build
from hookmill.stages import headers
from hookmill.stages.dedup import Dedup, Duplicate
from hookmill.stages.normalize import Normalize
from hookmill.stages.stage import Stage
from support.memory_log import MemoryStore

DEDUP = Dedup({}, default_window_secs=1000, to="unique")
ENDPOINTS = {name: build(name, options.Endpoint(provider="rehive")) for name in ("shop", "other")}
NORMALIZE = Normalize(ENDPOINTS, raw_topic="raw", to="normalized")
VALUE_BYTES_MAX = 1_000
PLENTY = 1_000_000


def record(event: str, offset: int = 0, *, body: bytes = b"{}", endpoint: str = "shop") -> Record:
    """A raw record of that event; of none it has no identity."""
    named = ((headers.ENDPOINT, endpoint.encode()), (headers.EVENT_ID, event.encode()))
    return Record("webhooks-raw", 0, offset, 1_000, b"k", body, named if event else ())


def invoice(number: int, status: str) -> bytes:
    """A Rehive invoice in that status."""
    amount = {"request_amount": 9, "request_currency": {"code": "ZAR", "divisibility": 2}}
    told = {"id": f"inv_{number}", "status": status, "updated": 1_700_000_000_000}
    return msgspec.json.encode({"data": told | amount})


def decisions(
    stage: Stage[Any], records: Sequence[Record], *, room_bytes: int = PLENTY,
    always_one: bool = True, overlay: Overlay | None = None,
) -> Decisions:  # fmt: skip
    """What a decider says of these."""
    decider = Decider(stage, lambda topic: VALUE_BYTES_MAX)
    return decider.decide(
        records, overlay or Overlay(MemoryStore()), room_bytes=room_bytes, always_one=always_one
    )


def one_by_one(stage: Stage[Any], records: Sequence[Record]) -> tuple[list[Outcome], Overlay]:
    """The outcomes of records that come one at a time, and what they change."""
    overlay = Overlay(MemoryStore())
    outcomes: list[Outcome] = []
    for each in records:
        outcomes += decisions(stage, [each], overlay=overlay).outcomes
    return outcomes, overlay


RAW = st.builds(
    record,
    st.sampled_from(["", "e1", "e2", "e3", "e4"]),
    st.integers(0, 99),
    body=st.sampled_from([b"{}", b"x" * VALUE_BYTES_MAX]),
)
STATUSES = st.sampled_from(["paid", "initiated", "expired", "?"])
UNREADABLE = [b"no JSON", b"[]", b'{"data":"' + b"x" * VALUE_BYTES_MAX + b'"}']
UNIQUE = st.builds(
    record,
    st.sampled_from(["e1", "e2", "e3"]),
    body=st.builds(invoice, st.integers(1, 3), STATUSES) | st.sampled_from(UNREADABLE),
    endpoint=st.sampled_from(["shop", "other", "gone"]),
)


@pytest.mark.parametrize(
    ("stage", "records"), [(DEDUP, RAW), (NORMALIZE, UNIQUE)], ids=["dedup", "normalize"]
)
def test_together_or_one_by_one_is_the_same(
    stage: Stage[Any], records: st.SearchStrategy[Record]
) -> None:
    """Duplicates, resources that several events change, what no topic takes: outcome for outcome
    and key for key."""

    @given(st.lists(records, max_size=12))
    def holds(several: list[Record]) -> None:
        overlay = Overlay(MemoryStore())
        together = decisions(stage, several, overlay=overlay)
        alone, changed = one_by_one(stage, several)
        assert together.outcomes == alone
        assert overlay.changes == changed.changes
        outputs = [each for some in alone if isinstance(some, Forward) for each in some.outputs]
        assert together.size_bytes == sum(size_of(each) for each in outputs)

    holds()


def test_what_was_set_aside_was_not_seen() -> None:
    """An event whose record no topic takes is none of the past: its next record goes on."""
    huge = record("e1", 1, body=b"x" * VALUE_BYTES_MAX)
    outcomes = decisions(DEDUP, [huge, record("e1", 2), record("e1", 3)]).outcomes

    assert outcomes[0] == DeadLetter("output_too_large", "an output is larger than its topic takes")
    assert isinstance(outcomes[1], Forward)
    assert isinstance(outcomes[2], Duplicate)


def test_what_finds_no_room_waits_with_all_behind_it() -> None:
    """Even a duplicate that would write nothing: records keep their order."""
    first, second = record("e1", 1, body=b"x" * 300), record("e2", 2, body=b"x" * 300)
    overlay = Overlay(MemoryStore())
    found = decisions(DEDUP, [first, second, record("e1", 3)], room_bytes=500, overlay=overlay)

    assert len(found.outcomes) == 1
    assert found.size_bytes <= 500
    assert [key.split(b"|")[1] for key in overlay.changes] == [b"e1"]


@pytest.mark.parametrize(("always_one", "count"), [(True, 1), (False, 0)])
def test_the_first_of_a_transaction_always_has_room(always_one: bool, count: int) -> None:
    """Or it would never go out."""
    found = decisions(DEDUP, [record("e1"), record("e2")], room_bytes=1, always_one=always_one)

    assert len(found.outcomes) == count


class Hesitant(Dedup):
    """Wants some event to be tried again."""

    def decide(self, tasks: Any, state: dict[bytes, bytes]) -> list[Outcome]:
        """All as ever but that one."""
        outcomes = super().decide(tasks, state)
        return [Retry("later") if b"|e2|" in task.key else outcome
                for task, outcome in zip(tasks, outcomes, strict=True)]  # fmt: skip


@pytest.mark.parametrize("room_bytes", [PLENTY, 400], ids=["room", "no room for all"])
def test_nothing_behind_a_retry_is_done(room_bytes: int) -> None:
    """Its own record is not either, and nothing of it is left in the state."""
    stage = Hesitant({}, default_window_secs=1000, to="unique")
    overlay = Overlay(MemoryStore())
    padding = b"x" * 200
    records = [record(event, body=padding) for event in ("e1", "e2", "e3")]
    found = decisions(stage, records, room_bytes=room_bytes, overlay=overlay)

    assert (len(found.outcomes), found.retry) == (1, Retry("later"))
    assert [key.split(b"|")[1] for key in overlay.changes] == [b"e1"]


class Defective(Dedup):
    """Fails at an event, in one of its steps."""

    step = "read"

    def read(self, records: Sequence[Record]) -> Any:
        """Fails at it."""
        if self.step == "read" and any(each.header(headers.EVENT_ID) == "bad" for each in records):
            raise ValueError("cannot be")
        return super().read(records)

    def decide(self, tasks: Any, state: dict[bytes, bytes]) -> list[Outcome]:
        """Fails at it."""
        if self.step == "decide" and any(b"|bad|" in task.key for task in tasks):
            raise ValueError("cannot be")
        return super().decide(tasks, state)


@pytest.mark.parametrize("step", ["read", "decide"])
def test_a_defect_concerns_its_own_record_only(step: str) -> None:
    """The others go on as if it had not been there."""
    stage = Defective({}, default_window_secs=1000, to="unique")
    stage.step = step
    outcomes = decisions(stage, [record(each) for each in ("e1", "bad", "e1", "e2")]).outcomes

    assert outcomes[1] == DeadLetter("stage_error", "ValueError: cannot be")
    assert [type(each) for each in outcomes] == [Forward, DeadLetter, Duplicate, Forward]
    assert isinstance(outcomes[2], Drop)
