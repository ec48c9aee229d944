"""A circuit breaker: asks nothing of a service that fails, until one request shows that it works.

Pure: time is what the clock says. Closed, it admits everything, until so many requests failed one
after another. Open, it admits nothing until its pause is over, then one request alone: the trial.
A trial that succeeds closes it; one that fails doubles the pause.
"""

from collections.abc import Callable

import msgspec

FAILURES_TO_OPEN = 5
PAUSE_SECS_FIRST = 1.0
PAUSE_SECS_MAX = 60.0


class Permit(msgspec.Struct, frozen=True):
    """Leave to send one request. How it went is told with it, once.

    `era` counts the breaker's changes: what a request of an earlier era met is old news.
    """

    era: int
    trial: bool


class Breaker:
    """Of one service; `clock` gives seconds and never goes back."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._era = 0
        self._failures = 0
        self._open_until: float | None = None
        self._pause_secs = PAUSE_SECS_FIRST
        self._trial_under_way = False

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, a trial excepted."""
        return self._open_until is not None

    @property
    def open_secs(self) -> float:
        """How long until the next trial may begin; 0 while closed."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def admit(self) -> Permit | None:
        """Leave to send a request now, or None."""
        if self._open_until is None:
            return Permit(self._era, trial=False)
        if self._trial_under_way or self._clock() < self._open_until:
            return None
        self._trial_under_way = True
        return Permit(self._era, trial=True)

    def succeeded(self, permit: Permit) -> bool:
        """The service works; returns whether that closed the breaker."""
        if permit.era != self._era:
            return False
        self._failures = 0
        if permit.trial:
            self._turn(open_until=None)
            self._pause_secs = PAUSE_SECS_FIRST
        return permit.trial

    def failed(self, permit: Permit, *, hold_secs: float = 0.0) -> bool:
        """The request failed; returns whether that opened the breaker.

        It then stays open for at least `hold_secs`, where the service asked for so much.
        """
        if permit.era != self._era:
            return False
        if permit.trial:
            self._pause_secs = min(PAUSE_SECS_MAX, self._pause_secs * 2)
        else:
            self._failures += 1
            if self._failures < FAILURES_TO_OPEN:
                return False
        self._turn(open_until=self._clock() + max(self._pause_secs, hold_secs))
        return not permit.trial

    def abandoned(self, permit: Permit) -> None:
        """The request was given up and shows nothing; the next one may be the trial instead."""
        if permit.era == self._era:
            self._trial_under_way = False

    def _turn(self, *, open_until: float | None) -> None:
        self._era += 1
        self._failures = 0
        self._trial_under_way = False
        self._open_until = open_until
