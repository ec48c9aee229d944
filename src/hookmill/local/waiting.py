"""Waiting for a condition with a limit: the broker's only use of the clock."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hookmill.local.errors import BrokerError

POLL_SECS = 0.05


def wait_until(condition: Callable[[], bool], *, timeout_secs: float) -> bool:
    """Return True as soon as the condition holds, False if it still does not after the limit."""
    deadline = time.monotonic() + timeout_secs
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECS)
    return True


@contextmanager
def exclusive(path: Path, *, timeout_secs: float, purpose: str) -> Iterator[None]:
    """Hold the lock of this file, which dies with the process; its folder is made if need be.

    Raises BrokerError when another process or thread holds it for longer than the limit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _try_lock(descriptor), timeout_secs=timeout_secs):
            raise BrokerError(
                f"another process has been {purpose} for more than {timeout_secs:g} s "
                f"(it holds {path}); wait for it or end it"
            )
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
