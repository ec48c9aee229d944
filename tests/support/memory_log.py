"""An in-memory Kafka, as much of it as the engine needs: it passes the engine's contract too."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from hookmill.core.record import Headers, Output, Record
from hookmill.kafka.store import Bookmark, Changes
from hookmill.pipeline import Stage


class Fenced(Exception):
    """An older owner of a transactional id wanted to commit."""


class MemoryLog:
    """Topics, group offsets and transactions. Appends take the time from `now_ms`."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.topics: dict[tuple[str, int], list[Record | None]] = defaultdict(list)
        self.offsets: dict[tuple[str, int], int] = {}
        self.epochs: dict[tuple[str, int], int] = defaultdict(int)

    async def produce(
        self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers = ()
    ) -> None:
        """Append outside any transaction."""
        self.append(topic, partition, Output(topic, key, value, headers))

    async def read(self, topic: str, partition: int) -> list[Record]:
        """Every committed record."""
        return [each for each in self.topics[topic, partition] if each is not None]

    def append(self, topic: str, partition: int, output: Output) -> int:
        """Append one record; returns its offset."""
        log = self.topics[topic, partition]
        log.append(Record(topic, partition, len(log), self.now_ms, output.key,
                          output.value or b"", output.headers))  # fmt: skip
        return len(log) - 1

    async def delete(self, topic: str, partition: int, *, before: int) -> None:
        """Delete the records before the offset, as Kafka does by age."""
        self.topics[topic, partition][:before] = [None] * before

    async def port(self, spec: Stage, partition: int) -> "MemoryPort":
        """A port as a new owner of the partition would have it."""
        return MemoryPort(self, spec, partition)

    async def forget_offsets(self, spec: Stage, partition: int) -> None:
        """Lose the group's committed offset."""
        self.offsets.pop((spec.name, partition), None)

    def compact(self, topic: str, partition: int) -> None:
        """Keep the last record of each key alone, at its offset, as Kafka's cleaner does."""
        log = self.topics[topic, partition]
        last = {each.key: each.offset for each in log if each is not None}
        log[:] = [
            each if each is not None and last[each.key] == each.offset else None for each in log
        ]


class Pile(list[Output]):
    """The outputs of a transaction, as they come."""

    def add(self, outputs: Iterable[Output]) -> None:
        """Put these behind."""
        self.extend(outputs)


