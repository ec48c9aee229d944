"""Plays an arrival curve against a group and its autoscaler, second by second, without chance."""

from collections import deque
from collections.abc import Sequence

import msgspec

from hookmill.core.errors import ConfigurationError
from hookmill.local.scaling.group import Group, World
from hookmill.local.scaling.policy import Autoscaler, Figures, Policy

WORK_WINDOW_SECS = 120
"""`rate(…[2m])` in the trigger."""
SCRAPE_SECS = 15
"""How old a figure is when the autoscaler hears of it."""


class Row(msgspec.Struct, frozen=True):
    """One second."""

    at_secs: int
    arrivals: int
    done: int
    backlog: int
    age_secs: int
    replicas: int


class Run(msgspec.Struct, frozen=True):
    """A whole run, and what it comes to."""

    rows: list[Row]
    rebalances: int

    @property
    def age_secs_max(self) -> int:
        """The longest that any record has waited."""
        return max((row.age_secs for row in self.rows), default=0)

    def secs_above(self, age_secs: int) -> int:
        """In how many seconds the oldest record was older than that."""
        return sum(row.age_secs > age_secs for row in self.rows)

    @property
    def replicas_max(self) -> int:
        """The most that ran at once."""
        return max((row.replicas for row in self.rows), default=0)

    @property
    def replica_hours(self) -> float:
        """What it costs."""
        return sum(row.replicas for row in self.rows) / 3600


def simulate(arrivals: Sequence[int], world: World, policy: Policy) -> Run:
    """One row a second. Raises ConfigurationError for more replicas than partitions."""
    if policy.replicas_max > world.partitions:
        raise ConfigurationError(
            f"at most {policy.replicas_max} replicas for {world.partitions} partitions: "
            "a member more would have nothing to read"
        )
    if policy.replicas_min > policy.replicas_max:
        raise ConfigurationError("the least number of replicas is above the greatest")
    group = Group(world, policy.replicas_min)
    autoscaler = Autoscaler(policy, world.partitions)
    done: deque[int] = deque(maxlen=WORK_WINDOW_SECS)
    told: deque[Figures] = deque(maxlen=SCRAPE_SECS + 1)
    rows = []
    for now_secs, count in enumerate(arrivals):
        done.append(group.second(now_secs, count))
        backlog, age_secs = group.backlog, group.age_secs(now_secs)
        lag = backlog + world.partitions  # each partition rests before a transaction's marker
        told.append(Figures(age_secs, lag, sum(done) // WORK_WINDOW_SECS))
        rows.append(Row(now_secs, count, done[-1], backlog, age_secs, group.replicas))
        if now_secs and now_secs % policy.poll_secs == 0:
            group.scale(now_secs, autoscaler.decide(now_secs, told[0], group.replicas))
    return Run(rows, group.rebalances)
