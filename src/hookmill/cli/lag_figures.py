"""The figures of `hookmill lag`: what a group has before it, what waits, what is parked; pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from hookmill.cli.kept_view import ParkedEvent
from hookmill.core.times import from_epoch_us
from hookmill.handlers.kept import Waiting


class Ahead(msgspec.Struct, frozen=True):
    """What a group has still to do on one partition of the topic that it reads.

    It goes on at `position`; `end` is the log's stable end. `records` is a count, or, where not
    `exact`, no fewer than there are. `oldest_ms` is the append time of the oldest.
    """

    partition: int
    position: int
    end: int
    records: int = 0
    exact: bool = True
    oldest_ms: int | None = None


class RetryLag(msgspec.Struct, frozen=True):
    """Events that wait in one retry topic. `next_due` is the time of the next attempt; if that has
    passed, `overdue_secs` ago. The oldest failed `age_secs` ago."""

    topic: str
    delay_secs: int
    configured: bool
    events: int
    next_due: str | None
    overdue_secs: float
    age_secs: float


class ParkedLag(msgspec.Struct, frozen=True):
    """Events parked behind those; the oldest came to the queue `age_secs` ago."""

    events: int
    subjects: int
    age_secs: float


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """The lag of a group on one partition; `retries` and `parked` of handlers only."""

    partition: int
    position: int
    end: int
    records: int
    exact: bool
    age_secs: float
    retries: list[RetryLag]
    parked: ParkedLag | None


class GroupLag(msgspec.Struct, frozen=True, kw_only=True):
    """The lag of a group over all partitions; these one by one where they were asked for."""

    group: str
    topic: str
    records: int
    exact: bool
    age_secs: float
    retries: list[RetryLag]
    parked: ParkedLag | None
    partitions: list[PartitionLag] | msgspec.UnsetType = msgspec.UNSET


class HandlerState(msgspec.Struct, frozen=True):
    """What a handler's state tells of one partition."""

    waiting: Sequence[Waiting]
    parked: Sequence[ParkedEvent]


class Delays(msgspec.Struct, frozen=True):
    """A handler's retry topics: each delay in seconds with its topic as a waiting event names it
    and as the cluster does, and the delays that are configured."""

    topics: Mapping[int, tuple[str, str]]
    configured: Sequence[int]


def group_lag(
    group: str,
    topic: str,
    aheads: Sequence[Ahead],
    now_ms: int,
    *,
    delays: Delays | None = None,
    states: Mapping[int, HandlerState] | None = None,
    partitions: bool = False,
) -> GroupLag:
    """A group's lag. For a handler `delays` says where events wait and `states` what, by partition;
    `now_ms` is the machine's clock, epoch milliseconds."""
    known = states or {}
    oldest_ms = min((each.oldest_ms for each in aheads if each.oldest_ms is not None), default=None)
    return GroupLag(
        group=group,
        topic=topic,
        records=sum(each.records for each in aheads),
        exact=all(each.exact for each in aheads),
        age_secs=_age_secs(oldest_ms, now_ms),
        retries=_retries(delays, known.values(), now_ms),
        parked=_parked(delays, known.values(), now_ms),
        partitions=[
            _partition_lag(each, delays, known.get(each.partition), now_ms) for each in aheads
        ]
        if partitions
        else msgspec.UNSET,
    )


def _partition_lag(
    ahead: Ahead, delays: Delays | None, state: HandlerState | None, now_ms: int
) -> PartitionLag:
    states = [] if state is None else [state]
    return PartitionLag(
        partition=ahead.partition,
        position=ahead.position,
        end=ahead.end,
        records=ahead.records,
        exact=ahead.exact,
        age_secs=_age_secs(ahead.oldest_ms, now_ms),
        retries=_retries(delays, states, now_ms),
        parked=_parked(delays, states, now_ms),
    )


def _retries(delays: Delays | None, states: Iterable[HandlerState], now_ms: int) -> list[RetryLag]:
    if delays is None:
        return []
    waiting = [each for state in states for each in state.waiting]
    return [
        _retry_lag(
            [each for each in waiting if each.topic == plain],
            topic=topic,
            delay_secs=delay_secs,
            configured=delay_secs in delays.configured,
            now_ms=now_ms,
        )
        for delay_secs, (plain, topic) in sorted(delays.topics.items())
    ]


def _retry_lag(
    waiting: Sequence[Waiting], *, topic: str, delay_secs: int, configured: bool, now_ms: int
) -> RetryLag:
    due_ms = min((each.not_before_ms for each in waiting), default=None)
    return RetryLag(
        topic=topic,
        delay_secs=delay_secs,
        configured=configured,
        events=len(waiting),
        next_due=None if due_ms is None else from_epoch_us(due_ms * 1000),
        overdue_secs=_age_secs(due_ms, now_ms),
        age_secs=_age_secs(min((each.at_ms for each in waiting), default=None), now_ms),
    )


def _parked(delays: Delays | None, states: Iterable[HandlerState], now_ms: int) -> ParkedLag | None:
    if delays is None:
        return None
    parked = [each for state in states for each in state.parked]
    return ParkedLag(
        events=len(parked),
        subjects=len({each.subject for each in parked}),
        age_secs=_age_secs(min((each.timestamp_ms for each in parked), default=None), now_ms),
    )


def _age_secs(at_ms: int | None, now_ms: int) -> float:
    """How long ago; 0 for never, and where two clocks differ."""
    return 0.0 if at_ms is None else max(0, now_ms - at_ms) / 1000


Row = tuple[str, str, str, str, str, str]
COLUMNS = ("group", "where", "partition", "records", "age", "")


def rows(lags: Iterable[GroupLag]) -> list[Row]:
    """The table: for each group a row for its queue, and for a handler one for each retry topic and
    one for what is parked. Of single partitions those rows are left out where nothing waits."""
    found: list[Row] = []
    for lag in lags:
        if lag.partitions is msgspec.UNSET:
            found += _rows_of(lag.group, lag.topic, "", lag)
            continue
        for each in lag.partitions:
            here = _rows_of(lag.group, lag.topic, str(each.partition), each)
            found += [row for row in here if row[1] == lag.topic or row[3] != "0"]
    return found


def _rows_of(group: str, topic: str, partition: str, lag: Any) -> list[Row]:
    bound = "" if lag.exact else "≤ "
    found = [(group, topic, partition, f"{bound}{lag.records}", secs(lag.age_secs), "")]
    for each in lag.retries:
        found.append((group, each.topic, partition, str(each.events), secs(each.age_secs),
                      _due(each)))  # fmt: skip
    if (parked := lag.parked) is not None:
        of = f"of {parked.subjects} subject{'s' * (parked.subjects != 1)}" if parked.events else ""
        found.append((group, "parked", partition, str(parked.events), secs(parked.age_secs), of))
    return found


def _due(lag: RetryLag) -> str:
    said = []
    if lag.next_due is not None:
        late = f", overdue {secs(lag.overdue_secs)}" if lag.overdue_secs else ""
        said.append(f"next at {lag.next_due[11:19]}Z{late}")
    if not lag.configured:
        said.append("not configured any more")
    return "; ".join(said)


def secs(seconds: float) -> str:
    """Seconds to a tenth: `0 s`, `12.3 s`."""
    return f"{seconds:.1f}".removesuffix(".0") + " s"
