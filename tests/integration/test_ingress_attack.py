"""The front door against whoever knows HTTP well, drips, or never reads what he is told."""

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from hookmill.config import options
from hookmill.core.errors import Reason
from hookmill.ingress import answers
from hookmill.ingress import body as body_reading
from hookmill.ingress.server import HEAD_BYTES_MAX
from hookmill.stages import headers
from hookmill.telemetry import catalog
from support.brokers import BrokerLog, until
from support.front import PARTITIONS, REHIVE_SECRET, TOPICS, Front, event, post, raw, signed

pytestmark = pytest.mark.broker

PATIENCE_SECS = 10.0
HEADERS_SECS = 0.5
BODY_SECS = 0.5
CARD = "4111111111111111"
CLOSE = "connection: close\r\n"


@pytest.fixture
async def hasty(broker_servers: list[str], namespace: str) -> AsyncIterator[Front]:
    """An ingress with little patience for headers, bodies and readers."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    limits = options.Ingress(header_timeout_secs=HEADERS_SECS, body_timeout_secs=BODY_SECS)
    front = Front(log, limits)
    await front.start()
    yield front
    await front.stop()
    await log.stop()


def lines(body: bytes) -> str:
    """The headers of a good delivery, for a request by hand."""
    return "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())


def good(number: int = 1, *, extra: str = "") -> bytes:
    """A whole good delivery; `extra` are more of its header lines."""
    body = event(number)
    return post(lines(body) + extra, body) + body


def chunked(body: bytes, *, coding: str = "chunked", version: str = "1.1") -> bytes:
    """The head of a delivery whose body comes in chunks."""
    head = f"POST /webhooks/shop HTTP/{version}\r\nhost: x\r\n{CLOSE}{lines(body)}"
    return f"{head}transfer-encoding: {coding}\r\n\r\n".encode()


def told(answer: bytes) -> tuple[int, str]:
    """Status and reason of the only answer, which must be one of the documented ones."""
    assert answer.count(b"HTTP/") == 1, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert b"content-type: application/json" in head.lower()
    said = json.loads(body)
    if status == 200:
        assert said.keys() == {"status", "delivery"}
        return status, "accepted"
    assert said.keys() == {"error"}
    assert answers.STATUS[Reason(said["error"])] == status
    assert (b"retry-after: 1" in head.lower()) == (status in (429, 503))
    return status, said["error"]


async def connect(front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has said nothing yet."""
    return await asyncio.open_connection("127.0.0.1", front.port)


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    """One whole answer from a connection that stays."""
    async with asyncio.timeout(PATIENCE_SECS):
        head = await reader.readuntil(b"\r\n\r\n")
        [size] = [line.split()[1] for line in head.lower().split(b"\r\n") if b"-length" in line]
        return head + await reader.readexactly(int(size))


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes it, after an answer or without."""
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            await reader.read()
    except ConnectionError:
        pass
    return True


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes it without another word."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECS) == b""
    except ConnectionError:
        return True


def cut_off(reason: str) -> float:
    """How many connections were cut off for that reason."""
    name = "hookmill_connections_ended_total"
    return catalog.REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0


async def test_a_host_that_cannot_be_decoded_does_not_cost_the_answer(front: Front) -> None:
    """Nobody needs the host of an absolute URI, so nobody stumbles over it."""
    for host in (b"xn--a", b"x%00", b"...", b"u:p@x", b"[::1%25x]"):
        request = good(extra=CLOSE).replace(b"POST /", b"POST http://" + host + b"/", 1)
        assert told(await raw(front.port, request)) == (200, "accepted"), host


@pytest.mark.parametrize("host", [b"x:99999", b"x:abc", b"[::1", b"", b":80", b"\xc3\xa9", b"a b"])
async def test_a_host_that_is_none_is_refused(front: Front, host: bytes) -> None:
    """With our answer, on the spot."""
    request = good(extra=CLOSE).replace(b"POST /", b"POST http://" + host + b"/", 1)

    assert told(await raw(front.port, request)) == (400, "malformed_envelope")


async def test_a_later_request_has_no_more_time_for_its_headers(hasty: Front) -> None:
    """One good request does not buy a place for half of the next; resting is another matter."""
    reader, writer = await connect(hasty)
    writer.write(good(1))
    assert told(await one_answer(reader)) == (200, "accepted")
    with pytest.raises(TimeoutError):  # it rests, and may
        await asyncio.wait_for(reader.read(1), 2 * HEADERS_SECS)
    writer.write(good(2))
    assert told(await one_answer(reader)) == (200, "accepted")
    before = cut_off("slow_headers")
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nhost: ")

    assert await ended(reader)
    assert cut_off("slow_headers") == before + 1
    writer.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "a line at a time"])
async def test_headers_have_a_limit_in_all(front: Front, at_once: bool) -> None:
    """A hundred long ones would weigh a hundred times one: they are refused, complete or not."""
    line = b"x-pad: " + b"y" * 4000 + b"\r\n"
    padding = line * (HEAD_BYTES_MAX // len(line) + 1)
    request = good(extra=CLOSE).replace(b"host: x\r\n", b"host: x\r\n" + padding)
    reader, writer = await connect(front)
    if at_once:
        writer.write(request)
    else:
        writer.write(request.partition(padding)[0] + padding)
    async with asyncio.timeout(PATIENCE_SECS):
        assert told(await reader.read()) == (400, "malformed_envelope")
    writer.close()
    assert await front.kept() == []


async def test_a_body_that_drips_has_no_more_time_than_one_that_stalls(hasty: Front) -> None:
    """Every byte would reset a limit on silence."""
    reader, writer = await connect(hasty)
    writer.write(post(lines(b"x" * 1000), b"x" * 1000))
    answering = asyncio.ensure_future(one_answer(reader))
    async with asyncio.timeout(PATIENCE_SECS):
        while not answering.done():
            writer.write(b"x")
            await asyncio.wait({answering}, timeout=0.05)
    assert told(answering.result()) == (400, "malformed_envelope")
    writer.close()


@pytest.mark.parametrize(
    "extra",
    ["content-encoding: gzip\r\n", "content-encoding: identity\r\ncontent-encoding: gzip\r\n"],
)
async def test_every_content_encoding_counts(front: Front, extra: str) -> None:
    """A harmless one before it does not hide a compression."""
    answer = await raw(front.port, good(extra=extra + CLOSE))

    assert told(answer) == (415, "unsupported_media_type")
    assert await front.kept() == []


async def test_a_compressed_transfer_is_refused(front: Front) -> None:
    """`gzip, chunked` is a compressed body too, and HTTP/1.0 has no chunks at all."""
    body = event()
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    compressed = await raw(front.port, chunked(body, coding="gzip, chunked") + framed)
    old = await raw(front.port, chunked(body, version="1.0") + framed)

    assert told(compressed) == (415, "unsupported_media_type")
    assert told(old) == (400, "malformed_envelope")
    assert await front.kept() == []


@pytest.mark.parametrize(
    ("framed", "status"),
    [
        (b"%x;a=b\r\n%s\r\n0\r\n\r\n", 200),
        (b'%x;a="b;c"\r\n%s\r\n0;x\r\n\r\n', 200),
        (b"%x\r\n%s\r\n0\r\nwebhook-id: other\r\n\r\n", 200),
        (b"%x;a\n%s\r\n0\r\n\r\n", 400),
        (b"%x\n%s\n0\n\n", 400),
        (b"-%x\r\n%s\r\n0\r\n\r\n", 400),
        (b"0x%x\r\n%s\r\n0\r\n\r\n", 400),
        (b"%x \r\n%s\r\n0\r\n\r\n", 400),
        (b"ffffffffffffffff%x\r\n%s\r\n0\r\n\r\n", 400),
        (b"%x\r\n%sand more\r\n0\r\n\r\n", 400),
    ],
)
async def test_chunks_are_read_strictly(front: Front, framed: bytes, status: int) -> None:
    """Extensions and trailers change nothing; odd sizes and bare newlines end it."""
    body = event()
    answer = await raw(front.port, chunked(body) + framed % (len(body), body))

    assert told(answer)[0] == status
    assert [record.value for record in await front.kept()] == [body] * (status == 200)


async def test_a_signature_in_a_trailer_is_none(front: Front) -> None:
    """What comes after the body is not a header."""
    body = event()
    head = f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n{CLOSE}transfer-encoding: chunked\r\n\r\n"
    framed = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, lines(body).encode())

    assert told(await raw(front.port, head.encode() + framed)) == (401, "signature_missing")


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b"\r\n", b"\n"),
        (b"host: x\r\n", b""),
        (b"host: x\r\n", b"host: x\r\nhost: y\r\n"),
        (b"host: x\r\n", b"host: x\r\nx: a\rb\r\n"),
        (b"host: x\r\n", b"host: x\r\nx: a\0b\r\n"),
        (b"host: x\r\n", b"host: x\r\n: a\r\n"),
        (b"host: x\r\n", b"host: x\r\nx\xff: a\r\n"),
        (b"host: x\r\n", b"host: x\r\ncontent-type: text/html\r\n"),
        (b"host: x\r\n", b"host: x\r\n" + b"x: y\r\n" * 129),
        (b"/shop", b"/shop?" + b"a" * 9000),
        (b"/shop", b"/shop\0"),
        (b"/shop", b"/\xc3\xa9"),
        (b"HTTP/1.1", b"HTTP/1.2"),
        (b"HTTP/1.1", b"HTTP/2.0"),
        (b"HTTP/1.1", b"HTTP/0.9"),
        (b"POST", b"post"),
        (b"content-length: ", b"content-length: 1, "),
        (b"content-length: ", b"content-length: 1_"),
        (b"content-length: ", b"content-length: \xd9\xa1"),
    ],
)
async def test_odd_requests_are_refused_with_our_answer(
    front: Front, found: bytes, put: bytes
) -> None:
    """Two readers that disagree about a request are how one is smuggled past the other."""
    answer = await raw(front.port, good(extra=CLOSE).replace(found, put))

    assert told(answer) == (400, "malformed_envelope")
    assert await front.kept() == []


async def test_http_1_0_is_served_and_never_told_to_continue(front: Front) -> None:
    """It knows no 100, so a 100 would be taken for the answer."""
    request = good(extra="expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")

    assert told(await raw(front.port, request)) == (200, "accepted")


async def test_who_waits_for_100_hears_at_once_that_it_is_too_much(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is not asked for, so nothing is left to be read before the answer."""
    monkeypatch.setattr(body_reading, "DRAIN_SECS_MAX", 10 * PATIENCE_SECS)
    request = post(lines(b"") + "expect: 100-continue\r\n", b"").replace(
        b"content-length: 0", b"content-length: 99999999"
    )
    reader, writer = await connect(front)
    writer.write(request)
    assert told(await one_answer(reader)) == (413, "body_too_large")
    writer.close()


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "tcp"])
async def test_an_upgrade_is_passed_over(front: Front, protocol: str) -> None:
    """The delivery is answered as it came, and so is the next on the same connection."""
    reader, writer = await connect(front)
    for extra in (f"connection: upgrade\r\nupgrade: {protocol}\r\n", ""):
        writer.write(good(extra=extra))
        assert told(await one_answer(reader)) == (200, "accepted")
    writer.close()


