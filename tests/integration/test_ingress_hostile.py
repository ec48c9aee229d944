"""The front door against whoever means harm: framing, idle and slow connections, old deliveries."""

import asyncio
import gzip
import json
import resource
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from hookmill.config import options
from hookmill.core.record import Record
from hookmill.ingress import body as body_reading
from hookmill.stages import headers
from hookmill.telemetry import catalog
from support.brokers import BrokerLog, until
from support.front import PARTITIONS, REHIVE_SECRET, TOPICS, Front, event, post, posted, raw, signed
from support.garbage import uncollected

pytestmark = pytest.mark.broker

PATIENCE_SECS = 10.0
IDLE = 2_000
NOTHING = b"POST /webhooks/nobody HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
async def narrow(broker_servers: list[str], namespace: str) -> AsyncIterator[Front]:
    """An ingress with few places and little patience for headers."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    front = Front(log, options.Ingress(connections_max=3, header_timeout_secs=0.5))
    await front.start()
    yield front
    await front.stop()
    await log.stop()


def lines(body: bytes) -> str:
    """The headers of a good delivery, for a request by hand."""
    return "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())


async def connect(front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has said nothing yet."""
    return await asyncio.open_connection("127.0.0.1", front.port)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closed it, without an answer."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECS) == b""
    except ConnectionError:
        return True


async def good(front: Front, number: int = 1) -> bytes:
    """The status line of a good delivery's answer."""
    body = event(number)
    answer = await raw(front.port, post(lines(body) + "connection: close\r\n", body) + body)
    return answer.splitlines()[0]


def counted(name: str, **labels: str) -> float:
    """What a counter says."""
    return catalog.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    "said",
    [b"", b"POST /webhooks/shop HT", b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nx: y\r\n"],
    ids=["nothing", "half a line", "headers without an end"],
)
async def test_headers_that_never_end_are_given_up(narrow: Front, said: bytes) -> None:
    """Silence costs a place; slow headers do not buy more time."""
    reader, writer = await connect(narrow)
    began = time.monotonic()
    for byte in said:
        writer.write(bytes([byte]))
    assert await ended(reader)
    assert time.monotonic() - began >= 0.4
    writer.close()


async def test_headers_that_trickle_do_not_buy_time(narrow: Front) -> None:
    """Every byte would reset a limit on silence; this one runs from the connection's beginning."""
    reader, writer = await connect(narrow)
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nhost: ")
    ending = asyncio.ensure_future(ended(reader))
    while not ending.done():
        writer.write(b"x")
        await asyncio.wait({ending}, timeout=0.05)
    assert await ending
    writer.close()


async def test_the_limit_on_headers_does_not_touch_a_body_or_a_kept_connection(
    narrow: Front,
) -> None:
    """Once the headers are there the body has its own limit; afterwards the connection may rest."""
    body = event()
    reader, writer = await connect(narrow)
    writer.write(post(lines(body), body))
    await until(lambda: narrow.ingress.in_flight == 1, timeout_secs=PATIENCE_SECS)
    await asyncio.wait({asyncio.ensure_future(reader.read(1))}, timeout=0.8)
    writer.write(body)
    await until(lambda: narrow.ingress.in_flight == 0, timeout_secs=PATIENCE_SECS)
    again = event(2)
    writer.write(post(lines(again), again) + again)
    await until(lambda: _kept(narrow, 2), timeout_secs=PATIENCE_SECS)
    writer.close()


async def _kept(front: Front, count: int) -> bool:
    return len(await front.kept()) == count


async def test_with_no_place_left_the_longest_idle_connection_gives_way(narrow: Front) -> None:
    """Who only holds places cannot keep out who has something to say."""
    silent = [await connect(narrow) for _ in range(3)]
    assert b" 200 " in await good(narrow)
    assert await ended(silent[0][0])
    assert narrow.server.places.open <= 3
    for _, writer in silent:
        writer.close()
    await until(lambda: narrow.server.places.open == 0, timeout_secs=PATIENCE_SECS)


async def test_who_is_being_answered_does_not_give_way(narrow: Front) -> None:
    """A connection with a request under way keeps its place; the newcomer has none."""
    body = event()
    busy = [await connect(narrow) for _ in range(3)]
    for _, writer in busy:
        writer.write(post(lines(body), body))
    await until(lambda: narrow.ingress.in_flight == 3, timeout_secs=PATIENCE_SECS)
    reader, newcomer = await connect(narrow)
    assert await ended(reader)
    newcomer.close()
    for reader, writer in busy:
        writer.write(body)
        assert b" 200 " in await reader.readline()
        writer.close()


