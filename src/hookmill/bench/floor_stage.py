"""The floor of the stages: copies a topic in transactions with bare aiokafka, and nothing else.

A program of its own, `python -m hookmill.bench.floor_stage`, because it measures the client itself:
it is the one module here that imports it. What it does is what no exactly-once stage in Python can
leave out: `getmany`, one batch a transaction of up to 2,000 records, the offset, the commit.
"""

import asyncio
import sys
import time

import msgspec
import psutil
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

RECORDS_MAX = 2_000
BATCH_BYTES_MAX = 900 * 1024


class Work(msgspec.Struct, frozen=True):
    """What is copied, from the start to the offsets in `ends`, one for each partition. The first
    `warm_up` records do not count."""

    servers: list[str]
    reads: str
    writes: str
    ends: list[int]
    warm_up: int


class Found(msgspec.Struct, frozen=True):
    """What it took, from the end of the warm-up on."""

    records: int
    cpu_secs: float
    wall_secs: float
    rss_bytes: int


class _Meter:
    """Counts the records, and knows when the warm-up was over."""

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self.done = self.before = 0
        self.cpu_secs = self.wall_secs = 0.0

    def count(self, records: int) -> None:
        self.done += records
        if not self.before and self.done >= self._warm_up:
            self.before = self.done
            self.cpu_secs, self.wall_secs = time.process_time(), time.perf_counter()

    def found(self) -> Found:
        return Found(
            self.done - self.before,
            time.process_time() - self.cpu_secs,
            time.perf_counter() - self.wall_secs,
            psutil.Process().memory_info().rss,
        )


async def copy(work: Work) -> Found:
    """Copy every partition, all at once, each with a transactional producer of its own."""
    meter = _Meter(work.warm_up)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=work.servers, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest", max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    places = [TopicPartition(work.reads, partition) for partition in range(len(work.ends))]
    consumer.assign(places)
    await consumer.start()
    try:
        async with asyncio.TaskGroup() as group:
            for at, end in zip(places, work.ends, strict=True):
                group.create_task(_copy_partition(work, consumer, at, end, meter))
        return meter.found()
    finally:
        await consumer.stop()


async def _copy_partition(
    work: Work, consumer: AIOKafkaConsumer, at: TopicPartition, end: int, meter: _Meter
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=work.servers, transactional_id=f"floor-{at.topic}-{at.partition}",
        max_batch_size=BATCH_BYTES_MAX,
    )  # fmt: skip
    await producer.start()
    position = 0
    while position < end:
        found = await consumer.getmany(at, timeout_ms=1_000, max_records=RECORDS_MAX)
        records = found.get(at, [])
        if not records:
            continue
        await producer.begin_transaction()
        sent = 0
        while sent < len(records):
            batch = producer.create_batch()
            while sent < len(records):
                each = records[sent]
                if batch.append(timestamp=None, key=each.key, value=each.value,
                                headers=list(each.headers)) is None:  # fmt: skip
                    break
                sent += 1
            await (await producer.send_batch(batch, work.writes, partition=at.partition))
        position = records[-1].offset + 1
        await producer.send_offsets_to_transaction({at: position}, f"floor-{at.topic}")
        await producer.commit_transaction()
        meter.count(len(records))
    await producer.stop()


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(copy(asked))))
