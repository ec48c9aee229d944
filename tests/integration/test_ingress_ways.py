"""The short way and the long way serve one connection: in order, whatever comes in what pieces."""

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp.web_protocol import RequestHandler

from hookmill.ingress import plain
from hookmill.ingress.admission import Admission
from hookmill.ingress.server import Ingress
from hookmill.providers.declared import DeclaredPack
from support.brokers import until
from support.front import Front, event, post, signed

pytestmark = pytest.mark.broker

REQUESTS = 60


def delivery(number: int, *, path: bytes = b"/webhooks/shop", head: str = "") -> bytes:
    """A whole request with a good signature."""
    body = event(number)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    return post(lines + head, body).replace(b"/webhooks/shop", path) + body


def any_request(chance: random.Random, number: int) -> tuple[bytes, bytes]:
    """A request of one kind or another, and the status that it must get."""
    return chance.choice(
        [
            (delivery(number), b"200"),  # plain: the short way
            (delivery(number, head="expect: 100-continue\r\n"), b"200"),  # the long way
            (delivery(number, path=b"/webhooks/nobody"), b"404"),
            (post("", event(number)) + event(number), b"401"),
            (b"GET /webhooks/shop HTTP/1.1\r\nhost: x\r\n\r\n", b"405"),
        ]
    )


