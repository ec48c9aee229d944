"""Times as providers write them, in epoch microseconds and back."""

import re
from functools import lru_cache
from typing import Literal

from hookmill.core.times import from_epoch_us, rfc3339_epoch_us

TimeUnit = Literal["s", "ms", "us", "s-or-ms", "rfc3339"]
"""`s-or-ms` is for providers whose pages and code differ: 11 digits and more are milliseconds."""

_WHOLE = {"s": re.compile(r"[0-9]{1,15}"), "us": re.compile(r"[0-9]{1,18}")}
_UNIT_US = {"s": 1_000_000, "ms": 1000, "us": 1}
SECONDS_DIGITS_MAX = 10


@lru_cache(maxsize=1024)  # deliveries of one second carry the same text, and each is asked twice
def epoch_us(text: str | None, unit: TimeUnit) -> int | None:
    """The moment, or None where the text is no such time."""
    if text is None:
        return None
    if unit == "rfc3339":
        return rfc3339_epoch_us(text)
    if not _WHOLE.get(unit, _WHOLE["us"]).fullmatch(text):
        return None
    if unit == "s-or-ms":
        unit = "s" if len(text) <= SECONDS_DIGITS_MAX else "ms"
    return int(text) * _UNIT_US[unit]


@lru_cache(maxsize=1024)
def moment(text: str | None, unit: TimeUnit) -> tuple[int, str] | None:
    """The moment and how we write it; None where the text is no time, or of no calendar."""
    at_us = epoch_us(text, unit)
    ours = None if at_us is None else from_epoch_us(at_us)
    return None if at_us is None or ours is None else (at_us, ours)


def written(at_us: int, unit: TimeUnit) -> str:
    """The moment as the provider would write it; RFC 3339 in whole seconds."""
    if unit == "rfc3339":
        text = from_epoch_us(at_us // 1_000_000 * 1_000_000) or ""
        return text.replace(".000000Z", "Z")
    return str(at_us // _UNIT_US["ms" if unit == "s-or-ms" else unit])
