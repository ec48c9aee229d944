"""What the runner of a handler wants of the world: its queue, a journal, someone to tell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from hookmill.core.event import Event
from hookmill.core.record import Output, Record
from hookmill.pipeline import HandlerTopics


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a handler is run. `retry_topics` are all that there are, those of delays that are
    configured no more too; `delays_secs` are the configured ones, ascending."""

    topics: HandlerTopics
    delays_secs: tuple[int, ...]
    retry_topics: tuple[str, ...]
    timeout_secs: float
    ordered: bool = True
    parked_max: int = 10_000


class Queue(Protocol):
    """One partition of a handler's queue and of its retry topics. Any exception means doubt; the
    runner then begins again."""

    async def begin(self) -> Iterable[tuple[bytes, bytes]]:
        """Fence every earlier owner, restore the state, go to the committed positions.

        Returns the state: its keys and values, maybe among others that are not the runner's.
        """

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records of the queue; empty when none came in time."""

    async def fetch_retries(
        self, topics: Sequence[str], *, records_max: int, timeout_secs: float
    ) -> list[tuple[str, Record]]:
        """The next records of those retry topics, due or not; empty when none came in time."""

    def kept(self, key: bytes) -> bytes:
        """A value out of the state."""

    async def commit(
        self,
        outputs: Sequence[Output],
        changes: Sequence[tuple[bytes, bytes | None]],
        offsets: Mapping[str, int],
    ) -> None:
        """Records, changes of the state, and the next offset of each topic in one transaction; to
        the end even if cancelled."""


class Journal(Protocol):
    """Remembers which events were being handled when a process died."""

    def crashes(self, event_id: str) -> int:
        """How many processes in a row died with it."""

    def begin(self, event_id: str) -> None:
        """It is handed to the handler."""

    def end(self, event_id: str) -> None:
        """It came back."""


class Observer(Protocol):
    """What the runner tells of itself."""

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""

    def retried(self, record: Record, reason: str, attempt: int, delay_secs: int) -> None:
        """The handler failed; the event waits in the retry topic of that delay."""

    def held(self, record: Record, reason: str) -> None:
        """The handler can do nothing now; the event is tried again where it is."""

    def set_aside(self, record: Record, reason: str) -> None:
        """The event is a dead letter now."""

    def standing(self, waiting: int, parked: int) -> None:
        """How many events wait for a retry, and how many are parked behind those."""