async def test_a_delivery_pipelined_behind_a_refused_one_is_not_lost(front: Front) -> None:
    """Refusing needs no new connection, and what follows is read from where it begins."""
    refused = post("", b"forged") + b"forged"
    answer = await raw(front.port, refused + good(1) + refused + good(2, extra=CLOSE))
    statuses = [part.split()[1] for part in answer.split(b"HTTP/")[1:]]

    assert statuses == [b"401", b"200", b"401", b"200"]
    assert len(await front.kept()) == 2


async def test_event_ids_cannot_be_made_to_meet(front: Front) -> None:
    """Whatever an endpoint's owner puts into an id, the key begins with his endpoint and no two
    ids make one key: `|` and `%` are escaped before the parts are joined."""
    assert told(await raw(front.port, good(7, extra=CLOSE))) == (200, "accepted")
    ids = ("evt_7", "evt_7|payment.succeeded", "shop|evt_7|payment.succeeded", "|", "%7C", "%",
           "%25", "evt_7%7Cpayment.succeeded", "evt_7\x00", "x" * 300, "../shop")  # fmt: skip
    head = f"host: x\r\n{CLOSE}authorization: Secret {REHIVE_SECRET}\r\n"
    for each in ids:
        invoice = {"id": each, "event": "payment.succeeded", "data": {"id": "p_7"}}
        body = json.dumps(invoice).encode()
        request = f"POST /webhooks/invoices HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n"
        assert told(await raw(front.port, request.encode() + body))[0] == 200
    keys = {headers.dedup_key(record) for record in await front.kept()}

    assert len(keys) == 1 + len(ids)
    assert sum(key.startswith(b"invoices|") for key in keys) == len(ids)
    assert all(key.count(b"|") == 2 for key in keys)


