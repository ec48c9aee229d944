"""What follows from a failed attempt: how long the event waits, where, and when it is too late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers.attempt import Later, after_failure, delay_for

DELAYS = (30, 300, 3600)
NOW_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("attempts", "delay_secs"),
    [(1, 30), (2, 300), (3, 3600)],
)
def test_each_attempt_waits_for_its_own_delay(attempts: int, delay_secs: int) -> None:
    """The first failure for the first one, and so on."""
    expected = Later(delay_secs, NOW_MS + delay_secs * 1000)

    assert after_failure(Retry("no"), attempts, DELAYS, NOW_MS) == expected


def test_after_the_last_one_it_is_set_aside() -> None:
    """Under the handler's own reason, which dead letters are grouped by."""
    assert after_failure(Retry("http_503", "busy"), 4, DELAYS, NOW_MS) == DeadLetter(
        "http_503", "failed 4 times; busy"
    )


@pytest.mark.parametrize(
    ("asked_secs", "topic_secs", "wait_secs"),
    [(0.0, 30, 30), (29.0, 30, 30), (45.5, 30, 45.5), (300.0, 300, 300), (86_400.0, 3600, 86_400)],
)
def test_a_handler_may_ask_for_more(asked_secs: float, topic_secs: int, wait_secs: float) -> None:
    """The topic is the one that it can wait in without being late; the time is what was asked."""
    found = after_failure(Retry("no", after_secs=asked_secs), 1, DELAYS, NOW_MS)

    assert found == Later(topic_secs, NOW_MS + int(wait_secs * 1000))


@given(
    wait_secs=st.floats(0, 1e6),
    delays=st.lists(st.integers(1, 100_000), min_size=1, unique=True).map(sorted),
)
def test_the_topic_is_never_later_than_the_wait_unless_all_are(
    wait_secs: float, delays: list[int]
) -> None:
    """It is one of those configured."""
    found = delay_for(wait_secs, delays)

    assert found in delays
    assert found <= wait_secs or found == delays[0]
