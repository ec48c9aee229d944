"""A consumer group on paper: partitions with a backlog, and members that come and go."""

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Annotated

import msgspec

from hookmill.local.scaling.policy import NotNegative, Positive


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a stage or handler, and what its group costs."""

    partitions: Positive = 12
    capacity_per_sec: Positive = 20_000
    """Records a second that one replica can do, `hookmill bench`."""
    hottest: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """The share of the busiest partition; below an even share, all have the same."""
    startup_secs: NotNegative = 20
    """From the decision to a member in the group: scheduling, starting, joining."""
    rebalance_secs: NotNegative = 3
    """How long nobody works while the group is shared out anew: fence, offset, restore."""
    leave_secs: NotNegative = 10
    """kafka.session_timeout_secs: so long the partitions of a static member that left wait."""


class Group:
    """Whole records only: what came is what was done and what is left, to the last one."""

    def __init__(self, world: World, replicas: int) -> None:
        self._world = world
        self._queues: list[deque[list[int]]] = [deque() for _ in range(world.partitions)]
        """For each partition, oldest first: the second in which records came, and how many."""
        self._waiting = [0] * world.partitions
        self._arrived = 0
        self._turn = 0
        self.replicas = replicas
        self._started = dict.fromkeys(range(replicas), 0)
        self._owned = self._assignment(list(range(replicas)))
        self._shared_out_at: list[int] = []
        self._paused_until = 0
        self.rebalances = 0

    @property
    def backlog(self) -> int:
        """Records that wait."""
        return sum(self._waiting)

    def age_secs(self, now_secs: int) -> int:
        """How long the oldest of them has waited; 0 when none does."""
        return max((now_secs - queue[0][0] for queue in self._queues if queue), default=0)

    def scale(self, now_secs: int, replicas: int) -> None:
        """Start members, which join later, or stop the last ones, whose partitions wait."""
        world = self._world
        for ordinal in range(self.replicas, replicas):
            self._started[ordinal] = now_secs + world.startup_secs
        if replicas != self.replicas:
            wait_secs = world.startup_secs if replicas > self.replicas else world.leave_secs
            self._shared_out_at.append(now_secs + wait_secs)
        self.replicas = replicas

    def second(self, now_secs: int, arrivals: int) -> int:
        """Take what comes in this second and work; returns how many records were done."""
        if any(at <= now_secs for at in self._shared_out_at):
            self._share_out(now_secs)
        self._take(now_secs, arrivals)
        if now_secs < self._paused_until:
            return 0
        return sum(
            self._work(owned)
            for ordinal, owned in self._owned.items()
            if ordinal < self.replicas and self._started[ordinal] <= now_secs
        )

    def _share_out(self, now_secs: int) -> None:
        self._shared_out_at = [at for at in self._shared_out_at if at > now_secs]
        members = [n for n in range(self.replicas) if self._started[n] <= now_secs]
        self._owned = self._assignment(members)
        self._paused_until = now_secs + self._world.rebalance_secs
        self.rebalances += 1

    def _assignment(self, members: Sequence[int]) -> dict[int, list[int]]:
        """Kafka's range assignor: neighbours together, the first members have one more."""
        each, more = divmod(self._world.partitions, len(members))
        ends = [0, *accumulate(each + (place < more) for place in range(len(members)))]
        owned = (list(range(low, high)) for low, high in pairwise(ends))
        return dict(zip(members, owned, strict=True))

    def _take(self, now_secs: int, arrivals: int) -> None:
        """Its share to the busiest, the rest to the others in turn."""
        hot = max(self._world.hottest, 1 / self._world.partitions)
        before, self._arrived = self._arrived, self._arrived + arrivals
        first = int(self._arrived * hot) - int(before * hot)
        if self._world.partitions == 1:
            first = arrivals
        self._put(0, now_secs, first)
        others = self._world.partitions - 1
        for place in range(others):
            each = (arrivals - first + place) // others
            self._put(1 + (self._turn + place) % others, now_secs, each)
        if others:
            self._turn = (self._turn - (arrivals - first)) % others

    def _put(self, partition: int, now_secs: int, count: int) -> None:
        if count:
            self._waiting[partition] += count
            self._queues[partition].append([now_secs, count])

    def _work(self, owned: Sequence[int]) -> int:
        """One member's second: fair to its partitions, idle only when none has any left."""
        left = self._world.capacity_per_sec
        waiting = sum(self._waiting[partition] for partition in owned)
        if waiting <= left:
            for partition in owned:
                self._waiting[partition] = 0
                self._queues[partition].clear()
            return waiting
        by_backlog = sorted(owned, key=lambda partition: self._waiting[partition])
        for place, partition in enumerate(by_backlog):
            done = min(self._waiting[partition], left // (len(by_backlog) - place))
            self._finish(partition, done)
            left -= done
        return self._world.capacity_per_sec - left

    def _finish(self, partition: int, count: int) -> None:
        self._waiting[partition] -= count
        queue = self._queues[partition]
        while count:
            taken = min(count, queue[0][1])
            queue[0][1] -= taken
            count -= taken
            if not queue[0][1]:
                queue.popleft()
