"""What the doctor says: a finding, which of three it is, what it means and what to do about it."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

State = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `do` says what mends it, None where nothing is to be done."""

    state: State
    check: str
    """What kind of thing, bounded: `secret`, `kafka.topic`, …"""
    what: str
    do: str | None = None


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding("ok", check, what)


def warning(check: str, what: str, do: str) -> Finding:
    """It works, and may not for long, or not as well as it could."""
    return Finding("warning", check, what, do)


def failure(check: str, what: str, do: str) -> Finding:
    """It does not work, or a promise does not hold."""
    return Finding("failure", check, what, do)


def count(findings: Iterable[Finding], state: State) -> int:
    """How many findings are of that state."""
    return sum(each.state == state for each in findings)


def some(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
