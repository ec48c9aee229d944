"""Carries the state of dedup and normalize to topics with more partitions.

A subject key's partition is its hash modulo the count. Where the new count is a multiple of the
old one, what lies in partition p goes to partitions p, p + old, p + 2 old … and nowhere else. So
each of these is given all that p knows: a part of it is never asked for and expires in its time.
No key needs to be understood, and nothing that was forwarded is forwarded again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec
from aiokafka import AIOKafkaProducer

from hookmill.core.record import Output, Record
from hookmill.kafka.changelog import MARK_KEY
from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection
from hookmill.kafka.producing import BATCH_BYTES_MAX, stop, write
from hookmill.kafka.reader import reader
from hookmill.pipeline import RESOURCES, SEEN, Names

CARRIED = (SEEN, RESOURCES)
WRITE_TIMEOUT_SECS = 60.0


class Place(msgspec.Struct, frozen=True):
    """A namespace of a cluster, and the partition count of its topics."""

    connection: Connection
    names: Names
    partitions: int


def heirs(partition: int, *, old: int, new: int) -> range:
    """The new partitions to which subjects of that old one go. `new` is a multiple of `old`."""
    return range(partition, new, old)


def carried(records: Iterable[Record], topic: str) -> list[Output]:
    """The records without the changelog's own marks: they tell the old topic's positions."""
    return [Output(topic, each.key, each.value or None) for each in records
            if each.key != MARK_KEY]  # fmt: skip


async def carry(
    source: Place, to: Place, *, told: Callable[[str, int], None] = lambda topic, records: None
) -> Mapping[str, int]:
    """Copy the state, in order; by topic, how many records were read.

    The new stages must not have begun, the old ones must be through. Killed in the middle it can
    be run again: the same keys get the same values. Raises KafkaError for what is not taken.
    """
    producer = AIOKafkaProducer(
        **to.connection.arguments("hookmill-carry"),
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES_MAX,
    )
    async with asyncio.timeout(NETWORK_TIMEOUT_SECS):
        await producer.start()
    counts = dict.fromkeys(CARRIED, 0)
    try:
        async with reader(source.connection) as old:
            for topic in CARRIED:
                name = source.names.topic(topic)
                for partition, span in (await old.bounds(name)).items():
                    async for records in old.read(name, {partition: span}):
                        outputs = carried(records, topic)
                        for heir in heirs(partition, old=source.partitions, new=to.partitions):
                            async with asyncio.timeout(WRITE_TIMEOUT_SECS):
                                await write(producer, outputs, heir, to.names.topic)
                        counts[topic] += len(outputs)
                        told(topic, len(outputs))
    finally:
        await stop(producer)
    return counts
