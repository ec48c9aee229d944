"""What a stage is: two pure steps for many records at a time.

Between the two the engine looks up the state of them all at once. And a stage may take each step of
its own for all of them before the next one: a record that goes through all of the code by itself
pushes the code that the next one needs out of the processor's caches.
"""

from collections.abc import Callable, Sequence
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
    """A pure, synchronous decision. Neither step may look at a clock, a network or a disk.

    What is said of a record may not depend on what else is handed in with it, but for the state
    that those before it leave. An exception is a defect; each record is then tried by itself.
    """

    name: str

    @property
    def forgets(self) -> Callable[[bytes, bytes, int], bool] | None:
        """Whether a key with that value can matter no more at that append time (epoch
        milliseconds); None where state stays."""

    def read(self, records: Sequence[Record]) -> list[T]:
        """Make sense of each record, without any state."""

    def decide(self, tasks: Sequence[T], state: dict[bytes, bytes]) -> list[Outcome]:
        """Answer each with one of the four words, in order, and leave in `state` what they change.

        `state` holds the values of their keys, and lacks those that have none.
        """
