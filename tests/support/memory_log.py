"""An in-memory Kafka, as much of it as the engine needs: it passes the engine's contract too."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

from hookmill.core.record import Headers, Output, Record
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

    async def port(self, spec: Stage, partition: int) -> "MemoryPort":
        """A port as a new owner of the partition would have it."""
        return MemoryPort(self, spec, partition)

    async def forget_offsets(self, spec: Stage, partition: int) -> None:
        """Lose the group's committed offset."""
        self.offsets.pop((spec.name, partition), None)


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
        log = self._log.topics[self._spec.reads, self.partition]
        found = [each for each in log[self._position :] if each is not None][:records_max]
        if not found:
            raise Exhausted
        self._position = found[-1].offset + 1
        return found

    async def commit(self, outputs: Sequence[Output], next_offset: int) -> dict[str, int]:
        """All or nothing, and only for the newest owner; a marker follows the records."""
        self.before_commit()
        key = (self._spec.name, self.partition)
        if self._log.epochs[key] != self._epoch:
            raise Fenced
        written = {each.topic: self._log.append(each.topic, self.partition, each)
                   for each in outputs}  # fmt: skip
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
