"""Turns what the engines of stages and handlers tell of themselves into metrics and log lines."""

import contextlib
import re

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome
from hookmill.core.record import Record
from hookmill.stages import headers
from hookmill.stages.route import Routed
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

REASONS_MAX = 50
"""How many reasons of a handler are labels; a handler's words are not ours to bound."""
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _count_rules(outcome: Routed) -> None:
    for rule in outcome.rules:
        catalog.ROUTE_MATCHES.labels(rule).inc()
    if not outcome.rules:
        catalog.ROUTE_UNMATCHED.labels(outcome.kind).inc()


class StageTelemetry:
    """Turns what the engine tells of itself into metrics and log lines."""

    def __init__(self, stage: str, partition: int) -> None:
        self._stage = stage
        self._partition = partition
        self._forwarded = catalog.STAGE_RECORDS.labels(stage, "forwarded")
        self._left = catalog.RESTORE_LEFT.labels(stage, str(partition))

    def decided(self, record: Record, outcome: Outcome) -> None:
        """Count the outcome; name what a person may have to look at."""
        match outcome:
            case Forward():
                self._forwarded.inc()
                if isinstance(outcome, Routed):
                    _count_rules(outcome)
                if self._stage == "normalize":
                    self._note_unrecognized(record, outcome)
            case Drop():
                catalog.STAGE_RECORDS.labels(self._stage, "dropped").inc()
                catalog.DUPLICATES.labels(record.header(headers.ENDPOINT) or "-").inc()
            case DeadLetter():
                catalog.STAGE_RECORDS.labels(self._stage, "dead_lettered").inc()
                catalog.DEAD_LETTERS.labels(self._stage, outcome.reason).inc()
                say(
                    "record_dead_lettered",
                    part=self._stage,
                    reason=outcome.reason,
                    delivery=record.header(headers.DELIVERY),
                    partition=record.partition,
                    offset=record.offset,
                )

    def committed(self, seconds: float) -> None:
        """A transaction took that long."""
        catalog.TRANSACTIONS.labels(self._stage, "committed").inc()
        catalog.TRANSACTION_SECONDS.labels(self._stage).observe(seconds)

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
        if read and left > 100_000:
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

    def _note_unrecognized(self, record: Record, outcome: Forward) -> None:
        types = [value for output in outcome.outputs for name, value in output.headers
                 if name == "ce_type"]  # fmt: skip
        if b"hookmill.other.unrecognized" in types:
            provider = record.header(headers.PROVIDER) or "-"
            catalog.UNRECOGNIZED.labels(provider).inc()
            say("event_unrecognized", provider=provider, delivery=record.header(headers.DELIVERY))


class HandlerTelemetry:
    """What the runner of a handler tells of one partition."""

    def __init__(self, handler: str, partition: int) -> None:
        self._handler = handler
        self._partition = partition
        self._seconds = catalog.HANDLER_SECONDS.labels(handler)
        self._handled = catalog.HANDLED.labels(handler, "handled")
        self._where = (handler, str(partition))

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""
        self._handled.inc()
        self._seconds.observe(seconds)

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
            "delivery": record.header(headers.DELIVERY),
            "partition": record.partition,
            "offset": record.offset,
        }


_reasons: dict[str, set[str]] = {}


def bounded_reason(part: str, reason: str) -> str:
    """The reason as a label: one of the first words that the part said, else `other`."""
    known = _reasons.setdefault(part, set())
    if reason not in known:
        if not _REASON.fullmatch(reason) or len(known) >= REASONS_MAX:
            return "other"
        known.add(reason)
    return reason
