"""The stage engine for one partition: fence, offset, restore, then decide and commit for ever.

It knows no aiokafka: `Port` is all it wants of Kafka, so the in-memory log of the tests and the
real one run the same engine. The order of the steps is what makes it exactly once: only after
the fence can no other owner commit, only then is the committed offset the truth, and the local
store is written only after the commit. Any doubt throws everything away and starts again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, assert_never

from hookmill.core.outcome import DeadLetter, Drop, Forward, Retry
from hookmill.core.record import Output, Record
from hookmill.kafka import changelog
from hookmill.kafka.deciding import Decider
from hookmill.kafka.safely import goes_on_at, in_range, to_the_end
from hookmill.kafka.store import Overlay, Store
from hookmill.pipeline import Stage as Spec
from hookmill.stages.failed import dead_letter
from hookmill.stages.stage import Stage
from hookmill.telemetry.traces import Decided, StageTraces

RECORDS_MAX = 1_000
"""Of a transaction, about."""
BYTES_MAX = 8 * 1024 * 1024
CHUNK_RECORDS = 64
"""What is read, decided and packed together: so little that it lies in the processor's cache all
the while. With 2,000 at once dedup's own share of the work took twice as long."""
FETCH_TIMEOUT_SECS = 1.0
ASKED_AGAIN_MAX = 6
"""How often a committed offset that is behind is asked for again: for about ten seconds."""


class Outputs(Protocol):
    """What a transaction is to write."""

    def add(self, outputs: Iterable[Output]) -> None:
        """Put these behind what is there."""


P = TypeVar("P", bound=Outputs)


class Port(changelog.Source, Protocol[P]):
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

    def more(self, *, records_max: int) -> list[Record]:
        """The records behind those, as far as they have come."""

    def pack(self) -> P:
        """Where the outputs of the next transaction are put as they are decided."""

    async def commit(self, packed: P, next_offset: int) -> dict[str, int]:
        """Write what was packed and the group's offset in one transaction.

        Returns, by topic, the offset of the last record written.
        """

    async def close(self) -> None:
        """Let go of the producer."""


class Tally(Protocol):
    """What is told of one transaction; nothing of it counts unless it is committed."""

    def add(self, decided: Decided) -> None:
        """These are in it."""

    def committed(self, seconds: float) -> None:
        """Its commit took that long."""


class Watcher(changelog.Watcher, Protocol):
    """What the engine tells of itself."""

    def tally(self) -> Tally:
        """A transaction begins."""

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


class _Transaction:
    """One that fills: what it writes is packed, what it changes lies over the store."""

    def __init__(self, outputs: Outputs, overlay: Overlay, tally: Tally) -> None:
        self.outputs = outputs
        self.overlay = overlay
        self.tally = tally
        self.records = 0
        self.size_bytes = 0
        self.last: Record | None = None


class Worker:
    """Runs one stage on one partition, from fence to cancellation."""

    def __init__(
        self,
        stage: Stage[Any],
        spec: Spec,
        port: Port[Any],
        store: Store,
        *,
        watcher: Watcher,
        pause: Pause,
        now_us: Callable[[], int],
        value_bytes_max: Callable[[str], int],
        traces: StageTraces | None = None,
        rest_secs: Rest = lambda records, took_secs: 0.0,
    ) -> None:
        self._decider = Decider(stage, value_bytes_max)
        self._spec = spec
        self._port = port
        self._state = changelog.State(spec.changelog, port, store, watcher, forgets=stage.forgets)
        self._watcher = watcher
        self._pause = pause
        self._now_us = now_us
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
                records_max=CHUNK_RECORDS, timeout_secs=FETCH_TIMEOUT_SECS
            )
            self.turns += 1
            self.pending_since_ms = records[0].timestamp_ms if records else None
            self._received_us = self._now_us()
            began = time.perf_counter()
            done = await self._process(records)
            self.pending_since_ms = None
            if done:
                await self._rest(done, time.perf_counter() - began)

    async def close(self) -> None:
        """Let go of the store and of the producer."""
        self._state.store.close()
        await self._port.close()

    async def _rest(self, records: int, took_secs: float) -> None:
        if (seconds := self._rest_secs(records, took_secs)) > 0:
            await asyncio.sleep(seconds)

    async def _process(self, records: Sequence[Record]) -> int:
        """Commit these and what has come behind them; returns how many records it were."""
        attempt = done = 0
        while records:
            transaction, records, retry = await self._fill(records)
            if transaction.records:
                await to_the_end(self._commit(transaction))
                done, attempt = done + transaction.records, 0
            if retry is not None:
                attempt += 1
                self._watcher.retried(retry.reason)
                await self._pause(attempt)
        return done

    async def _fill(
        self, records: Sequence[Record]
    ) -> tuple[_Transaction, Sequence[Record], Retry | None]:
        """Decide chunk after chunk, until a `Retry`, the transaction's size, or the end; with what
        is left of the records. Other partitions, and what brokers say, have their turns between."""
        transaction = _Transaction(
            self._port.pack(), Overlay(self._state.store), self._watcher.tally()
        )
        if self._traces is not None:
            self._traces.begin()
        while records:
            decided = self._decider.decide(
                records,
                transaction.overlay,
                room_bytes=BYTES_MAX - transaction.size_bytes,
                always_one=not transaction.records,
            )
            count = len(decided.outcomes)
            self._add(list(zip(records[:count], decided.outcomes, strict=True)), transaction)
            transaction.size_bytes += decided.size_bytes
            records = records[count:]
            if records or transaction.records >= RECORDS_MAX:
                return transaction, records, decided.retry
            await asyncio.sleep(0)
            records = self._port.more(records_max=CHUNK_RECORDS)
        return transaction, records, None

    def _add(self, decided: Decided, transaction: _Transaction) -> None:
        """Pack what these outcomes write; nothing else of them is kept."""
        if not decided:
            return
        if self._traces is not None:
            decided = self._traces.carrying(decided, self._received_us)
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
        transaction.outputs.add(outputs)
        transaction.tally.add(decided)
        transaction.records += len(decided)
        transaction.last = decided[-1][0]

    async def _commit(self, transaction: _Transaction) -> None:
        last = transaction.last
        assert last is not None
        next_offset = last.offset + 1
        changes = list(transaction.overlay.changes.items())
        transaction.outputs.add(self._state.records(changes, next_offset))
        began = time.perf_counter()
        try:
            written = await self._port.commit(transaction.outputs, next_offset)
        except Exception:
            self._watcher.not_committed()
            raise
        transaction.tally.committed(time.perf_counter() - began)
        self._state.write(
            changes, written[self._state.topic], next_offset, now_ms=last.timestamp_ms
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
        """Where to go on, once the group's coordinator knows what was committed.

        One that comes back from a crash answers for a while with what is below its partition's high
        watermark, and that is older than what it acknowledged (Apache Kafka 4.3.1, two of three
        brokers killed, then all). An offset that was set back by hand stays.
        """
        kept = self._state.next_input_offset
        for attempt in range(1, ASKED_AGAIN_MAX + 1):
            if committed is None or kept is None or committed >= kept:
                break
            await self._pause(attempt)
            committed = await self._port.committed()
        begin, end = await self._port.input_bounds()
        start = goes_on_at(committed, kept, begin)
        if start is not None and start != committed:
            self._watcher.offset_from_changelog(start)
        return in_range(self._spec.reads, self._port.partition, start, begin, end)