async def test_who_is_told_that_it_is_too_much_gives_way(
    narrow: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a refused body is read for the client's sake; it keeps nobody out."""
    monkeypatch.setattr(body_reading, "DRAIN_SECS_MAX", 10 * PATIENCE_SECS)
    before = counted("hookmill_ingress_requests_total", endpoint="shop", outcome="body_too_large")
    huge = [await connect(narrow) for _ in range(3)]
    for _, writer in huge:
        writer.write(b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
    await until(
        lambda: (
            counted("hookmill_ingress_requests_total", endpoint="shop", outcome="body_too_large")
            == before + 3
        ),
        timeout_secs=PATIENCE_SECS,
    )
    assert b" 200 " in await good(narrow)
    for _, writer in huge:
        writer.close()


async def deaf(front: Front) -> socket.socket:
    """A connection whose client never reads, with as little room for answers as there can be."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", front.port))
    await until(lambda: front.server.places.open == 1, timeout_secs=PATIENCE_SECS)
    return connection


async def test_who_never_reads_the_answers_is_cut_off(narrow: Front) -> None:
    """They would pile up, and the place would be held for ever."""
    before = counted("hookmill_connections_ended_total", reason="unread_answers")
    connection = await deaf(narrow)

    def gone() -> bool:
        try:
            connection.send(NOTHING * 200)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    await until(gone, timeout_secs=4 * PATIENCE_SECS)
    await until(lambda: narrow.server.places.open == 0, timeout_secs=PATIENCE_SECS)
    connection.close()
    assert counted("hookmill_connections_ended_total", reason="unread_answers") == before + 1


async def test_closing_does_not_wait_for_ever_for_who_never_reads(narrow: Front) -> None:
    """Too few answers to be noticed while they are written, and then a request that ends it: what
    is not sent would keep the connection open."""
    before = counted("hookmill_connections_ended_total", reason="unread_answers")
    connection = await deaf(narrow)
    [protocol] = narrow.server.connections
    assert protocol.transport is not None
    protocol.transport.set_write_buffer_limits(high=1 << 30)
    await asyncio.get_running_loop().sock_sendall(connection, NOTHING * 20_000 + b"NO HTTP\r\n\r\n")

    await until(lambda: narrow.server.places.open == 0, timeout_secs=4 * PATIENCE_SECS)
    connection.close()
    assert counted("hookmill_connections_ended_total", reason="unread_answers") == before + 1


async def test_thousands_of_idle_connections_do_not_keep_a_delivery_out(front: Front) -> None:
    """They hold a place each and nothing else; a good delivery is answered among them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * IDLE)), hard))
    idle = [await connect(front) for _ in range(IDLE)]
    await until(lambda: front.server.places.open == IDLE, timeout_secs=PATIENCE_SECS)
    assert b" 200 " in await good(front)
    for _, writer in idle:
        writer.close()
    await until(lambda: front.server.places.open == 0, timeout_secs=PATIENCE_SECS)


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: {size}\r\ncontent-length: 5\r\n",
        "content-length: {size}\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: -1\r\n",
        "content-length: +{size}\r\n",
        "content-length: 0x10\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length: {size}\r\n folded: yes\r\n",
        "content-length : {size}\r\n",
    ],
)
async def test_conflicting_framing_is_refused(front: Front, framing: str) -> None:
    """Where two readers could see two bodies there is no delivery, and the connection ends."""
    body = event()
    head = f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n{lines(body)}{framing}\r\n"
    answer = await raw(front.port, head.format(size=len(body)).encode() + body)

    assert answer.splitlines()[0].split()[1] in (b"400", b"413")
    assert await front.kept() == []


async def test_a_body_shorter_than_it_says_is_not_kept(front: Front) -> None:
    """The client goes away in the middle: nothing happened."""
    body = event()
    _, writer = await connect(front)
    writer.write(post(lines(body), body) + body[:-1])
    await until(lambda: front.ingress.in_flight == 1, timeout_secs=PATIENCE_SECS)
    writer.close()
    await until(lambda: front.ingress.in_flight == 0, timeout_secs=PATIENCE_SECS)
    assert await front.kept() == []
    assert front.ingress.admission.held_bytes == 0


async def test_a_body_longer_than_it_says_does_not_become_a_request(front: Front) -> None:
    """What follows is no request: at most the first is taken, and only if it was answered so."""
    body = event()
    answer = await raw(front.port, post(lines(body), body) + body + b"and more\r\n\r\n")

    assert b" 400 " in answer
    assert len(await front.kept()) == answer.count(b"HTTP/1.1 200 ")


