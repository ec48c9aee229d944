"""Puts events of the past into a handler's queue again; killed in the middle, it goes on.

The records and how far they bring the replay are one transaction: the position is committed to a
group that is named after the wish. Whoever wishes the same again goes on where it stood, and what
was sent is not sent twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from aiokafka import TopicPartition

from hookmill.core.record import Output, Record
from hookmill.kafka.client import Connection
from hookmill.kafka.reader import Reader, reader
from hookmill.kafka.redrive import Watcher, at_once
from hookmill.kafka.safely import to_the_end
from hookmill.kafka.transaction import TransactionalProducer
from hookmill.pipeline import NORMALIZED, HandlerTopics, Names
from hookmill.stages.letters import Place
from hookmill.stages.replay import Wish, again, meant
from hookmill.stages.route import Rule


class Replay:
    """One wish, carried out. `sent` counts its events, also when it fails."""

    def __init__(
        self,
        source: Reader,
        connection: Connection,
        names: Names,
        *,
        wish: Wish,
        rules: Sequence[Rule],
        watcher: Watcher,
        rate_per_sec: int = 0,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.sent = 0
        self._source = source
        self._names = names
        self._wish = wish
        self._rules = rules
        self._watcher = watcher
        self._rate_per_sec = rate_per_sec
        self._pause = pause
        its_id = names.group("replay")  # one for everybody, so that no two run at a time
        self._producer = TransactionalProducer(connection, its_id, client_id=its_id)

    @property
    def group(self) -> str:
        """Where the position of this wish is kept."""
        return self._names.group(self._wish.name)

    async def count(self) -> tuple[int, int]:
        """How many events are still to be sent, and how many offsets lie before them; no writes."""
        found, ranges = 0, await self._left()
        async for records in self._read(ranges):
            found += sum(meant(each, self._wish, self._rules) for each in records)
        return found, sum(end - start for start, end in ranges.values())

    async def run(self) -> None:
        """Do it. After any error it can be run again, by whoever wishes the same."""
        await self._producer.fence()
        try:
            ranges = await self._left()
            self._watcher.begins(sum(end - start for start, end in ranges.values()))
            for partition, span in ranges.items():
                await self._partition(partition, span)
        finally:
            await self._producer.stop()

    async def _left(self) -> dict[int, tuple[int, int]]:
        """The offsets of the time that is meant, from where this wish stands."""
        topic = self._names.topic(NORMALIZED)
        since = await self._source.since(topic, self._wish.since_us // 1000)
        until = await self._source.since(topic, self._wish.until_us // 1000)
        done = await self._source.committed(self.group)
        return {
            each: (max(start, done.get((topic, each), start)), until[each][0])
            for each, (start, _) in since.items()
        }

    async def _partition(self, partition: int, span: tuple[int, int]) -> None:
        at, end = span
        count = at_once(self._rate_per_sec)
        async for records in self._read({partition: span}):
            for piece in (records[i : i + count] for i in range(0, len(records), count)):
                await self._commit(partition, piece, piece[-1].offset + 1)
                self._watcher.passed(piece[-1].offset + 1 - at)
                at = piece[-1].offset + 1
        self._watcher.passed(max(0, end - at))

    async def _commit(self, partition: int, records: Sequence[Record], position: int) -> None:
        to = HandlerTopics(self._wish.handler).queue
        outputs = [self._again(each, to) for each in records
                   if meant(each, self._wish, self._rules)]  # fmt: skip
        if not outputs:
            return
        at = TopicPartition(self._names.topic(NORMALIZED), partition)
        await to_the_end(self._transaction(outputs, at, position))
        if self._rate_per_sec:
            await self._pause(len(outputs) / self._rate_per_sec)

    async def _transaction(
        self, outputs: Sequence[Output], at: TopicPartition, position: int
    ) -> None:
        await self._producer.commit(
            self._producer.pack(outputs), at.partition, self._names.topic,
            group=self.group, offsets={at: position},
        )  # fmt: skip
        self.sent += len(outputs)
        self._watcher.settled(len(outputs))

    def _again(self, record: Record, to: str) -> Output:
        return again(record, Place(NORMALIZED, record.partition, record.offset), to)

    def _read(self, ranges: Mapping[int, tuple[int, int]]) -> AsyncIterator[list[Record]]:
        return self._source.read(self._names.topic(NORMALIZED), ranges)


@contextlib.asynccontextmanager
async def replaying(
    connection: Connection, names: Names, wish: Wish, rules: Sequence[Rule], *,
    watcher: Watcher, rate_per_sec: int = 0,
) -> AsyncIterator[Replay]:  # fmt: skip
    """A replay for as long as it is needed; raises KafkaUnavailable when Kafka is out."""
    async with reader(connection) as source:
        yield Replay(source, connection, names, wish=wish, rules=rules, watcher=watcher,
                     rate_per_sec=rate_per_sec)  # fmt: skip
