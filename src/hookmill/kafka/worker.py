"""The stage engine for one partition: fence, offset, restore, then decide and commit for ever.

It knows no aiokafka: `Port` is all it wants of Kafka, so the in-memory log of the tests and the
real one run the same engine. The order of the steps is what makes it exactly once: only after
the fence can no other owner commit, only then is the committed offset the truth, and the local
store is written only after the commit. Any doubt throws everything away and starts again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Protocol, assert_never

from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome, Retry
from hookmill.core.record import Output, Record
from hookmill.kafka import changelog
from hookmill.kafka.safely import goes_on_at, in_range, to_the_end
from hookmill.kafka.store import Overlay, Store
from hookmill.pipeline import Stage as Spec
from hookmill.stages.failed import dead_letter
from hookmill.stages.stage import Stage
from hookmill.telemetry.traces import StageTraces

RECORDS_MAX = 2_000
BYTES_MAX = 8 * 1024 * 1024
FETCH_TIMEOUT_SECS = 1.0
HEADER_BYTES = 10
"""What a header takes beside its name and its value, generously."""


class Port(changelog.Source, Protocol):
    """What the engine wants of Kafka for its partition. Every call has a time limit.

    Any exception means doubt; the engine then begins again with `fence`.
    """

    partition: int

    async def fence(self) -> None:
        """Make sure that no earlier owner of the partition can commit any more."""

    async def committed(self) -> int | None:
        """The group's committed offset, asked of the broker now."""

    async def input_bounds(self) -> tuple[int, int]:
        """First and next offset of the input partition."""

    def seek(self, offset: int) -> None:
        """Fetch from there on."""

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records of the input; empty when none came in time."""

    async def commit(self, outputs: Sequence[Output], next_offset: int) -> dict[str, int]:
        """Write the outputs and the group's offset in one transaction.

        Returns, by topic, the offset of the last record written.
        """

    async def close(self) -> None:
        """Let go of the producer."""


class Watcher(changelog.Watcher, Protocol):
    """What the engine tells of itself."""

    def committed(self, decided: Sequence[tuple[Record, Outcome]], seconds: float) -> None:
        """A transaction with these outcomes took that long."""

    def not_committed(self) -> None:
        """A transaction failed."""

    def retried(self, reason: str) -> None:
        """The stage asked for the batch to be tried again."""

    def offset_from_changelog(self, offset: int) -> None:
        """The group's committed offset was gone, or ahead of what was written with it."""


Pause = Callable[[int], Awaitable[None]]
"""Waits before the n-th attempt in a row, longer each time."""
Rest = Callable[[int, float], float]
"""How many seconds to rest after a batch of so many records that took so long."""


