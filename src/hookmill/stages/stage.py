"""What a stage is: two pure steps, so that the engine can look up a whole batch at once."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from hookmill.core.outcome import Outcome
from hookmill.core.record import Record


class Task(Protocol):
    """A record as a stage has read it, and the keys of the state it needs to decide."""

    @property
    def state_keys(self) -> tuple[bytes, ...]:
        """The keys whose values `decide` must be handed."""


T = TypeVar("T", bound=Task)


class Stage(Protocol[T]):
    """A pure, synchronous decision. Neither step may look at a clock, a network or a disk."""

    name: str

    @property
    def forgets(self) -> Callable[[bytes, bytes, int], bool] | None:
        """Whether a key with that value can matter no more at that append time (epoch
        milliseconds); None where state stays."""

    def read(self, record: Record) -> T:
        """Make sense of the record, without any state."""

    def decide(self, task: T, state: Mapping[bytes, bytes]) -> Outcome:
        """Answer with one of the four words; `state` lacks the keys that hold nothing."""
