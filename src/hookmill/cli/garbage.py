"""The garbage collector, set for a process that makes many objects and few cycles.

What is there after the start (some 100,000 objects of modules and packs) stays for good: frozen, it
is not looked through again. And a collection is due after 50,000 objects instead of 700: hot paths
make hundreds a millisecond, which their reference counts free.
"""

import gc

YOUNG_MAX = 50_000


def settle() -> None:
    """The start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 50)
