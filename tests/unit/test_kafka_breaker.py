"""The breaker: refuses at once while Kafka is out, and lets exactly one record find out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.kafka.breaker import Breaker, State


def open_breaker() -> Breaker:
    """One that opened at a failed append."""
    breaker = Breaker(closed=True)
    breaker.failed()
    return breaker


def trying_breaker() -> Breaker:
    """One whose cluster answered a probe."""
    breaker = open_breaker()
    breaker.probed()
    return breaker


def test_it_admits_nothing_before_it_is_connected() -> None:
    """A process that just started does not know Kafka yet."""
    breaker = Breaker()

    assert breaker.state is State.OPEN
    assert not breaker.admits()


def test_a_closed_one_admits_everything() -> None:
    """Success changes nothing and is not news."""
    breaker = Breaker(closed=True)

    assert all(breaker.admits() for _ in range(3))
    assert breaker.succeeded() is False
    assert breaker.state is State.CLOSED


def test_the_first_failure_opens_it_and_is_told_once() -> None:
    """The failures of the same outage are not news."""
    breaker = Breaker(closed=True)

    assert [breaker.failed(), breaker.failed()] == [True, False]
    assert breaker.state is State.OPEN
    assert not breaker.admits()


def test_after_a_probe_exactly_one_may_try() -> None:
    """The others are refused until it is known what became of it."""
    breaker = trying_breaker()

    assert [breaker.admits(), breaker.admits(), breaker.admits()] == [True, False, False]


def test_a_trial_that_is_kept_closes_it() -> None:
    """Told once; from then on everything is admitted."""
    breaker = trying_breaker()
    breaker.admits()

    assert breaker.succeeded() is True
    assert breaker.succeeded() is False
    assert [breaker.admits(), breaker.admits()] == [True, True]


def test_a_trial_that_fails_opens_it_again() -> None:
    """That is no news; the next probe allows the next trial."""
    breaker = trying_breaker()
    breaker.admits()

    assert breaker.failed() is False
    assert breaker.state is State.OPEN
    assert not breaker.admits()
    breaker.probed()
    assert [breaker.admits(), breaker.admits()] == [True, False]


def test_a_late_success_does_not_close_an_open_one() -> None:
    """A batch that was under way says nothing of the next one."""
    breaker = open_breaker()

    assert breaker.succeeded() is False
    assert not breaker.admits()


@pytest.mark.parametrize("taken", [True, False])
def test_a_second_probe_gives_no_second_trial(taken: bool) -> None:
    """Only one record is at stake at a time."""
    breaker = trying_breaker()
    if taken:
        breaker.admits()
    breaker.probed()

    assert breaker.admits() is not taken


def test_a_probe_does_not_open_a_closed_one() -> None:
    """It may end after the breaker closed."""
    breaker = Breaker(closed=True)
    breaker.probed()

    assert breaker.state is State.CLOSED


@given(st.lists(st.sampled_from(["admits", "succeeded", "failed", "probed"]), max_size=30))
def test_it_never_gets_stuck(calls: list[str]) -> None:
    """Whatever happened: fail, probe, succeed, and records flow."""
    breaker = Breaker()
    for call in calls:
        getattr(breaker, call)()
    breaker.failed()
    breaker.probed()

    assert [breaker.admits(), breaker.admits()] == [True, False]
    assert breaker.succeeded()
    assert breaker.admits()
