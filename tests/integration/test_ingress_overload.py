"""More comes than Kafka takes: bounded memory, an honest answer, and what was accepted is kept."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from hookmill.config import options
from hookmill.core.errors import NotKept
from hookmill.core.record import Output
from hookmill.ingress.server import Keeper
from hookmill.kafka.lanes import Settled
from support.brokers import BrokerLog
from support.front import PARTITIONS, TOPICS, Front, event, signed

pytestmark = pytest.mark.broker

TAKEN_PER_SEC = 200
OFFERED_TIMES = 3
SECONDS = 2
BYTES_MAX = 64 * 1024
DEADLINE_SECS = 2.0


class Narrow:
    """The real appender behind a bottleneck: so many records a second and no more."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._free_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def available(self) -> bool:
        """As the real one."""
        return self._keeper.available

    def admits(self) -> bool:
        """As the real one."""
        return self._keeper.admits()

    async def append(self, topic: str, output: Output, *, deadline: float) -> None:
        """Wait for one's turn, then as the real one; whose deadline passes is not kept."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + 1 / TAKEN_PER_SEC
        await asyncio.sleep(self._free_at - now)
        await self._keeper.append(topic, output, deadline=deadline)

    def post(self, topic: str, output: Output, *, deadline: float, settled: Settled) -> None:
        """As `append`."""

        async def wait() -> None:
            try:
                await self.append(topic, output, deadline=deadline)
            except NotKept as error:
                settled(error)
            else:
                settled(None)

        task = asyncio.ensure_future(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@pytest.fixture
async def crowded(broker_servers: list[str], namespace: str) -> AsyncIterator[Front]:
    """An ingress whose Kafka is slow, and whose limits are small."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    limits = options.Ingress(
        bytes_in_flight_max=BYTES_MAX,
        requests_in_flight_max=100,
        endpoint_requests_in_flight_max=80,
        answer_deadline_secs=DEADLINE_SECS,
    )
    front = Front(log, limits)
    await front.start()
    front.ingress._keeper = Narrow(front.appender)
    yield front
    await front.stop()
    await log.stop()


@pytest.mark.parametrize("padding", [0, 4096], ids=["too many", "too many bytes"])
async def test_three_times_what_kafka_takes(
    crowded: Front, client: aiohttp.ClientSession, padding: int
) -> None:
    """The surplus hears 429 or 503 with Retry-After at once; the accepted are kept, in time."""
    answers: Counter[int] = Counter()
    taken: dict[str, float] = {}
    held_most = 0

    async def deliver(number: int) -> None:
        nonlocal held_most
        body = event(number) + b" " * padding
        await asyncio.sleep(number / (OFFERED_TIMES * TAKEN_PER_SEC))
        began = time.monotonic()
        async with client.post(crowded.url + "shop", data=body, headers=signed(body)) as response:
            said = await response.json()
            answers[response.status] += 1
            if response.status == 200:
                taken[said["delivery"]] = time.monotonic() - began
            else:
                assert int(response.headers["retry-after"]) >= 1
        held_most = max(held_most, crowded.ingress._admission.held_bytes)

    offered = OFFERED_TIMES * TAKEN_PER_SEC * SECONDS
    await asyncio.gather(*(deliver(number) for number in range(offered)))
    kept = {dict(record.headers)["hm-delivery"].decode(): record for record in await crowded.kept()}

    assert set(answers) <= {200, 429, 503}
    assert answers[200] > offered / OFFERED_TIMES / 2, answers
    assert answers[429] > 0, answers
    assert held_most <= BYTES_MAX
    assert taken.keys() <= kept.keys()
    p99 = sorted(taken.values())[int(len(taken) * 0.99)]
    assert p99 < DEADLINE_SECS, "an accepted delivery was answered after its deadline"
    assert crowded.ingress.in_flight == 0
