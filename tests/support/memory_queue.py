"""A handler's partition in memory: topics, transactions, a state, owners that fence each other."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from hookmill.core.event import Event, Links, ProviderEvent, Raw, encode
from hookmill.core.record import Headers, Output, Record
from hookmill.pipeline import HandlerTopics
from support.memory_log import Fenced

TOPICS = HandlerTopics("h")
PARTITION = 2


def event(number: int, subject: str = "p") -> Event:
    """A normalized event."""
    return Event(
        id=f"hm_{number}", type="payment.succeeded", kind="payment", status="succeeded",
        endpoint="shop", provider="yoco", mode="live", occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z", subject=subject, resource=None,
        amount=None, amount_paid=None, amount_refunded=None, discrepancy=None, links=Links(),
        failure=None, metadata={"card": "4111"}, provider_event=ProviderEvent(), late=False,
        raw=Raw("webhooks-raw", 0, 0, ""),
    )  # fmt: skip


class MemoryPartition:
    """What Kafka has of one partition number of a handler's topics. The time is the test's."""

    def __init__(self) -> None:
        self.now_us = 1_790_000_000_000_000
        self.topics: dict[str, list[Record | None]] = defaultdict(list)
        self.offsets: dict[str, int] = {}
        self.state: dict[bytes, bytes] = {}
        self.epoch = 0
        self.changed = asyncio.Event()

    def append(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> int:
        """One record; returns its offset."""
        log = self.topics[topic]
        at_ms = self.now_us // 1000
        log.append(Record(topic, PARTITION, len(log), at_ms, key, value, headers))
        self.notify()
        return len(log) - 1

    def feed(self, number: int, subject: str) -> None:
        """An event into the queue, and the marker of the transaction that brought it."""
        headers = (("hm-delivery", f"d-{number}".encode()), ("ce_id", f"hm_{number}".encode()))
        self.append(TOPICS.queue, subject.encode(), encode(event(number, subject)), headers)
        self.topics[TOPICS.queue].append(None)

    def records(self, topic: str) -> list[Record]:
        """Every committed record of the topic."""
        return [each for each in self.topics[topic] if each is not None]

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += int(seconds * 1_000_000)
        self.notify()

    def notify(self) -> None:
        """Whoever waits for records looks again."""
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryQueue:
    """`handlers.ports.Queue` of one owner. `before_commit` and `after_commit` are for faults; a
    commit takes so many turns of the loop before the log has it, one less until the store has."""

    def __init__(self, partition: MemoryPartition, *, commit_turns: int = 1) -> None:
        self.partition = partition
        self._commit_turns = commit_turns
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.commits = 0
        self._epoch = -1
        self._at: dict[str, int] = {}
        self._store: dict[bytes, bytes] = {}

    async def begin(self) -> Iterable[tuple[bytes, bytes]]:
        """Whoever owned it before can commit no more."""
        self.partition.epoch += 1
        self._epoch = self.partition.epoch
        self._at = dict(self.partition.offsets)
        self._store = dict(self.partition.state)
        return list(self._store.items())

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records of the queue."""
        changed = self.partition.changed
        found = self._next(TOPICS.queue, records_max)
        if not found:
            await changed.wait()
        return found

    async def fetch_retries(
        self, topics: Sequence[str], *, records_max: int, timeout_secs: float
    ) -> list[tuple[str, Record]]:
        """The next records of those topics; waits until a record comes or time passes."""
        changed = self.partition.changed
        found = [(topic, each) for topic in topics for each in self._next(topic, records_max)]
        if not found:
            await changed.wait()
        return found

    def kept(self, key: bytes) -> bytes:
        """A value out of the state."""
        return self._store[key]

    async def commit(
        self,
        outputs: Sequence[Output],
        changes: Sequence[tuple[bytes, bytes | None]],
        offsets: Mapping[str, int],
    ) -> None:
        """All or nothing, and only for the newest owner."""
        await _turns(self._commit_turns)
        self.before_commit()
        if self.partition.epoch != self._epoch:
            raise Fenced
        for output in outputs:
            self.partition.append(output.topic, output.key, output.value or b"", output.headers)
        _apply(changes, self.partition.state)
        self.partition.offsets |= offsets
        self.partition.notify()
        await _turns(self._commit_turns - 1)
        _apply(changes, self._store)
        self.commits += 1
        self.after_commit()

    def _next(self, topic: str, records_max: int) -> list[Record]:
        log = self.partition.topics[topic]
        at = self._at.get(topic, 0)
        found = [each for each in log[at:] if each is not None][:records_max]
        if found:
            self._at[topic] = found[-1].offset + 1
        return found


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _apply(changes: Sequence[tuple[bytes, bytes | None]], state: dict[bytes, bytes]) -> None:
    for key, value in changes:
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