async def test_a_defect_is_told_without_what_it_was_about(front: Front) -> None:
    """An exception's text may quote a body: the log has its kind and its place."""

    def fail() -> bool:
        raise ValueError(f"invalid literal: '{CARD}'")

    front.ingress.keeper.admits = fail  # type: ignore[method-assign]
    with capture_logs() as said:
        answer = await raw(front.port, good(extra=CLOSE))
    [line] = [each for each in said if each["event"] == "request_failed"]

    assert told(answer) == (503, "broker_unavailable")
    assert line["error"].startswith("ValueError at test_ingress_attack.py:")
    assert uuid.UUID(line["delivery"]).version == 7
    assert CARD not in str(said)


async def test_a_request_that_cannot_be_made_ends_the_connection(front: Front) -> None:
    """A defect below the answers: no answer is possible, but nobody waits and nothing is quoted."""

    def fail(*_: object) -> None:
        raise ValueError(f"cannot parse '{CARD}'")

    front.server.request_factory = fail  # type: ignore[assignment]
    front.server._short.take = fail  # type: ignore[method-assign]
    for way, extra in {
        "long": "x-forwarded-for: x\r\ncontent-encoding: identity\r\n",
        "short": "",
    }.items():
        reader, writer = await connect(front)
        with capture_logs() as said:
            writer.write(good(extra=extra))
            assert await ended(reader), way
        writer.close()

        assert [each["error"] for each in said] == ["ValueError"], way


