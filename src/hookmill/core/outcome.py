"""The four words with which a stage answers; only the engine acts on them."""

import msgspec

from hookmill.core.record import Output


class Forward(msgspec.Struct, frozen=True, gc=False):
    """Write `outputs`, and `state` (key to new value) to the store and its changelog."""

    outputs: tuple[Output, ...]
    state: tuple[tuple[bytes, bytes], ...] = ()


class Drop(msgspec.Struct, frozen=True):
    """Write nothing: `reason` (bounded) is counted."""

    reason: str


class Retry(msgspec.Struct, frozen=True):
    """Not now, for a bounded `reason`; `detail` is for a person, and goes to no log.

    A stage's is always in place: the transaction is aborted and the batch tried again. A handler's
    counts as a failed attempt, and its event waits in a retry topic for at least `after_secs`.
    With `in_place` it says that nothing can be handled now (its database is away): nothing counts,
    the event stays where it is, and is tried again after a growing pause.
    """

    reason: str
    detail: str = ""
    after_secs: float = 0.0
    in_place: bool = False


class DeadLetter(msgspec.Struct, frozen=True):
    """Set the record aside with a bounded `reason` and a capped `detail` for a person."""

    reason: str
    detail: str = ""


Outcome = Forward | Drop | Retry | DeadLetter
