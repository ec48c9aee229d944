"""What a process has used of the machine, as its system counts it."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU-seconds since the start (user and system) and resident memory now."""

    cpu_secs: float
    rss_bytes: int


def usage(pid: int) -> Usage:
    """Of that process and its children. Raises psutil.NoSuchProcess when it is gone."""
    process = psutil.Process(pid)
    cpu_secs, rss_bytes = 0.0, 0
    for each in (process, *process.children(recursive=True)):
        with each.oneshot():
            times = each.cpu_times()
            cpu_secs += times.user + times.system
            rss_bytes += each.memory_info().rss
    return Usage(cpu_secs, rss_bytes)
