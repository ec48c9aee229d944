"""What code leaves behind that only the garbage collector can free: hookmill runs it seldom."""

import gc
import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """Hookmill's objects and calls that became such garbage in the block, by their names; told
    once it is over."""
    gc.collect()
    gc.disable()
    found = Counter[str]()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(_name(each) for each in gc.garbage if _is_ours(each))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _name(thing: object) -> str:
    return thing.f_code.co_qualname if inspect.isframe(thing) else type(thing).__qualname__


def _is_ours(thing: object) -> bool:
    if inspect.isframe(thing):
        return "/hookmill/" in thing.f_code.co_filename
    return type(thing).__module__.startswith("hookmill.")