async def test_pipelined_requests_are_answered_in_their_order(front: Front) -> None:
    """One after another, none lost; the last one's `close` ends it."""
    bodies = [event(number) for number in range(20)]
    requests = [
        post(lines(body) + ("connection: close\r\n" if body is bodies[-1] else ""), body) + body
        for body in bodies
    ]
    answer = await raw(front.port, b"".join(requests))

    assert answer.count(b"HTTP/1.1 200 ") == len(bodies)
    kept = {json.loads(record.value)["id"] for record in await front.kept()}
    assert kept == {f"evt_{number}" for number in range(20)}


async def test_a_flood_of_pipelined_requests_holds_no_memory(front: Front) -> None:
    """They wait in the sender's socket, not in ours."""
    reader, writer = await connect(front)
    writer.write(NOTHING * 20_000)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(4 * PATIENCE_SECS):
        answer = await reader.read()
    writer.close()

    assert answer.count(b"HTTP/1.1 404 ") == 20_001


async def test_a_bomb_of_compressed_chunks_is_refused_unread(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """Nobody may make us inflate anything."""
    bomb = gzip.compress(b"x" * 10_000_000)
    for coding in ("gzip", "deflate", "br", "gzip, identity", "GZIP"):
        response = await posted(
            client, front.url + "shop", data=bomb, headers={"content-encoding": coding}
        )
        assert response.status == 415, coding
    assert front.ingress.admission.held_bytes == 0


@pytest.mark.parametrize(
    "path",
    ["//webhooks/shop", "/webhooks/./shop", "/webhooks/../webhooks/shop", "/webhooks//shop",
     "/webhooks/shop%00", "/webhooks/shop/..%2f", "/WEBHOOKS/shop", "*"],
)  # fmt: skip
async def test_tricks_with_the_path_lead_nowhere(front: Front, path: str) -> None:
    """Only the exact path is an endpoint's."""
    body = event()
    request = post(lines(body) + "connection: close\r\n", body).replace(
        b"/webhooks/shop", path.encode()
    )
    answer = await raw(front.port, request + body)

    assert answer.splitlines()[0].split()[1] in (b"404", b"400")
    assert await front.kept() == []


async def test_an_old_delivery_sent_again_is_refused_or_the_same_event(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """Beyond the tolerance it is refused; within it, it is the event it was, for dedup to drop."""
    body = event()
    fresh, old = signed(body), signed(body, at=int(time.time()) - 200)
    for _ in range(3):
        assert (await posted(client, front.url + "shop", data=body, headers=fresh)).status == 200
    assert (await posted(client, front.url + "shop", data=body, headers=old)).status == 401
    static = {"authorization": f"Secret {REHIVE_SECRET}"}
    invoice = b'{"data":{"id":"inv","status":"paid","updated":1}}'
    for _ in range(2):
        await posted(client, front.url + "invoices", data=invoice, headers=static)
    records = await front.kept()

    assert len(records) == 5
    assert len({headers.dedup_key(record) for record in records}) == 2


async def test_knowing_anothers_event_ids_gains_nothing(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """Unproved it leaves no trace; proved at one's own endpoint it is one's own event."""
    body = event(7)
    stranger = signed(body, key=b"x" * 24)
    assert (await posted(client, front.url + "shop", data=body, headers=stranger)).status == 401
    assert await front.kept() == []
    await posted(client, front.url + "shop", data=body, headers=signed(body))
    static = {"authorization": f"Secret {REHIVE_SECRET}"}
    for subject in ("p_7", "shop|p_7", "|evt_7|payment.succeeded"):
        mine = json.dumps({"event": "evt_7", "data": {"id": subject, "status": "paid"}}).encode()
        await posted(client, front.url + "invoices", data=mine, headers=static)
    keys: dict[bytes, Record] = {headers.dedup_key(each): each for each in await front.kept()}

    assert len(keys) == 4
    assert sum(key.startswith(b"shop|") for key in keys) == 1
    assert all(record.key.startswith(key.split(b"|")[0] + b"|") for key, record in keys.items())


@pytest.mark.parametrize(
    ("length", "outcome"),
    [(50_000, "body_incomplete"), (5_000_000, "body_too_large")],
    ids=["taken", "refused"],
)
async def test_bodies_that_break_off_leave_no_garbage(
    front: Front, length: int, outcome: str
) -> None:
    """It would be collected seldom: megabytes for each, until there is no memory."""
    body = event() + b" " * length
    whole = post(lines(body), body) + body[:40_000]
    name, labels = "hookmill_ingress_requests_total", {"endpoint": "shop", "outcome": outcome}
    before = counted(name, **labels)
    with uncollected() as garbage:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(whole)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        await until(lambda: counted(name, **labels) == before + 3, timeout_secs=10)
        await until(lambda: not front.server.connections, timeout_secs=10)

    assert not {*garbage} & {"read_body", "drain", "Delivery"}