async def statuses_of(front: Front, chance: random.Random, requests: list[bytes]) -> list[bytes]:
    """What requests are answered that come one behind the other, in any pieces."""
    left = b"".join(requests)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    async with asyncio.timeout(30):
        while left:
            size = chance.choice([1, 100, 700, 1_500, 4_000])
            writer.write(left[:size])
            left = left[size:]
            for _ in range(chance.choice([0, 0, 1, 2, 5])):
                await asyncio.sleep(0)
        said = await reader.read()
    writer.close()
    return [each for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", said) if each != b"100"]


@contextmanager
def no_place(front: Front, *, but: int = 0) -> Iterator[Admission]:
    """Others have the places of the shop's endpoint, but so many."""
    admission = front.ingress.admission
    others = front.limits.endpoint_requests_in_flight_max - but
    for _ in range(others):
        assert admission.enter("shop")
    yield admission
    for _ in range(others):
        admission.leave("shop", 0)


LAST = (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"404")


@pytest.mark.parametrize("seed", range(6))
async def test_answers_come_in_the_order_of_the_requests(front: Front, seed: int) -> None:
    """Also where a request comes while the one before it has just been answered."""
    chance = random.Random(seed)
    asked = [*(any_request(chance, number) for number in range(REQUESTS)), LAST]
    statuses = await statuses_of(front, chance, [request for request, _ in asked])

    assert statuses == [status for _, status in asked]
    assert len(await front.kept()) == statuses.count(b"200")


@pytest.mark.parametrize("seed", range(3))
async def test_answers_come_in_that_order_too_where_there_is_hardly_a_place(
    front: Front, seed: int
) -> None:
    """Nearly each request waits to be let in, unread; more of it may come meanwhile."""
    front.ingress.patience_secs = 20
    chance = random.Random(seed)
    asked = [
        [*(any_request(chance, 100 * connection + number) for number in range(20)), LAST]
        for connection in range(8)
    ]
    with no_place(front, but=1) as admission:
        found = await asyncio.gather(
            *(statuses_of(front, chance, [request for request, _ in each]) for each in asked)
        )
        assert admission.waiting == admission.held_bytes == 0

    assert found == [[status for _, status in each] for each in asked]
    assert len(await front.kept()) == sum(each.count(b"200") for each in found)


class Eager(asyncio.Transport):
    """A connection whose client sends its next request the moment that it is answered, and is
    read before aiohttp's task runs again: as with uvloop under load."""

    def __init__(self, protocol: asyncio.Protocol, requests: list[bytes]) -> None:
        super().__init__()
        self._protocol = protocol
        self._left = requests
        self.said = b""
        self.done = asyncio.Event()

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """An answer: each of them is written at once."""
        self.said += data
        asyncio.get_running_loop().call_soon(self.send)

    def writelines(self, pieces: Any) -> None:
        """The same, as aiohttp writes it."""
        self.write(b"".join(pieces))

    def send(self) -> None:
        """The next request, if there is one."""
        if self._left:
            self._protocol.data_received(self._left.pop(0))
        else:
            self.done.set()

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def pause_reading(self) -> None:
        """There is never more than one request."""

    def resume_reading(self) -> None:
        """The same."""

    def abort(self) -> None:
        """It ends with the test."""

    close = abort


async def answers_to(front: Front, requests: list[bytes]) -> bytes:
    """All that such a client is told on one connection."""
    protocol = front.server()
    wire = Eager(protocol, [*requests])
    protocol.connection_made(wire)
    wire.send()
    async with asyncio.timeout(10):
        await wire.done.wait()
    protocol.connection_lost(None)
    return wire.said


async def test_only_what_is_not_plain_goes_the_long_way(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that came before aiohttp's task waited for one went the long way, and so did every
    later one of a connection under load, at twice the cost."""
    long_ones = []
    answer = Ingress.answer

    async def counted(self: Ingress, request: Any) -> Any:
        long_ones.append(request.path)
        return await answer(self, request)

    monkeypatch.setattr(Ingress, "answer", counted)
    other = delivery(0, path=b"/webhooks/nobody")
    requests = [delivery(1), delivery(2), other, delivery(3), delivery(4), other, delivery(5)]
    said = await answers_to(front, requests)

    statuses = [each.decode() for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]
    assert statuses == ["200", "200", "404", "200", "200", "404", "200"]
    assert long_ones == ["/webhooks/nobody"] * 2


async def test_the_parser_reads_from_the_first_odd_request_on(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing before it: plain deliveries are read without one."""
    parsed = []
    received = RequestHandler.data_received

    def counted(self: RequestHandler, data: bytes) -> None:
        parsed.append(data)
        received(self, data)

    monkeypatch.setattr(RequestHandler, "data_received", counted)
    odd = delivery(3, head="x-one: 1\r\nx-one: 2\r\n")
    requests = [delivery(1), delivery(2), odd, delivery(4)]
    said = await answers_to(front, requests)

    assert said.count(b"HTTP/1.1 200 ") == len(requests)
    assert parsed == [odd, requests[-1]]


async def test_who_waits_is_not_read_before_it_is_let_in(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands that wait were thousands of times forty objects."""
    read, was_read = plain.read, []

    def counted(data: bytes, received_at_us: int) -> Any:
        was_read.append(data)
        return read(data, received_at_us)

    monkeypatch.setattr(plain, "read", counted)
    protocol = front.server()
    request = delivery(1)
    wire = Eager(protocol, [request])
    protocol.connection_made(wire)
    with no_place(front) as admission:
        wire.send()
        assert (admission.waiting, was_read) == (1, [])
        assert admission.held_bytes == len(event(1))
    async with asyncio.timeout(10):
        await wire.done.wait()

    assert was_read == [request]
    assert wire.said.startswith(b"HTTP/1.1 200 ")
    assert (admission.requests, admission.waiting, admission.held_bytes) == (0, 0, 0)


@pytest.mark.parametrize("patience_secs", [20, 0.05], ids=["it waits", "it has waited too long"])
async def test_half_a_request_is_answered_once_the_rest_has_come(
    front: Front, patience_secs: float
) -> None:
    """And not before, or the rest would be taken for another request."""
    front.ingress.patience_secs = patience_secs
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    whole = delivery(1, head="connection: close\r\n")
    with no_place(front) as admission:
        writer.write(whole[:-10])
        await until(lambda: admission.waiting == 1, timeout_secs=10)
        if patience_secs < 1:
            front.ingress.patience_secs = 20
            await until(lambda: admission.held_bytes == 0, timeout_secs=10)  # it is the parser's
        writer.write(whole[-10:])
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()

    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", said) == [b"200"]
    assert (admission.requests, admission.waiting, admission.held_bytes) == (0, 0, 0)


async def test_a_defect_while_a_request_is_read_ends_the_connection(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And aiohttp's task with it, which waits for what will never come."""

    def broken(self: RequestHandler, data: bytes) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(RequestHandler, "data_received", broken)
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    writer.close()


async def test_those_of_one_turn_go_on_together_and_are_answered_each_by_itself(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgery and a defect among them take nothing from the others, whose order stays."""
    identify = DeclaredPack.identify

    def broken(self: DeclaredPack, delivery: Any, options: Any) -> Any:
        if delivery.body == event(3):
            raise RuntimeError("a defect")
        return identify(self, delivery, options)

    monkeypatch.setattr(DeclaredPack, "identify", broken)
    forged = post("", event(2)) + event(2)
    wires = []
    for request in (delivery(1), forged, delivery(3), delivery(1), delivery(1)):
        protocol = front.server()
        wires.append(Eager(protocol, [request]))
        protocol.connection_made(wires[-1])
    for wire in wires:
        wire.send()
    assert [wire.said for wire in wires] == [b""] * len(wires)
    async with asyncio.timeout(10):
        for wire in wires:
            await wire.done.wait()

    statuses = [wire.said.split(b" ", 2)[1] for wire in wires]
    assert statuses == [b"200", b"401", b"503", b"200", b"200"]
    ids = [re.findall(rb"x-hookmill-delivery: (\S+)", wire.said) for wire in wires]
    kept = [each.header("hm-delivery").encode() for each in await front.kept()]
    assert kept == [each for [each] in (ids[0], ids[3], ids[4])]
    assert front.ingress.in_flight == 0
