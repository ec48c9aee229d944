"""The front door on a real socket and a real broker: every answer of its table."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from hookmill import pipeline
from hookmill.config import options
from hookmill.core.ids import uuid7_epoch_ms
from hookmill.kafka.client import Connection
from hookmill.kafka.partitioner import partition_of
from hookmill.stages import headers
from support.brokers import BrokerLog, until
from support.front import PARTITIONS, REHIVE_SECRET, Front, event, post, posted, raw, signed
from support.ports import free_port

pytestmark = pytest.mark.broker


async def answer(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    """Status and JSON body."""
    assert response.headers["content-type"] == "application/json"
    return response.status, json.loads(await response.read())


async def test_an_accepted_delivery_is_kept_byte_for_byte(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """200 with its id, the exact body, the key of its subject, headers without any secret."""
    body = event(1)
    response = await posted(client, front.url + "shop", data=body, headers=signed(body))
    status, said = await answer(response)

    assert status == 200
    assert said["status"] == "accepted"
    assert response.headers["x-hookmill-delivery"] == said["delivery"]
    assert abs((uuid7_epoch_ms(said["delivery"]) or 0) - time.time() * 1000) < 60_000
    [record] = await front.kept()
    assert record.value == body
    assert record.key == b"shop|p_1"
    assert record.partition == partition_of(b"shop|p_1", PARTITIONS)
    found = {name: value.decode() for name, value in record.headers}
    assert found[headers.DELIVERY] == said["delivery"]
    assert found[headers.ITEM] == "1/1"
    assert found[headers.ENDPOINT] == "shop"
    assert found[headers.PROVIDER] == "yoco"
    assert found[headers.EVENT_ID] == "evt_1"
    assert found[headers.SECRET] == "main"
    assert set(json.loads(found[headers.SIGNED])) == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }


async def test_a_static_secret_is_never_kept(front: Front, client: aiohttp.ClientSession) -> None:
    """Of a bearer credential only the secret's name is evidence."""
    body = b'{"data":{"id":"inv","status":"paid","updated":1}}'
    response = await posted(
        client,
        front.url + "invoices",
        data=body,
        headers={"authorization": f"Secret {REHIVE_SECRET}"},
    )
    assert response.status == 200
    await posted(
        client,
        front.url + "invoices",
        data=b'{"leak":"' + REHIVE_SECRET.encode() + b'"}',
        headers={"authorization": "Secret wrong"},
    )

    await until(lambda: _one(front, pipeline.REJECTED), timeout_secs=5)
    for topic in (pipeline.RAW, pipeline.REJECTED):
        for record in await front.kept(topic):
            whole = record.key + record.value + b"".join(value for _, value in record.headers)
            assert REHIVE_SECRET.encode() not in whole


async def _one(front: Front, topic: str) -> bool:
    return len(await front.kept(topic)) == 1


async def test_a_forgery_is_refused_and_noted(front: Front, client: aiohttp.ClientSession) -> None:
    """401 with its reason; the refused delivery lies in webhooks-rejected."""
    body = event()
    response = await posted(
        client, front.url + "shop", data=body, headers=signed(body, key=b"x" * 24)
    )

    assert await answer(response) == (401, {"error": "signature_invalid"})
    await until(lambda: _one(front, pipeline.REJECTED), timeout_secs=5)
    [record] = await front.kept(pipeline.REJECTED)
    assert (record.header(headers.REASON), record.key) == ("signature_invalid", b"shop")
    assert await front.kept() == []


async def test_a_stale_timestamp_is_refused(front: Front, client: aiohttp.ClientSession) -> None:
    """A good signature of four minutes ago is no good."""
    body = event()
    old = signed(body, at=int(time.time()) - 240)

    response = await posted(client, front.url + "shop", data=body, headers=old)
    assert await answer(response) == (401, {"error": "timestamp_out_of_tolerance"})


@pytest.mark.parametrize("path", ["nobody", "shop/", "SHOP", "shop%2F", ""])
async def test_an_unknown_path_is_404(
    front: Front, client: aiohttp.ClientSession, path: str
) -> None:
    """Only the exact endpoint is served."""
    response = await posted(client, front.url + path, data=b"{}")

    assert await answer(response) == (404, {"error": "unknown_endpoint"})


async def test_an_absolute_uri_is_the_same_path(front: Front) -> None:
    """A server must take it (RFC 9112, section 3.2.2)."""
    body = event()
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    request = post(head + "connection: close\r\n", body).replace(b"POST /", b"POST http://x/")

    assert b" 200 " in (await raw(front.port, request + body)).splitlines()[0]


async def test_only_post_is_allowed(front: Front, client: aiohttp.ClientSession) -> None:
    """405 names the method that is."""
    response = await client.get(front.url + "shop")

    assert await answer(response) == (405, {"error": "method_not_allowed"})
    assert response.headers["allow"] == "POST"


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b"x" * 65_536


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(
    front: Front, client: aiohttp.ClientSession, chunked: bool
) -> None:
    """Counted while it streams; the answer arrives although the client is still sending."""
    size = 3 * 1024 * 1024
    data: Any = _chunks(size) if chunked else io.BytesIO(b"x" * size)
    response = await posted(client, front.url + "shop", data=data)

    assert await answer(response) == (413, {"error": "body_too_large"})


async def test_a_body_at_the_limit_is_kept(front: Front, client: aiohttp.ClientSession) -> None:
    """The largest body that is allowed fits through Kafka too."""
    body = event()[:-1] + b', "pad": "' + b"x" * 1_048_576
    body = body[: 1_048_576 - 2] + b'"}'
    response = await posted(client, front.url + "shop", data=io.BytesIO(body), headers=signed(body))

    assert response.status == 200
    [record] = await front.kept()
    assert record.value == body


