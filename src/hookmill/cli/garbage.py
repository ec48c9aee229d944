"""The garbage collector, set for a process that makes many objects and few cycles.

What is there after the start (some 100,000 objects of modules and packs) stays for good: frozen, it
is not looked through again. And a collection is due only when a million objects more were made than
freed. Reference counts free the records on their way, and there are hundreds of thousands of them
at a time with their headers: each collection looked through them all and found nothing, a sixth of
what a stage cost.
"""

import gc

YOUNG_MAX = 1_000_000


def settle() -> None:
    """The start is over."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 50)