async def test_nothing_is_left_of_an_attack(hasty: Front, caplog: pytest.LogCaptureFixture) -> None:
    """Tasks, descriptors, places and bytes come back to what they were, and no error is logged:
    an attacker is no defect."""
    hostile = [
        b"",
        b"\r\n" * 100,
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n",
        post("", b"x" * 1000) + b"x",
        good()[:-1],
        post("", b"").replace(b"length: 0", b"length: 99999999") + b"x" * 100_000,
        chunked(event()) + b"5;" + b"x" * 100_000,
        chunked(event()) + b"2\r\nxx\r\n" * 1000,
        good(extra=CLOSE).replace(b"POST /", b"POST http://xn--a/", 1),
        good(extra="connection: upgrade\r\nupgrade: websocket\r\n") + b"\x81\x05hello",
    ]
    await raw(hasty.port, good(extra=CLOSE))
    tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))
    with capture_logs() as said:
        connections = [await connect(hasty) for _ in range(5) for _ in hostile]
        for number, (_, writer) in enumerate(connections):
            writer.write(hostile[number % len(hostile)])
        for _, writer in connections[::2]:  # every other one leaves
            writer.close()
        assert all(await asyncio.gather(*(closed(reader) for reader, _ in connections[1::2])))
        for _, writer in connections[1::2]:
            writer.close()
        await until(lambda: hasty.server.places.open == 0, timeout_secs=PATIENCE_SECS)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, timeout_secs=PATIENCE_SECS)
        await until(lambda: len(os.listdir("/dev/fd")) <= descriptors, timeout_secs=PATIENCE_SECS)

    assert hasty.ingress.in_flight == 0
    assert hasty.ingress.admission.held_bytes == 0
    assert [each for each in said if each["log_level"] == "error"] == []
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
