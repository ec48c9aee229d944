"""Turns what the engines of stages and handlers tell of themselves into metrics and log lines."""

import contextlib
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hookmill.config.options import Endpoint
from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.record import Record
from hookmill.core.times import rfc3339_epoch_us
from hookmill.stages import headers
from hookmill.stages.dedup import Duplicate
from hookmill.stages.normalize import Unrecognized
from hookmill.stages.route import Routed
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say
from hookmill.telemetry.traces import Decided, StageTraces

REASONS_MAX = 50
"""How many reasons of a handler are labels; a handler's words are not ours to bound."""
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
PROGRESS_SECS = 2.0
"""How often a restore says how far it is; a short one only says that it is done."""
TYPES_MAX = 50
"""How many types of unrecognized events are labels; a provider's words are not ours to bound."""
TYPE_CHARS_MAX = 64


class StageTelemetry:
    """What the engine tells of one partition: counted once a transaction, said record by record
    only where a person may have to look."""

    def __init__(self, stage: str, partition: int, traces: StageTraces | None = None) -> None:
        self._traces = traces
        self._stage = stage
        self._partition = partition
        self._forwarded = catalog.STAGE_RECORDS.labels(stage, "forwarded")
        self._dropped = catalog.STAGE_RECORDS.labels(stage, "dropped")
        self._committed = catalog.TRANSACTIONS.labels(stage, "committed")
        self._seconds = catalog.TRANSACTION_SECONDS.labels(stage)
        self._batch = catalog.BATCH_RECORDS.labels(stage)
        self._left = catalog.RESTORE_LEFT.labels(stage, str(partition))
        self._told_at_secs = time.monotonic()

    def tally(self) -> "StageTally":
        """A transaction begins."""
        return StageTally(self)

    def committed(self, tally: "StageTally", seconds: float) -> None:
        """A transaction of these took that long."""
        if self._traces is not None:
            self._traces.end()
        self._committed.inc()
        self._seconds.observe(seconds)
        self._batch.observe(tally.records)
        self._forwarded.inc(tally.forwarded)
        self._count_dropped(tally.dropped)
        for record, outcome in tally.set_aside:
            self._set_aside(record, outcome)
        for kind, count in tally.kinds.items():
            catalog.ROUTED.labels(kind).inc(count)
        for (provider, its_type), (record, count) in tally.unrecognized.items():
            self._note_unrecognized(provider, its_type, record, count)
        for rule, count in tally.rules.items():
            catalog.ROUTE_MATCHES.labels(rule).inc(count)
        for kind, count in tally.unmatched.items():
            catalog.ROUTE_UNMATCHED.labels(kind).inc(count)

    def not_committed(self) -> None:
        """A transaction failed; its worker starts anew."""
        catalog.TRANSACTIONS.labels(self._stage, "failed").inc()

    def retried(self, reason: str) -> None:
        """The stage asked for the batch to be tried again."""
        catalog.RETRIES.labels(self._stage, reason).inc()
        say("batch_retried", stage=self._stage, partition=self._partition, reason=reason)

    def restoring(self, left: int, read: int) -> None:
        """Show how far the restore is."""
        catalog.RESTORED.labels(self._stage).inc(read)
        self._left.set(left)
        now_secs = time.monotonic()
        if left and now_secs - self._told_at_secs >= PROGRESS_SECS:
            self._told_at_secs = now_secs
            say("restore_progress", stage=self._stage, partition=self._partition, left=left)

    def restored(self, records: int, *, rebuilt: bool) -> None:
        """The partition's state is complete."""
        self._left.set(0)
        where = {"stage": self._stage, "partition": self._partition, "records": records}
        say("state_rebuilt" if rebuilt else "restore_finished", **where)

    def offset_from_changelog(self, offset: int) -> None:
        """The group's own offset was gone."""
        where = {"stage": self._stage, "partition": self._partition, "offset": offset}
        say("offset_from_changelog", **where)

    def _count_dropped(self, ages_ms: dict[str, list[int]]) -> None:
        for endpoint, ages in ages_ms.items():
            self._dropped.inc(len(ages))
            catalog.DUPLICATES.labels(endpoint).inc(len(ages))
            observe = catalog.DUPLICATE_AGE.labels(endpoint).observe
            for age_ms in ages:
                observe(max(0, age_ms) / 1000)

    def _set_aside(self, record: Record, outcome: DeadLetter) -> None:
        catalog.STAGE_RECORDS.labels(self._stage, "dead_lettered").inc()
        catalog.DEAD_LETTERS.labels(self._stage, outcome.reason).inc()
        say(
            "record_dead_lettered",
            part=self._stage,
            reason=outcome.reason,
            **headers.ids(record),
            partition=record.partition,
            offset=record.offset,
        )

    def _note_unrecognized(self, provider: str, its_type: str, record: Record, count: int) -> None:
        """One line a transaction and type: a provider's new event may be most of what comes."""
        catalog.UNRECOGNIZED.labels(provider, bounded_type(its_type)).inc(count)
        say(
            "event_unrecognized",
            provider=provider,
            type=its_type[:TYPE_CHARS_MAX],
            **headers.ids(record),
            events=count,
        )


