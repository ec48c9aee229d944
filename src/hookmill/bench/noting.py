"""The handler of the chain's benchmark: it notes which delivery came when, and nothing else.

The clock is the machine's monotonic one, which all its processes share: a step of the wall clock
cannot bend a latency.
"""

import os
import time
from pathlib import Path

from hookmill.core.event import Event
from hookmill.handlers.api import Answer, Context

TO = "BENCH_NOTES"
"""Names the file, in the environment of the handler's process."""


async def note(event: Event, context: Context) -> Answer:
    """Append one line: the delivery, the event, microseconds. A line is written whole or not."""
    line = f"{context.delivery} {event.id} {time.monotonic_ns() // 1000}\n"
    file = os.open(os.environ[TO], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    return None


def notes(path: Path) -> list[tuple[str, int]]:
    """What was noted up to now: delivery and microseconds of the monotonic clock, in order."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    parts = (line.split(" ") for line in whole.splitlines())
    return [(delivery, int(at_us)) for delivery, _, at_us in parts]
