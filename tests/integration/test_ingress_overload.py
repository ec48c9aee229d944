"""More comes than Kafka takes: bounded memory, an honest answer, and what was accepted is kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest

from hookmill.config import options
from hookmill.core.record import Output
from hookmill.ingress.admission import Admission
from hookmill.ingress.server import Keeper
from hookmill.kafka.lanes import Settled
from support.brokers import BrokerLog, until
from support.front import PARTITIONS, TOPICS, Front, event, signed
from support.garbage import uncollected

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


class Crowd:
    """Deliveries that are posted at once, and what they hear."""

    def __init__(self, front: Front, client: aiohttp.ClientSession) -> None:
        self._front, self._client = front, client
        self.answers: Counter[int] = Counter()
        self.taken: set[str] = set()

    async def deliver(self, number: int, padding: int = 0) -> None:
        """Post it and note the answer."""
        body = padded(number, padding)
        posting = self._client.post(self._front.url + "shop", data=body, headers=signed(body))
        async with posting as response:
            said = await response.json()
            self.answers[response.status] += 1
            if response.status == 200:
                self.taken.add(said["delivery"])
            else:
                assert int(response.headers["retry-after"]) >= 1

    @asynccontextmanager
    async def before(self, gate: Gate) -> AsyncIterator[Admission]:
        """Three times as many as fit stand before the shut gate, which opens at the end; then all
        have been answered."""
        admission = self._front.ingress.admission
        gate.shut()
        async with asyncio.TaskGroup() as asking:
            for number in range(OFFERED_TIMES * REQUESTS_MAX):
                asking.create_task(self.deliver(number))
            await until(lambda: admission.requests == REQUESTS_MAX, timeout_secs=20)
            yield admission
            gate.open()

    async def kept(self) -> None:
        """Check that what was answered 200 is in Kafka, and nothing of it held any more."""
        found = [
            dict(record.headers)["hm-delivery"].decode() for record in await self._front.kept()
        ]
        assert sorted(found) == sorted(self.taken)
        admission = self._front.ingress.admission
        assert (admission.requests, admission.waiting, admission.held_bytes) == (0, 0, 0)


async def test_more_bytes_than_fit(crowded: Front, client: aiohttp.ClientSession) -> None:
    """The surplus hears 429 with Retry-After at once, whatever the others wait for; as many as fit
    are accepted and kept, wave after wave."""
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    crowd = Crowd(crowded, client)
    fit = BYTES_MAX // len(padded(0, PADDING))
    offered = OFFERED_TIMES * fit

    def refused(count: int) -> bool:
        answers = crowd.answers
        return answers.total() - answers[200] == count and crowded.ingress.in_flight == fit

    for wave in range(WAVES):
        gate.shut()
        surplus = (wave + 1) * (offered - fit)
        async with asyncio.TaskGroup() as asking:
            for number in range(wave * offered, (wave + 1) * offered):
                asking.create_task(crowd.deliver(number, PADDING))
            await until(partial(refused, surplus), timeout_secs=20)
            assert crowd.answers == Counter({429: surplus, 200: wave * fit})
            assert 0 < crowded.ingress.admission.held_bytes <= BYTES_MAX
            gate.open()
        assert crowd.answers[200] == len(crowd.taken) == (wave + 1) * fit

    await crowd.kept()


SURPLUS = (OFFERED_TIMES - 1) * REQUESTS_MAX
WAYS = pytest.mark.parametrize(
    "header", [{}, {"expect": "100-continue"}], ids=["short way", "long way"]
)


@WAYS
async def test_more_requests_than_fit_wait(
    crowded: Front, client: aiohttp.ClientSession, header: dict[str, str]
) -> None:
    """Never more are in flight; whoever finds no place is let in as one comes free, and all are
    accepted and kept, wave after wave."""
    client.headers.update(header)
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    crowd = Crowd(crowded, client)
    for wave in range(1, WAVES + 1):
        async with crowd.before(gate) as admission:
            await until(
                lambda: admission.waiting == SURPLUS and admission.held_bytes > 0, timeout_secs=20
            )
            assert admission.requests == REQUESTS_MAX
            assert admission.held_bytes <= BYTES_MAX
        assert crowd.answers == Counter({200: wave * (REQUESTS_MAX + SURPLUS)})

    await crowd.kept()


@WAYS
async def test_what_is_answered_leaves_no_garbage(
    crowded: Front, client: aiohttp.ClientSession, header: dict[str, str]
) -> None:
    """Whether it waited or gave up: a process with few cycles has its garbage collected seldom, and
    what lies about until then is memory that grows and caches that find nothing."""
    client.headers.update(header)
    crowded.ingress.patience_secs = 0.2
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    crowd = Crowd(crowded, client)
    with uncollected() as garbage:
        async with crowd.before(gate):
            await until(lambda: crowd.answers[429] == SURPLUS, timeout_secs=20)
        crowded.ingress.patience_secs = 20
        async with crowd.before(gate) as admission:
            await until(lambda: admission.waiting == SURPLUS, timeout_secs=20)

    assert not garbage


@WAYS
async def test_who_waits_too_long_hears_429(
    crowded: Front, client: aiohttp.ClientSession, header: dict[str, str]
) -> None:
    """With Retry-After; who was in flight before is accepted all the same, wave after wave."""
    client.headers.update(header)
    crowded.ingress.patience_secs = 0.2
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    crowd = Crowd(crowded, client)

    def refused(count: int) -> bool:
        return crowd.answers[429] == count

    for wave in range(1, WAVES + 1):
        surplus = wave * SURPLUS
        async with crowd.before(gate) as admission:
            await until(partial(refused, surplus), timeout_secs=20)
            assert (admission.requests, admission.waiting) == (REQUESTS_MAX, 0)
            assert 0 < admission.held_bytes <= BYTES_MAX
        assert crowd.answers == Counter({429: surplus, 200: wave * REQUESTS_MAX})

    await crowd.kept()


async def test_who_waits_is_answered_before_the_end(
    crowded: Front, client: aiohttp.ClientSession
) -> None:
    """A process that drains finishes those too that have not been let in yet."""
    gate = crowded.ingress.keeper = Gate(crowded.appender)
    crowd = Crowd(crowded, client)
    async with crowd.before(gate) as admission:
        await until(lambda: admission.waiting == SURPLUS, timeout_secs=20)
        finishing = asyncio.ensure_future(crowded.ingress.finish())

    await asyncio.wait_for(finishing, 20)
    assert crowd.answers == Counter({200: REQUESTS_MAX + SURPLUS})
    await crowd.kept()


@pytest.mark.parametrize("let_in", [False, True], ids=["waits", "was just let in"])
async def test_who_goes_away_while_it_waits_leaves_no_place_taken(
    crowded: Front, let_in: bool
) -> None:
    """The place is there for the next one."""
    admission, door = crowded.ingress.admission, crowded.ingress.open_door("shop")
    for _ in range(REQUESTS_MAX):
        assert admission.enter("shop")
    asking = asyncio.ensure_future(crowded.ingress._let_in(door, "shop"))
    await until(lambda: admission.waiting == 1, timeout_secs=5)
    asking.cancel()
    if let_in:
        admission.leave("shop", 0)
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert (admission.requests, admission.waiting) == (REQUESTS_MAX - let_in, 0)
    for _ in range(REQUESTS_MAX - let_in):
        admission.leave("shop", 0)
