"""How long a partition rests between two transactions: not at all when it is idle or far behind.

A transaction costs the same for one record as for a hundred: three requests of the worker, some
ten of the broker to itself, about 4 ms of CPU in all. The stage that reads what the ingress wrote,
one record after the other, therefore rests a while, and what has come meanwhile goes out together.
Where the machine is busy transactions take longer, and its rests grow with them: fewer transactions
leave time for all that waits. The stages behind it get what it has committed at once, so there is
nothing more to wait for; were they to rest as long, a batch that comes a moment too early would
wait for nothing.

500 deliveries a second on two cores: p50 from request to handler 50 ms, 80 where every stage rests
15 ms, and a seventh of the CPU more.
"""

GATHERING_SECS = 0.03
REST_TIMES = 3.0
"""What a transaction took, so many times, is its rest where that is longer. Two cores at their end
need 20 ms for one: with rests as long as that p50 is 147 ms and p99 284; with three times as long
128 and 246, and a twentieth less CPU (three runs of each in turn). A quiet one takes 7 ms."""
MARKERS_SECS = 0.003
"""Right after a commit the next one is refused until the broker has written its markers, and is
then tried again by the broker after 20 ms."""
REST_SECS_MAX = 0.1
LARGE_RECORDS = 500
"""A batch of so many says that more are waiting: nothing is gained by a rest."""


def gathers(records: int, took_secs: float) -> float:
    """How long to rest after a transaction of so many records that took so long, where they come
    one by one."""
    if records >= LARGE_RECORDS:
        return 0.0
    return min(REST_SECS_MAX, max(GATHERING_SECS, REST_TIMES * took_secs))


def passes_on(records: int, took_secs: float) -> float:
    """The same, where they come together."""
    return 0.0 if records >= LARGE_RECORDS else MARKERS_SECS
