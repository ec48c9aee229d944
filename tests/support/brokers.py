"""The real broker that a whole run shares, and the same engine contract on it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from hookmill.core.record import Headers, Record
from hookmill.kafka.client import Connection
from hookmill.kafka.inbox import Inbox
from hookmill.kafka.packing import Packed
from hookmill.kafka.partition import KafkaPort
from hookmill.kafka.reader import at_rest, reader
from hookmill.kafka.topics import admin, wanted
from hookmill.local.broker import LocalBroker
from hookmill.pipeline import Names, Stage, Topic
from support.memory_log import Exhausted
from support.ports import free_port


def start_broker(folder: Path) -> LocalBroker:
    """A single-node Apache Kafka, ready."""
    broker = LocalBroker(folder, port=free_port(), nodes=1)
    broker.start()
    return broker


class BrokerLog:
    """The engine's contract on a real broker: what MemoryLog is, in a namespace of its own."""

    def __init__(self, servers: Sequence[str], namespace: str) -> None:
        self.connection = Connection(tuple(servers), {"security_protocol": "PLAINTEXT"})
        self.names = Names(namespace)
        self._consumers: list[Inbox] = []
        self._producer: AIOKafkaProducer | None = None

    async def start(self, topics: Sequence[Topic], *, partitions: int = 1) -> None:
        """Make the topics."""
        wants = [
            wanted(each, self.names, partitions=partitions, replication_factor=1) for each in topics
        ]
        async with admin(self.connection) as client:
            await client.apply(wants, {})
        self._producer = AIOKafkaProducer(**self.connection.arguments("test"), acks="all")
        await self._producer.start()

    async def stop(self) -> None:
        """Let go of the clients."""
        for consumer in self._consumers:
            await consumer.stop()
        if self._producer:
            await self._producer.stop()

    async def produce(
        self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers = ()
    ) -> None:
        """Append outside any transaction."""
        assert self._producer
        await self._producer.send_and_wait(
            self.names.topic(topic), value, key, partition, headers=list(headers)
        )

    async def read(self, topic: str, partition: int) -> list[Record]:
        """Every committed record."""
        name = self.names.topic(topic)
        async with (
            reader(self.connection) as source,
            reader(self.connection, committed=False) as log,
        ):
            bounds = await at_rest(source, log, name)
            return await source.read_all(name, {partition: bounds[partition]})

    async def delete(self, topic: str, partition: int, *, before: int) -> None:
        """Delete the records before the offset, as Kafka does by age."""
        client = AIOKafkaAdminClient(**self.connection.arguments("test"))
        await client.start()
        place = TopicPartition(self.names.topic(topic), partition)
        await client.delete_records({place: RecordsToDelete(before_offset=before)})
        await client.close()

    async def port(self, spec: Stage, partition: int) -> "EndingPort":
        """A port as a new owner of the partition would have it."""
        consumer = Inbox(
            **self.connection.arguments("test"),
            group_id=self.names.group(spec.name),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
        )
        consumer.assign([TopicPartition(self.names.topic(spec.reads), partition)])
        await consumer.start()
        self._consumers.append(consumer)
        return EndingPort(self.connection, self.names, spec, partition, consumer)


class EndingPort(KafkaPort):
    """A real port that raises Exhausted once nothing is left, so that tests end."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.before_commit = lambda: None
        self.after_commit = lambda: None

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """As the real one; the end of the log ends the test."""
        found = await super().fetch(records_max=records_max, timeout_secs=min(timeout_secs, 0.2))
        if found:
            return found
        _, end = await self.input_bounds()
        position = await self._consumer.position(self._input)
        if position >= end:
            raise Exhausted
        return []

    async def commit(self, packed: Packed, next_offset: int) -> dict[str, int]:
        """As the real one, with the test's faults around it."""
        self.before_commit()
        written = await super().commit(packed, next_offset)
        self.after_commit()
        return written


async def until(condition: object, *, timeout_secs: float, every_secs: float = 0.05) -> None:
    """Wait for an (async) condition with a limit; raises TimeoutError."""
    async with asyncio.timeout(timeout_secs):
        while True:
            result = condition()  # type: ignore[operator]
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(every_secs)


__all__ = ["BrokerLog", "EndingPort", "start_broker", "until"]
