"""Times as people write them on the command line, and read them."""

import re

from hookmill.core.errors import ConfigurationError
from hookmill.core.times import to_epoch_us

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_SECS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment_us(text: str, now_us: int, *, option: str) -> int:
    """`24h` (so long ago) or an RFC 3339 time, in epoch microseconds.

    Raises ConfigurationError, naming the option, for anything else.
    """
    if match := _AGO.fullmatch(text):
        return now_us - int(match[1]) * _UNIT_SECS[match[2]] * 1_000_000
    epoch_us = to_epoch_us(text)
    if epoch_us is None:
        raise ConfigurationError(
            f"{option} {text}: a number and s, m, h or d, such as 24h, or a time such as "
            "2026-11-23T09:00:00Z"
        )
    return epoch_us


def age(secs: int) -> str:
    """How old, to two figures or so: `45s`, `12m`, `3h`, `5d`."""
    for unit in ("d", "h", "m"):
        if secs >= 2 * _UNIT_SECS[unit]:
            return f"{secs // _UNIT_SECS[unit]}{unit}"
    return f"{max(0, secs)}s"
