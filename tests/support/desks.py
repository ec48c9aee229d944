"""Desks for dead letters on the in-memory log and on a real broker, with faults of the test's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from hookmill.core.record import Output, Record
from hookmill.kafka.desk import KafkaDesk
from hookmill.kafka.redrive import Fenced
from support.memory_log import MemoryLog

OWNER = ("dlq", 0)
PIECE_RECORDS = 7


async def nothing() -> None:
    """No fault."""


class MemoryDesk:
    """`redrive.Port` on the memory log, with as many partitions as it is told."""

    def __init__(self, log: MemoryLog, partitions: int) -> None:
        self._log = log
        self._partitions = partitions
        self._epoch = -1
        self.before_fence: Callable[[], Awaitable[None]] = nothing
        self.before_commit: Callable[[], Awaitable[None]] = nothing
        self.after_commit: Callable[[], Awaitable[None]] = nothing

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """From the first record that is still there to the end."""
        found = {}
        for partition in range(self._partitions):
            log = self._log.topics[topic, partition]
            begin = next((n for n, each in enumerate(log) if each is not None), len(log))
            found[partition] = begin, len(log)
        return found

    async def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """In small pieces."""
        for partition, (start, end) in ranges.items():
            log = self._log.topics[topic, partition][start:end]
            records = [each for each in log if each is not None]
            for index in range(0, len(records), PIECE_RECORDS):
                yield records[index : index + PIECE_RECORDS]

    async def fence(self) -> None:
        """Bump the epoch: older desks can commit no more."""
        await self.before_fence()
        self._log.epochs[OWNER] += 1
        self._epoch = self._log.epochs[OWNER]

    async def commit(self, outputs: Sequence[Output], partition: int) -> None:
        """All or nothing, and only for the newest owner; a marker follows the records."""
        await self.before_commit()
        if self._log.epochs[OWNER] != self._epoch:
            raise Fenced
        for each in outputs:
            self._log.append(each.topic, partition, each)
        for topic in {each.topic for each in outputs}:
            self._log.topics[topic, partition].append(None)
        await self.after_commit()


class FaultyDesk(KafkaDesk):
    """A real desk with the test's faults around its commits."""

    def __init__(self, *arguments: Any, **readers: Any) -> None:
        super().__init__(*arguments, **readers)
        self.before_commit: Callable[[], Awaitable[None]] = nothing
        self.after_commit: Callable[[], Awaitable[None]] = nothing

    async def commit(self, outputs: Sequence[Output], partition: int) -> None:
        """As the real one."""
        await self.before_commit()
        await super().commit(outputs, partition)
        await self.after_commit()
