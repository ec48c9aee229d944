"""Parts of a handler's world that say and remember nothing."""

from hookmill.core.event import Event
from hookmill.core.record import Record


class NoJournal:
    """No process has ever died."""

    def crashes(self, event_id: str) -> int:
        """None."""
        return 0

    def begin(self, event_id: str) -> None:
        """Not noted."""

    def end(self, event_id: str) -> None:
        """Not noted."""


class NoObserver:
    """Nobody listens."""

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """Not told."""

    def retried(self, record: Record, reason: str, attempt: int, delay_secs: int) -> None:
        """Not told."""

    def held(self, record: Record, reason: str) -> None:
        """Not told."""

    def set_aside(self, record: Record, reason: str) -> None:
        """Not told."""

    def standing(self, waiting: int, parked: int) -> None:
        """Not told."""
