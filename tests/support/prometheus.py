"""Debian's Prometheus: `promtool`, and a server of a test's own."""

import os
import shutil

import pytest

NEEDED = "HOOKMILL_TESTS_NEED_PROMETHEUS"
"""Set where Prometheus must be there: its absence is a failure then."""


def find(command: str) -> str:
    """The path of `prometheus` or `promtool`. Where there is none: skipped, failed in CI."""
    path = shutil.which(command)
    if path is not None:
        return path
    missing = f"no {command} here: install Debian's package prometheus"
    if os.environ.get(NEEDED):
        pytest.fail(missing)
    pytest.skip(missing)
