"""Judges what a group made of a fault: how long any record waited, and that none is lost or twice.

A partition that nobody works on shows in the broker's own times: between the append of a record to
the stage's input and the append of its output.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hookmill.bench.figures import Check


class Appended(NamedTuple):
    """A record in a topic: of which delivery, where, and when (epoch milliseconds)."""

    delivery: str
    partition: int
    at_ms: int


def pauses_secs(read: Sequence[Appended], written: Sequence[Appended]) -> Mapping[int, float]:
    """By partition: the longest that a record which was read waited until it was written."""
    ends = {each.delivery: each.at_ms for each in written}
    longest: dict[int, float] = {}
    for each in read:
        if each.delivery in ends:
            waited_secs = max(0, ends[each.delivery] - each.at_ms) / 1000
            longest[each.partition] = max(longest.get(each.partition, 0.0), waited_secs)
    return longest


def check(what: str, accepted: Sequence[str], written: Sequence[Appended]) -> Check:
    """Whether each accepted delivery came out exactly once."""
    wanted = Counter(accepted)
    came = Counter(each.delivery for each in written if each.delivery in wanted)
    missing, twice = len(wanted - came), len(came - wanted)
    told = f": {missing} lost, {twice} twice" if missing or twice else ", none lost or twice"
    return Check(f"{what}: {len(wanted):,} deliveries{told}", not (missing or twice))
