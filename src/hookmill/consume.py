"""`hookmill.consume`: read the normalized topics from Python, in a few lines.

    async with consume("kafka:9092", group="billing", topics=["events-payment"]) as events:
        async for event in events:
            await book(event)

- Asking for the next event says that the last one is done. Offsets are committed when there is
  nothing left to hand out, every second while there is, at a rebalance and on the way out. An
  event whose body raised, or was cancelled or left with `break`, is not done: it comes again.
  `await events.commit()` before `break` counts it.
- A member that is killed makes at most the events of its last second (and the one in hand) come
  again: the body runs **at least once** for each event; be idempotent by `event.id`.
- Only committed transactions are read, so within the deduplication window each event lies there
  **once**, and the events of a subject come in their order.
- A rebalance waits up to 30 s for the event in hand, so that no other member has it meanwhile.
- A body that takes longer than aiokafka's `max_poll_interval_ms` (5 minutes) loses its partitions.
"""

from hookmill.kafka.events import Events, OnBad, UnreadableRecord, consume

__all__ = ["Events", "OnBad", "UnreadableRecord", "consume"]
