"""Memory of a process that makes many objects and few cycles: the collector, and the allocator.

What is there after the start (some 100,000 objects of modules and packs) stays for good: frozen, it
is not looked through again. And a collection is due after 50,000 objects instead of 700: hot paths
make hundreds a millisecond, which their reference counts free: 8 % of a stage's CPU under load
(py-spy). Chunks that are fetched and batches that are sent are mapped each by itself, and given
back when they are done with: left alone, glibc raises that limit to 32 MiB and keeps the holes
between them.
"""

import contextlib
import ctypes
import gc

YOUNG_MAX = 50_000
MAPPED_FROM_BYTES = 256 * 1024
_M_MMAP_THRESHOLD = -3
"""From malloc.h."""


def settle() -> None:
    """The start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 50)
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
