"""What a benchmark found: CPU-seconds for a fixed amount of work, beside those of the floor.

Machines are noisy and differ; a ratio of two figures of one run is what can be compared.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds that half, 99 % and 99.9 % of the work stayed below, and the longest."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing measured. `cpu_secs` are user and system time of the process for all its work.

    `floor_cpu_secs` are those of a floor of its own for as much work, where rows have one each.
    """

    name: str
    work: int
    wall_secs: float
    cpu_secs: float
    latency: Latency | None = None
    rss_bytes: int | None = None
    floor_cpu_secs: float | None = None

    @property
    def per_sec(self) -> float:
        """Work done a second of wall time."""
        return self.work / self.wall_secs if self.wall_secs else 0.0

    def cpu_for(self, work: int) -> float:
        """CPU-seconds for that much work."""
        return self.cpu_secs * work / self.work


class Check(msgspec.Struct, frozen=True):
    """Whether the result was what it must be: a fast wrong answer is no figure."""

    what: str
    good: bool


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number that is no CPU time: a pause, a size, a rate. `at_most` is its aim, where it has
    one; `at_least` likewise."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def good(self) -> bool:
        """Whether it keeps its aim."""
        above = self.at_most is not None and self.value > self.at_most
        below = self.at_least is not None and self.value < self.at_least
        return not (above or below)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's outcome: the `floor` and the `rows` beside it, for `per` of a `unit` each.

    `at_most` is the aim: of the first row's CPU-seconds (`aim_of` `cpu`), or of their ratio to the
    floor's (`ratio`).
    """

    bench: str
    unit: str
    per: int
    floor: Row | None
    rows: tuple[Row, ...]
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...] = ()
    at_most: float | None = None
    aim_of: Literal["cpu", "ratio"] = "cpu"
    notes: tuple[str, ...] = ()

    def ratio(self, row: Row) -> float | None:
        """The row's CPU for the same work, as a multiple of the floor's."""
        if row.floor_cpu_secs:
            return row.cpu_secs / row.floor_cpu_secs
        if self.floor is None or not self.floor.cpu_secs:
            return None
        return row.cpu_for(self.per) / self.floor.cpu_for(self.per)

    @property
    def good(self) -> bool:
        """Whether every result was right. What was slow is told, not failed: machines differ."""
        return all(each.good for each in self.checks)


def latency(seconds: Sequence[float]) -> Latency:
    """The percentiles of these durations, by nearest rank.

    Raises ValueError for none at all.
    """
    if not seconds:
        raise ValueError("nothing was measured")
    ordered = sorted(seconds)

    def below(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return Latency(
        p50_ms=below(0.5), p99_ms=below(0.99), p999_ms=below(0.999), max_ms=ordered[-1] * 1000
    )