async def test_a_compressed_body_is_415(front: Front, client: aiohttp.ClientSession) -> None:
    """The signature covers bytes, and nobody may make us inflate them."""
    response = await posted(
        client, front.url + "shop", data=b"\x1f\x8b", headers={"content-encoding": "gzip"}
    )

    assert await answer(response) == (415, {"error": "unsupported_media_type"})


async def test_no_content_type_is_fine(front: Front) -> None:
    """Some providers send none."""
    body = event()
    lines = signed(body)
    del lines["content-type"]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    assert b" 200 " in await raw(front.port, post(head + "connection: close\r\n", body) + body)


async def test_a_client_that_waits_for_100_continue_gets_it(front: Front) -> None:
    """curl sends `Expect` with larger bodies and would wait a second otherwise."""
    body = event()
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(
        f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{head}"
        f"content-length: {len(body)}\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(body)
        await reader.readline()
        assert b" 200 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_without_internals(front: Front, request_bytes: bytes) -> None:
    """No stack trace, no 500, no word of the parser."""
    said = await raw(front.port, request_bytes)

    assert b" 400 " in said.splitlines()[0]
    assert said.endswith(b'{"error":"malformed_envelope"}')


async def test_a_client_that_stalls_does_not_hold_a_place(front: Front) -> None:
    """A body that never ends is given up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
    async with asyncio.timeout(10):
        assert b" 400 " in await reader.readline()
    writer.close()

    assert front.ingress.in_flight == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"id": NaN}',
        b"[" * 5_000,
        b'{"a":' * 5_000,
        b'"just text"',
        b'{"id":"\\ud800"}',
        b'{"id":' + b"9" * 5_000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"id":"x","id":"y"}',
        b'{"id":{"deep":[]},"type":[],"payload":"no"}',
    ],
)
async def test_a_verified_body_of_any_kind_is_kept(
    front: Front, client: aiohttp.ClientSession, body: bytes
) -> None:
    """Past verification nothing is refused for what it says."""
    response = await posted(client, front.url + "shop", data=body, headers=signed(body))

    assert response.status == 200
    [record] = await front.kept()
    assert record.value == body


async def test_repeated_headers_are_refused_not_guessed(front: Front) -> None:
    """Two timestamps cannot both be the signed one."""
    body = event()
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    head += "webhook-timestamp: 1\r\nconnection: close\r\n"

    assert b" 401 " in (await raw(front.port, post(head, body) + body)).splitlines()[0]


async def test_too_many_at_once_are_429(front: Front, client: aiohttp.ClientSession) -> None:
    """Who finds no place in time is told when to come again."""
    front.ingress.patience_secs = 0.1
    front.ingress.admission._limits = msgspec.structs.replace(
        front.limits, endpoint_requests_in_flight_max=1
    )
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
    await until(lambda: front.ingress.in_flight == 1, timeout_secs=5)
    response = await posted(client, front.url + "shop", data=b"{}")

    assert await answer(response) == (429, {"error": "too_many_requests"})
    assert response.headers["retry-after"] == "1"
    writer.close()


async def test_draining_answers_503_and_finishes_what_is_in_flight(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """Nothing in flight is cut off, nothing new begins."""
    body = event()
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    writer.write(post(head, body))
    await until(lambda: front.ingress.in_flight == 1, timeout_secs=5)
    finishing = asyncio.ensure_future(front.ingress.finish())
    await asyncio.sleep(0)
    response = await posted(client, front.url + "shop", data=body, headers=signed(body))
    refused = await answer(response)
    writer.write(body)
    async with asyncio.timeout(5):
        assert b" 200 " in await reader.readline()
        await finishing
    writer.close()

    assert refused == (503, {"error": "draining"})
    assert len(await front.kept()) == 1


async def test_many_deliveries_of_one_subject_keep_their_order(
    front: Front, client: aiohttp.ClientSession
) -> None:
    """Sent one after another, they lie one after another, whatever runs beside them."""

    async def story(subject: int) -> None:
        for number in range(20):
            body = event(subject)[:-1] + b',"n":%d}' % number
            response = await posted(client, front.url + "shop", data=body, headers=signed(body))
            assert response.status == 200

    await asyncio.gather(*(story(subject) for subject in range(8)))
    records = await front.kept()

    for subject in range(8):
        mine = [
            json.loads(each.value)["n"] for each in records if each.key == b"shop|p_%d" % subject
        ]
        assert mine == list(range(20))


async def test_while_kafka_is_out_it_is_said_at_once(
    broker_servers: list[str], namespace: str, client: aiohttp.ClientSession
) -> None:
    """No broker: 503 with Retry-After without waiting for any deadline."""
    log = BrokerLog(broker_servers, namespace)
    log.connection = Connection((f"127.0.0.1:{free_port()}",), {"security_protocol": "PLAINTEXT"})
    front = Front(log, options.Ingress())
    await front.runner.setup()
    await web.TCPSite(front.runner, "127.0.0.1", 0).start()
    front.url = f"http://127.0.0.1:{front.runner.addresses[0][1]}/webhooks/"
    body = event()
    response = await posted(client, front.url + "shop", data=body, headers=signed(body))

    assert await answer(response) == (503, {"error": "broker_unavailable"})
    assert response.headers["retry-after"] == "1"
    await front.stop()


def test_the_partitioner_is_kafkas_own() -> None:
    """murmur2, masked to be positive: values of Kafka's Java client."""
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000
    assert partition_of(b"foobar", 1000) == (-790332482 & 0x7FFFFFFF) % 1000
