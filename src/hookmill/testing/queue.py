"""A handler's queue without Kafka: one partition in memory, with its fence and its transactions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from hookmill.core.record import Output, Record


class Fenced(Exception):
    """A newer owner has begun: this one can commit no more."""


class MemoryLog:
    """What outlives a process: records, committed positions and state of one partition."""

    def __init__(self, *topics: str) -> None:
        self.topics: dict[str, list[Record]] = {topic: [] for topic in topics}
        self.positions: dict[str, int] = {}
        self.state: dict[bytes, bytes] = {}
        self.epoch = 0

    def append(self, output: Output, *, at_ms: int) -> Record:
        """Keep the record at the end of its topic; `at_ms` is its append time."""
        records = self.topics.setdefault(output.topic, [])
        value = output.value or b""
        record = Record(output.topic, 0, len(records), at_ms, output.key, value, output.headers)
        records.append(record)
        return record

    def left(self, topic: str) -> list[Record]:
        """The records from the committed position on."""
        return self.topics[topic][self.positions.get(topic, 0) :]


class MemoryQueue:
    """`handlers.ports.Queue` on a MemoryLog: one owner of it, the newest of those that began.

    `now_ms` is the time of what it writes. Where nothing is there to be read it awaits `wait`, with
    the seconds that it may take. `committed` is called after each transaction.
    """

    def __init__(
        self,
        log: MemoryLog,
        queue: str,
        *,
        now_ms: Callable[[], int],
        wait: Callable[[float], Awaitable[None]],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._queue = queue
        self._now_ms = now_ms
        self._wait = wait
        self._committed = committed
        self._epoch = -1
        self._next: dict[str, int] = {}

    async def begin(self) -> list[tuple[bytes, bytes]]:
        """Fence every earlier owner, and read on from the committed positions."""
        self._log.epoch += 1
        self._epoch = self._log.epoch
        self._next = dict(self._log.positions)
        return sorted(self._log.state.items())

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next records of the queue; empty when none came in time."""
        found = self._read(self._queue, records_max)
        if not found:
            await self._wait(timeout_secs)
            found = self._read(self._queue, records_max)
        return found

    async def fetch_retries(
        self, topics: Sequence[str], *, records_max: int, timeout_secs: float
    ) -> list[tuple[str, Record]]:
        """The next records of those retry topics; empty when none came in time."""
        found = self._read_any(topics, records_max)
        if not found:
            await self._wait(timeout_secs)
            found = self._read_any(topics, records_max)
        return found

    def kept(self, key: bytes) -> bytes:
        """A value out of the state; raises KeyError if there is none."""
        return self._log.state[key]

    async def commit(
        self,
        outputs: Sequence[Output],
        changes: Sequence[tuple[bytes, bytes | None]],
        offsets: Mapping[str, int],
    ) -> None:
        """All or nothing, and at once. Raises Fenced for all but the newest owner."""
        if self._log.epoch != self._epoch:
            raise Fenced
        for output in outputs:
            self._log.append(output, at_ms=self._now_ms())
        for key, value in changes:
            if value is None:
                self._log.state.pop(key, None)
            else:
                self._log.state[key] = value
        self._log.positions.update(offsets)
        self._committed()

    def _read_any(self, topics: Sequence[str], records_max: int) -> list[tuple[str, Record]]:
        found: list[tuple[str, Record]] = []
        for topic in topics:
            found += [(topic, each) for each in self._read(topic, records_max - len(found))]
        return found

    def _read(self, topic: str, records_max: int) -> list[Record]:
        start = self._next.get(topic, 0)
        found = self._log.topics[topic][start : start + records_max]
        self._next[topic] = start + len(found)
        return found
