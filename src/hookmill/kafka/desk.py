"""Dead letters on a real cluster: reads them, and writes what is decided in transactions."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka.errors import ProducerFenced

from hookmill.core.record import Output, Record
from hookmill.kafka.client import Connection
from hookmill.kafka.reader import Reader, reader
from hookmill.kafka.redrive import Fenced
from hookmill.kafka.transaction import TransactionalProducer
from hookmill.pipeline import DECISIONS, Names


class Desk:
    """Reads dead letters and decisions. Implements `redrive.Source`.

    A reader reads one topic at a time, and after a doubt the decisions are read anew in the middle
    of the letters: so there is one for each.
    """

    def __init__(self, names: Names, *, letters: Reader, decisions: Reader) -> None:
        self._names = names
        self._letters = letters
        self._decisions = decisions

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and next stable offset of each partition; empty if there is no such topic."""
        return await self._reader(topic).bounds(self._names.topic(topic))

    def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """The committed records of those offset ranges, in order within each partition."""
        return self._reader(topic).read(self._names.topic(topic), ranges)

    def _reader(self, topic: str) -> Reader:
        return self._decisions if topic == DECISIONS else self._letters


class KafkaDesk(Desk):
    """Decides too. Implements `redrive.Port`."""

    def __init__(
        self, connection: Connection, names: Names, *, letters: Reader, decisions: Reader
    ) -> None:
        super().__init__(names, letters=letters, decisions=decisions)
        its_id = self.transactional_id
        self._producer = TransactionalProducer(connection, its_id, client_id=its_id)

    @property
    def transactional_id(self) -> str:
        """One for everybody who decides about dead letters of this namespace."""
        return self._names.group("dlq")

    async def fence(self) -> None:
        """Settle what was left open, and whoever decided before commits nothing more."""
        await self._producer.fence()

    async def commit(self, outputs: Sequence[Output], partition: int) -> None:
        """One transaction."""
        try:
            packed = self._producer.pack(outputs)
            await self._producer.commit(packed, partition, self._names.topic)
        except ProducerFenced as error:
            raise Fenced from error

    async def close(self) -> None:
        """Disconnect the producer."""
        await self._producer.stop()


@contextlib.asynccontextmanager
async def desk(connection: Connection, names: Names) -> AsyncIterator[KafkaDesk]:
    """A desk for as long as it is needed. Raises KafkaUnavailable when Kafka cannot be reached."""
    async with reader(connection) as letters, reader(connection) as decisions:
        opened = KafkaDesk(connection, names, letters=letters, decisions=decisions)
        try:
            yield opened
        finally:
            await opened.close()