class StageTally:
    """What is in one transaction, as numbers: of the records only those are kept that a log line
    will name."""

    def __init__(self, telemetry: StageTelemetry) -> None:
        self._telemetry = telemetry
        self.records = self.forwarded = 0
        self.dropped: dict[str, list[int]] = defaultdict(list)
        self.set_aside: list[tuple[Record, DeadLetter]] = []
        self.kinds, self.rules, self.unmatched = Counter[str](), Counter[str](), Counter[str]()
        self.unrecognized: dict[tuple[str, str], tuple[Record, int]] = {}

    def add(self, decided: Decided) -> None:
        """These are in it."""
        self.records += len(decided)
        for record, outcome in decided:
            match outcome:
                case Forward():
                    self.forwarded += 1
                    self._add_forwarded(record, outcome)
                case Duplicate():
                    self.dropped[outcome.endpoint].append(outcome.age_ms)
                case DeadLetter():
                    self.set_aside.append((record, outcome))

    def committed(self, seconds: float) -> None:
        """Its commit took that long: now it counts."""
        self._telemetry.committed(self, seconds)

    def _add_forwarded(self, record: Record, outcome: Forward) -> None:
        match outcome:
            case Routed():
                self.kinds[outcome.kind] += 1
                for rule in outcome.rules:
                    self.rules[rule] += 1
                if not outcome.rules:
                    self.unmatched[outcome.kind] += 1
            case Unrecognized():
                key = _provider_and_type(record)
                first, count = self.unrecognized.get(key, (record, 0))
                self.unrecognized[key] = first, count + 1


def _provider_and_type(record: Record) -> tuple[str, str]:
    named = dict(record.headers)
    found = (named.get(headers.PROVIDER) or b"-", named.get(headers.EVENT_TYPE) or b"-")
    return found[0].decode("utf-8", "replace"), found[1].decode("utf-8", "replace")


class HandlerTelemetry:
    """What the runner of a handler tells of one partition."""

    def __init__(self, handler: str, partition: int, *, now_us: Callable[[], int]) -> None:
        self._handler = handler
        self._partition = partition
        self._now_us = now_us
        self._seconds = catalog.HANDLER_SECONDS.labels(handler)
        self._settled = catalog.SETTLED_SECONDS.labels(handler)
        for outcome in ("retried", "held", "dead_lettered"):  # shown as 0 before the first one
            catalog.HANDLED.labels(handler, outcome)
        self._handled = catalog.HANDLED.labels(handler, "handled")
        self._where = (handler, str(partition))

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""
        self._handled.inc()
        self._seconds.observe(seconds)
        received_us = rfc3339_epoch_us(event.received_at)
        if received_us is not None:
            self._settled.observe(max(0, self._now_us() - received_us) / 1_000_000)

    def retried(self, record: Record, reason: str, attempt: int, delay_secs: int) -> None:
        """The handler failed; the event waits in a retry topic."""
        catalog.HANDLED.labels(self._handler, "retried").inc()
        say(
            "handler_retried",
            **self._of(record),
            reason=reason,
            attempt=attempt,
            delay_secs=delay_secs,
        )

    def held(self, record: Record, reason: str) -> None:
        """The handler can do nothing now."""
        catalog.HANDLED.labels(self._handler, "held").inc()
        say("handler_held", **self._of(record), reason=reason)

    def set_aside(self, record: Record, reason: str) -> None:
        """The event went to the dead letters."""
        catalog.HANDLED.labels(self._handler, "dead_lettered").inc()
        part = f"handler-{self._handler}"
        catalog.DEAD_LETTERS.labels(part, bounded_reason(part, reason)).inc()
        say("record_dead_lettered", part=part, **self._of(record), reason=reason)

    def standing(self, waiting: int, parked: int) -> None:
        """How many events wait for a retry, and how many behind those."""
        catalog.WAITING.labels(*self._where).set(waiting)
        catalog.PARKED.labels(*self._where).set(parked)

    def restoring(self, left: int, read: int) -> None:
        """The state is read back."""
        catalog.RESTORED.labels(f"handler-{self._handler}").inc(read)

    def restored(self, records: int, *, rebuilt: bool) -> None:
        """The state is complete."""
        where = {"stage": f"handler-{self._handler}", "partition": self._partition}
        say("state_rebuilt" if rebuilt else "restore_finished", **where, records=records)

    def gone(self) -> None:
        """The partition is another member's now."""
        for gauge in (catalog.WAITING, catalog.PARKED):
            with contextlib.suppress(KeyError):
                gauge.remove(*self._where)

    def _of(self, record: Record) -> dict[str, object]:
        return {
            "handler": self._handler,
            **headers.ids(record),
            "partition": record.partition,
            "offset": record.offset,
        }


def show_secret_ages(endpoints: Mapping[str, Endpoint]) -> None:
    """Of each secret in a file: when it was last written, looked up whenever metrics are asked
    for."""
    for name, options in endpoints.items():
        for secret in options.secrets:
            if secret.file is not None:
                gauge = catalog.SECRET_MODIFIED.labels(name, secret.name)
                gauge.set_function(partial(_modified_secs, Path(secret.file)))


def _modified_secs(path: Path) -> float:
    """Epoch seconds; not a number while the file is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return math.nan


_reasons: dict[str, set[str]] = {}
_types: set[str] = set()


def bounded_reason(part: str, reason: str) -> str:
    """The reason as a label: one of the first words that the part said, else `other`."""
    known = _reasons.setdefault(part, set())
    if reason not in known:
        if not _REASON.fullmatch(reason) or len(known) >= REASONS_MAX:
            return "other"
        known.add(reason)
    return reason


def bounded_type(text: str) -> str:
    """A provider's own type as a label: one of the first that the process met, else `other`."""
    if text not in _types:
        if len(text) > TYPE_CHARS_MAX or not text.isprintable() or len(_types) >= TYPES_MAX:
            return "other"
        _types.add(text)
    return text
