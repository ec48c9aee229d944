"""Writes to chosen partitions in whole batches, outside any transaction: the reader's counterpart.

What it writes is whatever a benchmark or a trial needs to find in the topics; the parts of the
pipeline have writers of their own, with the promises that go with them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaProducer

from hookmill.core.record import Output
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, reachable
from hookmill.kafka.producing import BATCH_BYTES_MAX, stop, write
from hookmill.pipeline import Names


class Writer:
    """Writes records in order; a second call for a partition waits for the first."""

    def __init__(self, producer: AIOKafkaProducer, names: Names) -> None:
        self._producer = producer
        self._names = names

    async def write(self, outputs: Sequence[Output], partition: int) -> None:
        """Write them to that partition of their topics; returns once they are acknowledged."""
        await write(self._producer, outputs, partition, self._names.topic)


@contextlib.asynccontextmanager
async def writer(connection: Connection, names: Names) -> AsyncIterator[Writer]:
    """A writer for as long as it is needed. Raises KafkaUnavailable when Kafka is out."""
    producer = AIOKafkaProducer(
        **connection.arguments("hookmill-writer"), acks="all", max_batch_size=BATCH_BYTES_MAX
    )
    async with reachable(connection):
        try:
            async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
                await producer.start()
            yield Writer(producer, names)
        finally:
            await stop(producer)
