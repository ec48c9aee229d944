"""More comes than Kafka takes: bounded memory, an honest answer, and what was accepted is kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial

import aiohttp
import pytest

from hookmill.config import options
from hookmill.core.record import Output
from hookmill.ingress.server import Keeper
from hookmill.kafka.lanes import Settled
from support.brokers import BrokerLog, until
from support.front import PARTITIONS, TOPICS, Front, event, signed

pytestmark = pytest.mark.broker

OFFERED_TIMES = 3
WAVES = 4
REQUESTS_MAX = 20
BYTES_MAX = 64 * 1024
PADDING = 4096


class Gate:
    """The real appender behind a gate, before which everything waits while it is shut."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._opened = asyncio.Event()
        self._waiting: list[Callable[[], None]] = []

    @property
    def available(self) -> bool:
        """As the real one."""
        return self._keeper.available

    def admits(self) -> bool:
        """As the real one."""
        return self._keeper.admits()

    async def append(self, topic: str, output: Output, *, deadline: float) -> None:
        """As the real one, once it may."""
        await self._opened.wait()
        await self._keeper.append(topic, output, deadline=deadline)

    def post(self, topic: str, output: Output, *, deadline: float, settled: Settled) -> None:
        """As `append`."""
        work = partial(self._keeper.post, topic, output, deadline=deadline, settled=settled)
        if self._opened.is_set():
            work()
        else:
            self._waiting.append(work)

    def shut(self) -> None:
        """Nothing passes from now on."""
        self._opened.clear()

    def open(self) -> None:
        """What waited passes, and what comes."""
        self._opened.set()
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


@pytest.fixture
async def crowded(broker_servers: list[str], namespace: str) -> AsyncIterator[Front]:
    """An ingress whose limits are small."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    limits = options.Ingress(
        bytes_in_flight_max=BYTES_MAX,
        requests_in_flight_max=2 * REQUESTS_MAX,
        endpoint_requests_in_flight_max=REQUESTS_MAX,
    )
    front = Front(log, limits)
    await front.start()
    yield front
    await front.stop()
    await log.stop()


def padded(number: int, padding: int) -> bytes:
    """A body, as long as every other one."""
    return event(1000 + number) + b" " * padding


@pytest.mark.parametrize(
    ("padding", "fit"),
    [(0, REQUESTS_MAX), (PADDING, BYTES_MAX // len(padded(0, PADDING)))],
    ids=["too many", "too many bytes"],
)
async def test_three_times_what_fits(
    crowded: Front, client: aiohttp.ClientSession, padding: int, fit: int
) -> None:
    """The surplus hears 429 with Retry-After at once, whatever the others wait for; as many as fit
    are accepted and kept, wave after wave."""
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    answers: Counter[int] = Counter()
    taken: set[str] = set()

    async def deliver(number: int) -> None:
        body = padded(number, padding)
        async with client.post(crowded.url + "shop", data=body, headers=signed(body)) as response:
            said = await response.json()
            answers[response.status] += 1
            if response.status == 200:
                taken.add(said["delivery"])
            else:
                assert int(response.headers["retry-after"]) >= 1

    def refused(count: int) -> bool:
        return answers.total() - answers[200] == count and crowded.ingress.in_flight == fit

    offered = OFFERED_TIMES * fit
    for wave in range(WAVES):
        gate.shut()
        numbers = range(wave * offered, (wave + 1) * offered)
        surplus = (wave + 1) * (offered - fit)
        async with asyncio.TaskGroup() as asking:
            for number in numbers:
                asking.create_task(deliver(number))
            await until(partial(refused, surplus), timeout_secs=20)
            assert answers == Counter({429: surplus, 200: wave * fit})
            assert 0 < crowded.ingress._admission.held_bytes <= BYTES_MAX
            gate.open()
        assert answers[200] == len(taken) == (wave + 1) * fit

    kept = [dict(record.headers)["hm-delivery"].decode() for record in await crowded.kept()]
    assert sorted(kept) == sorted(taken)
    assert (crowded.ingress.in_flight, crowded.ingress._admission.held_bytes) == (0, 0)
