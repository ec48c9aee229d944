"""Money as minor units in a string of digits: exact for 10^18 wei, never a float."""

import re
from typing import Annotated, Any

import msgspec

from hookmill.core.parse import Number

DIGITS_MAX = 38
_LIMIT = 10**DIGITS_MAX

MinorUnits = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^-?[0-9]{1,38}$",
        # the $ of some dialects (Python's is one) takes a newline at the end
        extra_json_schema={"not": {"pattern": "[^-0-9]"}},
    ),
]


class Money(msgspec.Struct, frozen=True, gc=False):
    """An amount: `minor` units in digits, the currency's code, how many digits are decimals.

    900 ZAR cents are `Money("900", "ZAR", 2)`. `exponent` is None where nobody says it.
    """

    minor: MinorUnits
    currency: str
    exponent: int | None


_PLAIN = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?")


def whole_units(value: Any) -> int | None:
    """A JSON number that is a whole, non-negative figure of at most 38 digits, else None.

    900.0 and 9e2 are the same JSON number as 900 and are taken; 900.5, -1, "900", true are not.
    """
    if type(value) is int:  # and no bool
        return value if 0 <= value < _LIMIT else None
    if not isinstance(value, Number):
        return None
    return _whole(value.text)


def _whole(text: str) -> int | None:
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    sign, integer, fraction, exponent = match.groups()
    digits = (integer + (fraction or "")).lstrip("0")
    shift = int(exponent or 0) - len(fraction or "")
    if not digits:
        return 0
    if shift < 0:
        digits, dropped = digits[:shift], digits[shift:]
        if dropped.strip("0") or not digits:
            return None
        shift = 0
    if sign or len(digits) + shift > DIGITS_MAX:
        return None
    return int(digits + "0" * shift)
