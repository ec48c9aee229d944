"""Knows whether Kafka takes records, so that deliveries are refused at once while it does not."""

import enum


class State(enum.Enum):
    """closed: records flow. open: none may. trying: one may, and decides."""

    CLOSED = "closed"
    OPEN = "open"
    TRYING = "trying"


class Breaker:
    """Opens at a failed append; after a successful probe lets one record try; closes if it is kept.

    Pure: who probes, and when, is not its business.
    """

    def __init__(self, *, closed: bool = False) -> None:
        self.state = State.CLOSED if closed else State.OPEN
        self._trial_under_way = False

    def admits(self) -> bool:
        """Whether a delivery may be appended now. In `trying` this takes the one trial."""
        if self.state is State.TRYING and not self._trial_under_way:
            self._trial_under_way = True
            return True
        return self.state is State.CLOSED

    def succeeded(self) -> bool:
        """An append was acknowledged; returns whether that closed the breaker."""
        self._trial_under_way = False
        closing = self.state is State.TRYING
        if closing:
            self.state = State.CLOSED
        return closing

    def failed(self) -> bool:
        """An append failed; returns whether that opened the breaker."""
        self._trial_under_way = False
        opening = self.state is State.CLOSED
        self.state = State.OPEN
        return opening

    def probed(self) -> None:
        """The cluster answers and every partition has a leader: one delivery may try."""
        if self.state is State.OPEN:
            self.state = State.TRYING
            self._trial_under_way = False
