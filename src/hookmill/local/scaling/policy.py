"""How many replicas are wished for: KEDA's triggers and the pod autoscaler's rules, computed.

The rules are those of Kubernetes' autoscaling/v2 with average values (replicas = figure / target,
rounded up, unless within a tenth of what runs; the largest wish counts), its stabilization windows
and its policies: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
A wish is rounded up to a number that shares the partitions out evenly, as the queries of the
manifests do and KEDA's ensureEvenDistributionOfPartitions.
"""

from collections import deque
from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
TOLERANCE_PARTS = 10
"""A figure within a tenth of its target changes nothing."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A ScaledObject in figures; what is given here is that of dedup in deploy/kubernetes."""

    replicas_min: Positive = 2
    replicas_max: Positive = 12
    age_secs: NotNegative = 10
    """Age of the oldest record for each replica; 0: this trigger is left out, as with the next."""
    lag_records: NotNegative = 200_000
    """Offsets behind for each replica."""
    work_per_sec: NotNegative = 14_000
    """Records a second that each replica deals with."""
    poll_secs: Positive = 15
    up_window_secs: NotNegative = 30
    up_pods: Positive = 12
    up_period_secs: Positive = 60
    down_window_secs: NotNegative = 900
    down_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    down_period_secs: Positive = 300


class Figures(msgspec.Struct, frozen=True):
    """What the autoscaler is told of the group."""

    age_secs: int
    lag_records: int
    work_per_sec: int


def wish(policy: Policy, figures: Figures, replicas: int, partitions: int) -> int:
    """The replicas that the figures ask for, before windows and policies."""
    wishes = [
        _unless_near(even(figure, target, partitions), replicas)
        for figure, target in (
            (figures.age_secs, policy.age_secs),
            (figures.lag_records, policy.lag_records),
            (figures.work_per_sec, policy.work_per_sec),
        )
        if target
    ]
    return min(policy.replicas_max, max(policy.replicas_min, *wishes, 0))


def even(figure: int, target: int, partitions: int) -> int:
    """So many replicas that the busiest of them has no more than its target.

    It has the partitions that one replica may carry, in whole: of 12 partitions, 7 to 11 replicas
    leave two to somebody, as 6 do.
    """
    if figure <= 0:
        return 0
    carried = max(1, partitions * target // figure)
    return -(-partitions // carried)


def _unless_near(wished: int, replicas: int) -> int:
    return replicas if abs(wished - replicas) * TOLERANCE_PARTS <= replicas else wished


class Autoscaler:
    """Decides from one poll to the next; remembers what its windows and periods need."""

    def __init__(self, policy: Policy, partitions: int) -> None:
        self._policy = policy
        self._partitions = partitions
        self._wishes: deque[tuple[int, int]] = deque()
        self._changes: deque[tuple[int, int]] = deque()

    def decide(self, now_secs: int, figures: Figures, replicas: int) -> int:
        """The number of replicas from now on."""
        policy = self._policy
        wished = wish(policy, figures, replicas, self._partitions)
        self._wishes.append((now_secs, wished))
        longest = max(policy.up_window_secs, policy.down_window_secs)
        while self._wishes[0][0] < now_secs - longest:
            self._wishes.popleft()
        least = min(w for at, w in self._wishes if at >= now_secs - policy.up_window_secs)
        most = max(w for at, w in self._wishes if at >= now_secs - policy.down_window_secs)
        steady = min(max(replicas, least), most)
        decided = self._limited(now_secs, steady, replicas)
        if decided != replicas:
            self._changes.append((now_secs, decided - replicas))
        return decided

    def _limited(self, now_secs: int, wanted: int, replicas: int) -> int:
        policy = self._policy
        if wanted > replicas:
            added = self._changed(now_secs - policy.up_period_secs, up=True)
            return max(replicas, min(wanted, replicas - added + policy.up_pods))
        if wanted < replicas:
            before = replicas + self._changed(now_secs - policy.down_period_secs, up=False)
            return min(replicas, max(wanted, before * (100 - policy.down_percent) // 100))
        return wanted

    def _changed(self, since_secs: int, *, up: bool) -> int:
        return sum(abs(by) for at, by in self._changes if at > since_secs and (by > 0) == up)