class Worker:
    """Runs one stage on one partition, from fence to cancellation."""

    def __init__(
        self,
        stage: Stage[Any],
        spec: Spec,
        port: Port,
        store: Store,
        *,
        watcher: Watcher,
        pause: Pause,
        now_us: Callable[[], int],
        value_bytes_max: Callable[[str], int],
        traces: StageTraces | None = None,
        rest_secs: Rest = lambda records, took_secs: 0.0,
    ) -> None:
        self._stage = stage
        self._spec = spec
        self._port = port
        self._state = changelog.State(spec.changelog, port, store, watcher, forgets=stage.forgets)
        self._watcher = watcher
        self._pause = pause
        self._now_us = now_us
        self._value_bytes_max = value_bytes_max
        self._traces = traces
        self._received_us = 0
        self._rest_secs = rest_secs
        self.position = -1
        self.turns = 0
        self.pending_since_ms: int | None = None

    async def run(self) -> None:
        """Work until cancelled. Any exception leaves nothing half done; the caller runs it anew."""
        await self._port.fence()
        committed = await self._port.committed()
        await self._state.restore()
        self.position = await self._start_offset(committed)
        self._port.seek(self.position)
        while True:
            records = await self._port.fetch(
                records_max=RECORDS_MAX, timeout_secs=FETCH_TIMEOUT_SECS
            )
            self.turns += 1
            self.pending_since_ms = records[0].timestamp_ms if records else None
            self._received_us = self._now_us()
            began = time.perf_counter()
            await self._process(records)
            self.pending_since_ms = None
            if records:
                await self._rest(len(records), time.perf_counter() - began)

    async def close(self) -> None:
        """Let go of the store and of the producer."""
        self._state.store.close()
        await self._port.close()

    async def _rest(self, records: int, took_secs: float) -> None:
        if (seconds := self._rest_secs(records, took_secs)) > 0:
            await asyncio.sleep(seconds)

    async def _process(self, records: Sequence[Record]) -> None:
        attempt = 0
        while records:
            decided, overlay, retry = self._decide(records)
            if decided:
                await to_the_end(self._commit(decided, overlay))
                records, attempt = records[len(decided) :], 0
            if retry is not None:
                attempt += 1
                self._watcher.retried(retry.reason)
                await self._pause(attempt)

    def _decide(
        self, records: Sequence[Record]
    ) -> tuple[list[tuple[Record, Outcome]], Overlay, Retry | None]:
        """Decide in order, until a `Retry`, the transaction's size, or the end."""
        tasks = [self._read(record) for record in records]
        keys = {
            key for task in tasks if not isinstance(task, DeadLetter) for key in task.state_keys
        }
        overlay = Overlay(self._state.store.get_many(keys) if keys else {})
        decided: list[tuple[Record, Outcome]] = []
        size_bytes = 0
        for record, task in zip(records, tasks, strict=True):
            outcome = self._answer(task, overlay)
            if isinstance(outcome, Forward):
                outcome, its_bytes = self._fitting(outcome)
                size_bytes += its_bytes
                if decided and size_bytes > BYTES_MAX:
                    break
            if isinstance(outcome, Forward):
                overlay.put(outcome.state)
            elif isinstance(outcome, Retry):
                return decided, overlay, outcome
            decided.append((record, outcome))
        return decided, overlay, None

    def _read(self, record: Record) -> Any:
        try:
            return self._stage.read(record)
        except Exception as error:  # a defect of the stage must not stop the partition
            return _defect(error)

    def _answer(self, task: Any, overlay: Overlay) -> Outcome:
        if isinstance(task, DeadLetter):
            return task
        try:
            return self._stage.decide(task, overlay.values)
        except Exception as error:  # as above: pure code fails the same way every time
            return _defect(error)

    def _fitting(self, outcome: Forward) -> tuple[Outcome, int]:
        """The outcome, where every topic takes its output, and its size in bytes."""
        whole_bytes = 0
        for output in outcome.outputs:
            size_bytes = _size(output)
            if size_bytes > self._value_bytes_max(output.topic):
                what = "an output is larger than its topic takes"
                return DeadLetter("output_too_large", what), 0
            whole_bytes += size_bytes
        return outcome, whole_bytes

    async def _commit(self, decided: Sequence[tuple[Record, Outcome]], overlay: Overlay) -> None:
        if self._traces is not None:
            decided = self._traces.begin(decided, self._received_us)
        outputs: list[Output] = []
        for record, outcome in decided:
            if isinstance(outcome, Forward):
                outputs += outcome.outputs
            elif isinstance(outcome, DeadLetter):
                outputs.append(self._set_aside(record, outcome))
            elif isinstance(outcome, Retry):
                raise AssertionError("a Retry is never committed")
            elif not isinstance(outcome, Drop):
                assert_never(outcome)
        next_offset = decided[-1][0].offset + 1
        changes = list(overlay.changes.items())
        began = time.perf_counter()
        try:
            written = await self._port.commit(
                outputs + self._state.records(changes, next_offset), next_offset
            )
        except Exception:
            self._watcher.not_committed()
            raise
        self._watcher.committed(decided, time.perf_counter() - began)
        self._state.write(
            changes,
            written[self._state.topic],
            next_offset,
            now_ms=decided[-1][0].timestamp_ms,
        )
        self.position = next_offset

    def _set_aside(self, record: Record, outcome: DeadLetter) -> Output:
        return dead_letter(
            record,
            topic=self._spec.dead_letters,
            part=self._spec.name,
            reason=outcome.reason,
            detail=outcome.detail,
            attempt=1,
            at_us=self._now_us(),
        )

    async def _start_offset(self, committed: int | None) -> int:
        begin, end = await self._port.input_bounds()
        start = goes_on_at(committed, self._state.next_input_offset, begin)
        if start is not None and start != committed:
            self._watcher.offset_from_changelog(start)
        return in_range(self._spec.reads, self._port.partition, start, begin, end)


def _defect(error: Exception) -> DeadLetter:
    return DeadLetter("stage_error", f"{type(error).__name__}: {error}")


def _size(output: Output) -> int:
    """About what it takes in a batch; summed without a loop of Python's own, record by record."""
    headers = output.headers
    named = sum(map(len, chain.from_iterable(headers))) + HEADER_BYTES * len(headers)
    return len(output.key) + len(output.value or b"") + named
