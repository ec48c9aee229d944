"""Times as they travel: RFC 3339 in UTC with microseconds."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

# A pattern must say the same in every dialect: Python's \d takes any script's digits, and its $
# a newline at the end.
Timestamp = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        max_length=27,
        extra_json_schema={"format": "date-time"},
    ),
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# An hour of 24 is ISO 8601, not RFC 3339; `fromisoformat` takes it from Python 3.14 on.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ](?!24)\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def from_epoch_us(epoch_us: int) -> str | None:
    """Epoch microseconds as RFC 3339, or None where no calendar has such a day."""
    whole = _second(epoch_us // 1_000_000)
    digits = str(epoch_us % 1_000_000 + 1_000_000)  # a 1 and all six; `:06d` takes twice as long
    return None if whole is None else f"{whole}.{digits[1:]}Z"


@lru_cache(maxsize=1024)
def _second(epoch_secs: int) -> str | None:
    """To the second; many events share one, and the calendar is what costs."""
    try:
        moment = _EPOCH + timedelta(seconds=epoch_secs)
    except OverflowError:
        return None
    return moment.isoformat()[:19]


def from_rfc3339(text: object) -> str | None:
    """A provider's RFC 3339 time as ours (digits beyond microseconds cut), or None."""
    moment = _moment(text)
    return None if moment is None else _text(moment)


def rfc3339_epoch_us(text: object) -> int | None:
    """A provider's RFC 3339 time in epoch microseconds, or None."""
    moment = _moment(text)
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def to_epoch_us(text: str) -> int | None:
    """An RFC 3339 time in epoch microseconds, or None if the text is none."""
    ours = from_rfc3339(text)
    if ours is None:
        return None
    return (datetime.fromisoformat(ours) - _EPOCH) // _MICROSECOND


def _text(moment: datetime) -> str:
    """Of a moment in UTC. A fifth of what strftime takes, which pads no year before 1000."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
