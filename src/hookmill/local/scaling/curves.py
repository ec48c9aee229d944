"""Arrival curves: how many records come in each second, from a shape or from a file."""

import csv
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from hookmill.core.errors import ConfigurationError

HOUR_SECS = 3600
POINTS_OF_A_WAVE = 96

Points = Sequence[tuple[float, float]]
"""Seconds since the beginning, and records a second; between two of them the rate is a line."""


def _steady(peak: float, secs: float) -> Points:
    return [(0, peak), (secs, peak)]


def _ramp(peak: float, secs: float) -> Points:
    return [(0, peak / 10), (secs * 0.8, peak), (secs, peak)]


def _burst(peak: float, secs: float) -> Points:
    """A fifth of the peak, the peak at once for a quarter of the time, and a fifth again."""
    low, begin, end = peak / 5, secs * 0.25, secs * 0.5
    return [(0, low), (begin, low), (begin + 1, peak), (end, peak), (end + 1, low), (secs, low)]


def _day(peak: float, secs: float) -> Points:
    """A wave with its trough at a tenth of the peak, and a shoulder in its evening."""

    def height(x: float) -> float:
        wave = 0.5 - 0.5 * math.cos(2 * math.pi * x)
        evening = math.exp(-(((x - 0.8) / 0.05) ** 2))
        return round(0.1 + 0.9 * min(1.0, wave + 0.35 * evening), 6)

    steps = [step / POINTS_OF_A_WAVE for step in range(POINTS_OF_A_WAVE + 1)]
    return [(x * secs, peak * height(x)) for x in steps]


def _sale(peak: float, secs: float) -> Points:
    """Quiet, then everybody at the same minute, then ever fewer."""
    begin, low = secs * 0.2, peak / 20
    tail = [
        (
            begin + 60 + step * (secs - begin - 60) / 40,
            max(low, peak * round(math.exp(-step / 6), 6)),
        )
        for step in range(41)
    ]
    return [(0, low), (begin, low), *tail]


SHAPES: dict[str, Callable[[float, float], Points]] = {
    "steady": _steady, "ramp": _ramp, "burst": _burst, "day": _day, "sale": _sale,
}  # fmt: skip


def shape(name: str, *, peak_per_sec: float, secs: int) -> list[int]:
    """The records of each second. Raises ConfigurationError for a shape that is not there."""
    made = SHAPES.get(name)
    if made is None:
        raise ConfigurationError(f"no shape is called '{name}': {', '.join(SHAPES)}")
    return each_second(made(peak_per_sec, secs))


def from_csv(text: str) -> list[int]:
    """The records of each second, from lines `seconds,records_per_sec`; a header may be first.

    Raises ConfigurationError with the line that is wrong: no two figures, time that does not go on.
    """
    points: list[tuple[float, float]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if not row or (number == 1 and not _is_figure(row[0])):
            continue
        if len(row) != 2 or not all(map(_is_figure, row)):
            raise ConfigurationError(
                f"line {number}: {','.join(row)} is no seconds,records_per_sec"
            )
        at, rate = float(row[0]), float(row[1])
        if rate < 0 or (points and at <= points[-1][0]) or (not points and at != 0):
            raise ConfigurationError(
                f"line {number}: seconds begin with 0 and grow, and a rate is not negative"
            )
        points.append((at, rate))
    if len(points) < 2:
        raise ConfigurationError(
            "a curve has at least two lines: where it begins and where it ends"
        )
    return each_second(points)


def each_second(points: Points) -> list[int]:
    """Whole records for each second of the curve, none lost by rounding."""
    counts: list[int] = []
    exact = told = 0.0
    for (begin, low), (end, high) in pairwise(points):
        while len(counts) < end:
            second = len(counts)
            exact += low + (high - low) * (second - begin) / (end - begin)
            counts.append(int(exact - told))
            told += counts[-1]
    return counts


def _is_figure(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
