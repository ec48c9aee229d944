"""A partition rests between two transactions: never when far behind, longer where all is slow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.kafka.pace import (
    GATHERING_SECS,
    LARGE_RECORDS,
    REST_SECS_MAX,
    gathers,
    passes_on,
)
from hookmill.kafka.worker import Rest

durations = st.floats(min_value=0, max_value=60)
batches = st.integers(min_value=1, max_value=2_000)


@pytest.mark.parametrize("rest", [gathers, passes_on])
def test_who_is_far_behind_goes_on_at_once(rest: Rest) -> None:
    """A large batch says that more is waiting."""
    assert rest(LARGE_RECORDS, 0.5) == 0


@given(batches.filter(lambda records: records < LARGE_RECORDS), durations)
def test_a_rest_has_its_bounds(records: int, took_secs: float) -> None:
    """Long enough that markers are written, short enough that nobody notices; and what comes
    together waits no more than what comes one by one."""
    assert GATHERING_SECS <= gathers(records, took_secs) <= REST_SECS_MAX
    assert 0 < passes_on(records, took_secs) < gathers(records, took_secs)


@given(batches, durations, durations)
def test_slower_transactions_mean_longer_rests(records: int, one: float, other: float) -> None:
    """A machine that is busy is given room, not more work."""
    shorter, longer = sorted((one, other))

    assert gathers(records, shorter) <= gathers(records, longer)
