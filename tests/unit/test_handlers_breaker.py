"""The circuit breaker: opens at the last straw, lets one try, forgets what is old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hookmill.handlers.breaker import (
    FAILURES_TO_OPEN,
    PAUSE_SECS_FIRST,
    PAUSE_SECS_MAX,
    Breaker,
    Permit,
)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(breaker: Breaker) -> Permit:
    """A permit that must be there."""
    permit = breaker.admit()
    assert permit is not None
    return permit


def fail(breaker: Breaker, times: int = FAILURES_TO_OPEN) -> list[bool]:
    """So many requests fail, one after another."""
    return [breaker.failed(admitted(breaker)) for _ in range(times)]


@pytest.fixture
def clock() -> Clock:
    """The breaker's time."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """A new one."""
    return Breaker(clock=clock)


def test_a_new_one_admits_everything(breaker: Breaker) -> None:
    """A service is asked before it is judged; no success is news."""
    permits = [admitted(breaker) for _ in range(100)]

    assert not any(breaker.succeeded(each) for each in permits)
    assert not breaker.is_open
    assert breaker.open_secs == 0


def test_it_opens_at_the_last_of_so_many_failures(breaker: Breaker) -> None:
    """That is told once."""
    assert fail(breaker) == [False] * (FAILURES_TO_OPEN - 1) + [True]
    assert breaker.is_open
    assert breaker.admit() is None


def test_a_success_between_begins_the_count_anew(breaker: Breaker) -> None:
    """Only failures one after another count."""
    fail(breaker, FAILURES_TO_OPEN - 1)
    breaker.succeeded(admitted(breaker))
    fail(breaker, FAILURES_TO_OPEN - 1)

    assert not breaker.is_open


def test_one_alone_may_try_after_the_pause(breaker: Breaker, clock: Clock) -> None:
    """Not a moment before."""
    fail(breaker)
    clock.now += PAUSE_SECS_FIRST - 0.001
    early = breaker.admit()
    clock.now += 0.001

    assert early is None
    assert admitted(breaker).trial
    assert breaker.admit() is None


def test_a_trial_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    """Then everything is admitted, and the next outage begins with the first pause."""
    fail(breaker)
    clock.now += PAUSE_SECS_FIRST
    breaker.failed(admitted(breaker))
    clock.now += PAUSE_SECS_MAX

    assert breaker.succeeded(admitted(breaker)) is True
    assert not admitted(breaker).trial
    fail(breaker)
    assert breaker.open_secs == PAUSE_SECS_FIRST


def test_each_failed_trial_doubles_the_pause_up_to_the_longest(
    breaker: Breaker, clock: Clock
) -> None:
    """It is the same outage: not told again."""
    fail(breaker)
    pauses = []
    for _ in range(9):
        pauses.append(breaker.open_secs)
        clock.now += breaker.open_secs
        assert breaker.failed(admitted(breaker)) is False

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_service_may_ask_for_a_longer_pause(breaker: Breaker, clock: Clock) -> None:
    """And never for a shorter one."""
    fail(breaker, FAILURES_TO_OPEN - 1)
    breaker.failed(admitted(breaker), hold_secs=500.0)
    asked = breaker.open_secs
    clock.now += 500
    breaker.failed(admitted(breaker), hold_secs=0.1)

    assert (asked, breaker.open_secs) == (500, 2 * PAUSE_SECS_FIRST)


def test_what_an_earlier_era_met_is_old_news(breaker: Breaker, clock: Clock) -> None:
    """Requests sent before it opened end while a trial is under way: they decide nothing."""
    early = [admitted(breaker) for _ in range(3)]
    fail(breaker)
    clock.now += PAUSE_SECS_FIRST
    trial = admitted(breaker)

    assert breaker.succeeded(early[0]) is False
    assert breaker.failed(early[1]) is False
    breaker.abandoned(early[2])
    assert breaker.admit() is None
    assert breaker.succeeded(trial) is True


def test_an_abandoned_trial_makes_room_for_another_at_once(breaker: Breaker, clock: Clock) -> None:
    """It showed nothing: neither does the pause grow."""
    fail(breaker)
    clock.now += PAUSE_SECS_FIRST
    breaker.abandoned(admitted(breaker))

    assert admitted(breaker).trial


@given(st.lists(st.sampled_from("sf"), max_size=60))
def test_it_opens_exactly_when_so_many_fail_in_a_row(results: list[str]) -> None:
    """As long as each request ends before the next begins."""
    breaker = Breaker(clock=Clock())
    row = 0
    for result in results:
        permit = breaker.admit()
        assert (permit is None) == (row >= FAILURES_TO_OPEN)
        if permit is None:
            return
        if result == "s":
            breaker.succeeded(permit)
        else:
            breaker.failed(permit)
        row = 0 if result == "s" else row + 1


class Life(RuleBasedStateMachine):
    """Any number of requests under way, ending in any order, while time goes on."""

    @initialize()
    def begin(self) -> None:
        """A new breaker."""
        self.clock = Clock()
        self.breaker = Breaker(clock=self.clock)
        self.under_way: list[Permit] = []
        self.opened = self.closed = 0

    @rule()
    def ask(self) -> None:
        """Admitted: always while closed; while open one trial, once the pause is over."""
        trials = [each for each in self.under_way if each.trial and self._counts(each)]
        due = self.breaker.open_secs == 0
        permit = self.breaker.admit()
        if not self.breaker.is_open:
            assert permit is not None
            assert not permit.trial
        else:
            assert (permit is not None) == (due and not trials)
            assert permit is None or permit.trial
        if permit is not None:
            self.under_way.append(permit)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 1000), how=st.sampled_from("sfa"), hold=st.floats(0, 300))
    def end(self, which: int, how: str, hold: float) -> None:
        """One of them ends; what it tells fits the breaker's state."""
        permit = self.under_way.pop(which % len(self.under_way))
        was_open, counts = self.breaker.is_open, self._counts(permit)
        if how == "s" and self.breaker.succeeded(permit):
            self.closed += 1
            assert was_open
            assert counts
            assert permit.trial
        elif how == "f" and self.breaker.failed(permit, hold_secs=hold):
            self.opened += 1
            assert not was_open
            assert counts
            assert self.breaker.open_secs >= max(PAUSE_SECS_FIRST, hold) * 0.999
        elif how == "a":
            self.breaker.abandoned(permit)
            assert self.breaker.is_open == was_open
        if not counts:
            assert self.breaker.is_open == was_open

    @rule(secs=st.floats(0, 2 * PAUSE_SECS_MAX))
    def wait(self, secs: float) -> None:
        """Time goes on."""
        self.clock.now += secs

    @invariant()
    def told_in_turn(self) -> None:
        """Opened and closed are told in turn, and it is never open for longer than it may."""
        if hasattr(self, "breaker"):
            assert self.opened - self.closed == int(self.breaker.is_open)
            assert 0 <= self.breaker.open_secs <= 300

    def _counts(self, permit: Permit) -> bool:
        return permit.era == self.breaker._era


TestLife = Life.TestCase
