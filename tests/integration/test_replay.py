"""A replay on a real broker: to one handler's queue, once, also when it is killed in the middle."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hookmill.kafka.reader import reader
from hookmill.kafka.replay import Replay
from hookmill.pipeline import KEEP_MS, NORMALIZED, HandlerTopics, Topic
from hookmill.stages import headers
from hookmill.stages.replay import Wish
from hookmill.stages.route import Rule
from support.brokers import BrokerLog
from support.events import payment, sent

pytestmark = pytest.mark.broker

QUEUE = HandlerTopics("ledger").queue
TOPICS = [Topic(name, "test", KEEP_MS, 1_300_000) for name in (NORMALIZED, QUEUE)]
RULES = (Rule(name="all", handlers=("ledger",), endpoints=frozenset({"shop"})),)
EVENTS = 8
FOR_EVER_US = 4_000_000_000_000_000


class Quiet:
    """A watcher that is told for nothing."""

    def begins(self, offsets: int) -> None:
        """Nothing."""

    def passed(self, offsets: int) -> None:
        """Nothing."""

    def settled(self, events: int) -> None:
        """Nothing."""


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Two partitions of events, every fourth of an endpoint that no rule names."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=2)
    for number in range(EVENTS):
        endpoint = "other" if number % 4 == 3 else "shop"
        key, value, pairs = sent(payment(number, endpoint=endpoint))
        await log.produce(NORMALIZED, number % 2, key, value, pairs)
    yield log
    await log.stop()


async def replayed(log: BrokerLog, *, killed_after: int | None = None, **wish: Any) -> int:
    """Carry out the wish; how many events it sent. Killed after so many transactions."""
    wanted = Wish(**{"handler": "ledger", "since_us": 0, "until_us": FOR_EVER_US, **wish})
    left = killed_after

    async def pause(seconds: float) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    async with reader(log.connection) as source:
        work = Replay(source, log.connection, log.names, wish=wanted, rules=RULES,
                      watcher=Quiet(), rate_per_sec=10, pause=pause)  # fmt: skip
        assert (await work.count())[0] >= 0
        try:
            await work.run()
        except KeyboardInterrupt:
            assert killed_after is not None
        return work.sent


async def queued(log: BrokerLog) -> list[tuple[str | None, str | None]]:
    """What lies in the handler's queue: ids, and where each was taken from."""
    records = [each for partition in (0, 1) for each in await log.read(QUEUE, partition)]
    return [(each.header("ce_id"), each.header(headers.REPLAYED_FROM)) for each in records]


async def test_a_replay_that_was_killed_goes_on_and_sends_none_twice(log: BrokerLog) -> None:
    """What the rules do not give the handler stays out, and a partition stays its partition."""
    first = await replayed(log, killed_after=2)
    second = await replayed(log)
    third = await replayed(log)

    assert (first, second, third) == (2, 4, 0)
    assert await queued(log) == [
        *((payment(n).id, f"{NORMALIZED}:0:{n // 2}") for n in (0, 2, 4, 6)),
        *((payment(n).id, f"{NORMALIZED}:1:{n // 2}") for n in (1, 5)),
    ]


async def test_another_wish_begins_anew(log: BrokerLog) -> None:
    """One subject of all; and a time in which there was nothing."""
    await replayed(log)

    assert await replayed(log, subjects=("p_4",)) == 1
    assert await replayed(log, until_us=1_000_000) == 0
    assert await replayed(log, since_us=FOR_EVER_US - 1_000) == 0
    assert [each for each in await queued(log) if each[0] == payment(4).id] == [
        (payment(4).id, f"{NORMALIZED}:0:2")
    ] * 2
