"""Expired state leaves the store: a few keys are looked at with every transaction.

A transaction looks at twice as many keys as it writes, from where the one before it stopped, and
drops what the stage says can matter no more. So a pass over the store takes as long as half as many
new keys as it holds, and of what has expired there is a third of what has not, at worst as much.
The changelog forgets by its own retention; a restored store is swept again.
"""

from collections.abc import Callable

from hookmill.kafka.store import Changes, Store

Forgets = Callable[[bytes, bytes, int], bool]
"""Whether a key with that value can matter no more at that append time (epoch milliseconds)."""

KEYS_PER_CHANGE = 2
KEYS_LEAST = 16
"""So that a transaction in which everything was a duplicate goes on with it too."""


def expired(
    store: Store, forgets: Forgets, begin: bytes, *, changes: int, now_ms: int
) -> tuple[Changes, bytes]:
    """What a transaction with so many changes is to delete, and from where the next one goes on.

    `begin` is the key up to which the store was looked through; empty at its start.
    """
    budget = max(KEYS_LEAST, changes * KEYS_PER_CHANGE)
    found = store.after(begin, budget)
    gone: Changes = [(key, None) for key, value in found if forgets(key, value, now_ms)]
    return gone, found[-1][0] if len(found) == budget else b""
