"""The state of a payment, refund, …: a merge that is the same for every order of arrival.

Each change carries a standing: rank of its status, then the provider's time (0 where it cannot
be trusted), then the row of the pack's table, then the event id. The highest standing seen is
the state. So a late or skipped status never turns it back.
"""

from typing import Final, Literal

import msgspec

STATE_VERSION: Final = 1

TERMINAL_RANK = 5
REPEATED_RANK = 0

_ONE_SUCCESS = {"overpaid": "succeeded"}


class Change(msgspec.Struct, frozen=True, gc=False):
    """What an event says of one resource.

    `rank` orders statuses (created 1 < pending 2 < authorized 3 < underpaid 4 < terminal 5);
    0 is for what happens again and again (a renewal): it is never late. `time_us` is the
    provider's time in epoch microseconds, 0 where it cannot be trusted to order by; `row` is
    the number of the status's row in the pack's table: among equals the larger number wins.
    """

    kind: str
    resource_id: str
    status: str
    rank: int
    time_us: int = 0
    row: int = 0


class ResourceState(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a resource; `terminals` are the different ends it was told of."""

    status: str
    rank: int
    time_us: int
    row: int
    event_id: str
    terminals: tuple[str, ...] = ()
    version: int = 1
    v: Literal[1] = STATE_VERSION

    @property
    def conflict(self) -> bool:
        """Whether two different terminal statuses were seen: a person must look."""
        return len(self.terminals) > 1


class Merged(msgspec.Struct, frozen=True, gc=False):
    """The state after a change, and whether the change came late."""

    state: ResourceState
    late: bool


def merge(state: ResourceState | None, change: Change, event_id: str) -> Merged:
    """The state after the change, whatever came before it."""
    rank, time_us, row = change.rank, change.time_us, change.row
    end = _ONE_SUCCESS.get(change.status, change.status)
    told = (end,) if rank >= TERMINAL_RANK else ()
    if state is None:
        return Merged(ResourceState(change.status, rank, time_us, row, event_id, told), late=False)
    terminals = state.terminals
    if told and end not in terminals:
        terminals = tuple(sorted((*terminals, end)))
    standing = (rank, time_us, row, event_id)
    wins = standing > (state.rank, state.time_us, state.row, state.event_id)
    if wins:
        after = ResourceState(change.status, *standing, terminals, state.version + 1)
    elif terminals != state.terminals:
        after = msgspec.structs.replace(state, terminals=terminals, version=state.version + 1)
    else:
        after = state
    return Merged(after, late=not wins and change.rank != REPEATED_RANK)


_DECODER = msgspec.json.Decoder(ResourceState)


def encode_state(state: ResourceState) -> bytes:
    """The state as it is kept in `resource-state`."""
    return msgspec.json.encode(state)


def decode_state(value: bytes) -> ResourceState:
    """A kept state; raises msgspec.MsgspecError for a format this release does not know."""
    return _DECODER.decode(value)
