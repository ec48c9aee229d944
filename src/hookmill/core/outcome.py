"""The four words with which a stage answers; only the engine acts on them."""

import msgspec

from hookmill.core.record import Output


class Forward(msgspec.Struct, frozen=True):
    """Write `outputs`, and `state` (key to new value) to the store and its changelog."""

    outputs: tuple[Output, ...]
    state: tuple[tuple[bytes, bytes], ...] = ()


class Drop(msgspec.Struct, frozen=True):
    """Write nothing: `reason` (bounded) is counted."""

    reason: str


class Retry(msgspec.Struct, frozen=True):
    """Not now: abort the transaction and try the batch again in place, never skipping."""

    reason: str


class DeadLetter(msgspec.Struct, frozen=True):
    """Set the record aside with a bounded `reason` and a capped `detail` for a person."""

    reason: str
    detail: str = ""


Outcome = Forward | Drop | Retry | DeadLetter