class MemoryPort:
    """`worker.Port` on the memory log. `before_commit` and `after_commit` are for faults."""

    def __init__(self, log: MemoryLog, spec: Stage, partition: int) -> None:
        self.partition = partition
        self._log = log
        self._spec = spec
        self._epoch = -1
        self._position = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.closed = False

    async def fence(self) -> None:
        """Bump the epoch: older ports can commit no more."""
        key = (self._spec.name, self.partition)
        self._log.epochs[key] += 1
        self._epoch = self._log.epochs[key]

    async def committed(self) -> int | None:
        """The group's offset."""
        return self._log.offsets.get((self._spec.name, self.partition))

    async def input_bounds(self) -> tuple[int, int]:
        """First and next offset."""
        return 0, len(self._log.topics[self._spec.reads, self.partition])

    async def changelog_bounds(self) -> tuple[int, int]:
        """First and next offset."""
        return 0, len(self._log.topics[self._spec.changelog, self.partition])

    async def read_changelog(self, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        """In small pieces."""
        log = self._log.topics[self._spec.changelog, self.partition]
        records = [each for each in log[start:end] if each is not None]
        for index in range(0, len(records), 7):
            yield records[index : index + 7]

    def seek(self, offset: int) -> None:
        """Fetch from there on."""
        self._position = offset

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """What is there; Exhausted when nothing is left, so that tests end."""
        found = self.more(records_max=records_max)
        if not found:
            raise Exhausted
        return found

    def more(self, *, records_max: int) -> list[Record]:
        """What is there behind them."""
        log = self._log.topics[self._spec.reads, self.partition]
        found = [each for each in log[self._position :] if each is not None][:records_max]
        self._position = found[-1].offset + 1 if found else self._position
        return found

    def pack(self) -> Pile:
        """An empty pile."""
        return Pile()

    async def commit(self, packed: Sequence[Output], next_offset: int) -> dict[str, int]:
        """All or nothing, and only for the newest owner; a marker follows the records."""
        self.before_commit()
        key = (self._spec.name, self.partition)
        if self._log.epochs[key] != self._epoch:
            raise Fenced
        written = {each.topic: self._log.append(each.topic, self.partition, each)
                   for each in packed}  # fmt: skip
        for topic in written:
            self._log.topics[topic, self.partition].append(None)
        self._log.offsets[key] = next_offset
        self.after_commit()
        return written

    async def close(self) -> None:
        """Nothing to let go of."""
        self.closed = True


class Exhausted(Exception):
    """The input has been read to its end."""


class MemoryStore:
    """`store.Store` in a dictionary, for tests that open thousands: `values` is its disk."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.mark: Bookmark | None = None

    def copy(self) -> "MemoryStore":
        """The disk as it is now."""
        twin = MemoryStore()
        twin.values, twin.mark = dict(self.values), self.mark
        return twin

    def bookmark(self) -> Bookmark | None:
        """Up to where it is complete."""
        return self.mark

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one."""
        return {key: self.values[key] for key in keys if key in self.values}

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and its value."""
        return iter(sorted(self.values.items()))

    def after(self, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """So many keys behind that one."""
        return [(each, self.values[each]) for each in sorted(self.values) if each > key][:count]

    def write(self, changes: Changes, bookmark: Bookmark) -> None:
        """Both at once."""
        for key, value in changes:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self.mark = bookmark

    def clear(self) -> None:
        """Forget everything."""
        self.values, self.mark = {}, None

    def close(self) -> None:
        """Nothing to let go of; what was written stays."""


class StepPort:
    """A `worker.Port` that stops before every call, until the test lets it go on or fail."""

    def __init__(self, inner: MemoryPort, records_max: int) -> None:
        self.partition = inner.partition
        self.inner = inner
        self.at = ""
        self.arrived = asyncio.Event()
        self.late: tuple[Sequence[Output], int] | None = None
        self._records_max = records_max
        self._go: asyncio.Future[str] | None = None

    def release(self, fault: str = "") -> None:
        """Let the call that waits go on; a fault makes it fail before or after its effect."""
        self.arrived.clear()
        assert self._go is not None
        self._go.set_result(fault)

    async def turn(self, at: str) -> str:
        """Wait to be let go on; the answer is the fault that the call is to have."""
        self.at, self._go = at, asyncio.get_running_loop().create_future()
        self.arrived.set()
        fault = await self._go
        if fault == "before" or (fault and at != "commit"):
            raise ConnectionError(at)
        return fault

    async def fence(self) -> None:
        """What an earlier transaction left open is aborted by it."""
        await self.turn("fence")
        await self.inner.fence()

    async def committed(self) -> int | None:
        """The group's offset."""
        await self.turn("committed")
        return await self.inner.committed()

    async def input_bounds(self) -> tuple[int, int]:
        """First and next offset."""
        return await self.inner.input_bounds()

    async def changelog_bounds(self) -> tuple[int, int]:
        """First and next offset."""
        await self.turn("changelog_bounds")
        return await self.inner.changelog_bounds()

    async def read_changelog(self, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        """Piece by piece."""
        async for records in self.inner.read_changelog(start, end):
            await self.turn("read_changelog")
            yield records

    def seek(self, offset: int) -> None:
        """Fetch from there on."""
        self.inner.seek(offset)

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """A few records, or none."""
        await self.turn("fetch")
        try:
            return await self.inner.fetch(records_max=self._records_max, timeout_secs=0)
        except Exhausted:
            return []

    def more(self, *, records_max: int) -> list[Record]:
        """Now and then some, so that transactions of several chunks are tried too."""
        if self.inner._position % 2:
            return []
        return self.inner.more(records_max=self._records_max)

    def pack(self) -> Pile:
        """An empty pile."""
        return self.inner.pack()

    async def commit(self, packed: Sequence[Output], next_offset: int) -> dict[str, int]:
        """The transaction; nobody knows the outcome of one that failed `late` or `after`."""
        fault = await self.turn("commit")
        if fault == "late":
            self.late = packed, next_offset
            raise TimeoutError
        written = await self.inner.commit(packed, next_offset)
        if fault == "after":
            raise ConnectionError("the answer was lost")
        return written

    async def close(self) -> None:
        """Nothing to let go of."""
