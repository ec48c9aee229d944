"""A running ingress on a real socket and a real broker, for the tests of the front door."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp import web

from hookmill import pipeline
from hookmill.config import options
from hookmill.core.delivery import Secret
from hookmill.ingress.door import Door
from hookmill.ingress.protocol import Server
from hookmill.ingress.server import Ingress
from hookmill.kafka.appender import Appender
from hookmill.providers.endpoint import build
from hookmill.providers.pack import Pack
from support.brokers import BrokerLog

PARTITIONS = 3
KEY = b"k" * 24
YOCO_SECRET = "whsec_" + base64.b64encode(KEY).decode()
REHIVE_SECRET = "a-static-secret-of-thirty-two-chars"
TOPICS = [
    pipeline.Topic(name, "ingress", pipeline.KEEP_MS, 1_048_576 + pipeline.HEADROOM_BYTES)
    for name in (pipeline.RAW, pipeline.DELIVERIES, pipeline.REJECTED)
]


def now_us() -> int:
    return time.time_ns() // 1000


class Front:
    """A running ingress, and the means to look behind it."""

    def __init__(self, log: BrokerLog, limits: options.Ingress, packs: Sequence[Pack] = ()) -> None:
        self.log = log
        self.limits = limits
        self.appender = Appender(
            log.connection,
            topics=[log.names.topic(each.name) for each in TOPICS],
            partitions=PARTITIONS,
        )
        doors = {
            "shop": self._door("shop", "yoco", YOCO_SECRET),
            "invoices": self._door("invoices", "rehive", REHIVE_SECRET),
            **{pack.name: self._own_door(pack) for pack in packs},
        }
        self.ingress = Ingress(limits, doors, self.appender, names=log.names, now_us=now_us)
        self.server = Server(self.ingress, limits)
        self.runner = web.ServerRunner(self.server)
        self.url = ""

    def _door(self, name: str, provider: str, text: str) -> Door:
        endpoint = build(name, options.Endpoint(provider=provider))
        secret = Secret("main", endpoint.pack.key(text))
        return Door(endpoint, lambda: [secret], self.limits)

    def _own_door(self, pack: Pack) -> Door:
        chosen = options.Endpoint(provider=pack.name, options=dict(pack.example_options))
        endpoint = build(pack.name, chosen, {pack.name: pack})
        secret = Secret("main", endpoint.pack.key(pack.example_secret("main")))
        return Door(endpoint, lambda: [secret], self.limits)

    async def start(self) -> None:
        await self.appender.connect()
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/webhooks/"

    async def stop(self) -> None:
        await self.runner.cleanup()
        await self.appender.close(timeout_secs=5)

    async def kept(self, topic: str = pipeline.RAW) -> list[Any]:
        found = []
        for partition in range(PARTITIONS):
            found += await self.log.read(topic, partition)
        return found


def signed(
    body: bytes, *, at: int | None = None, key: bytes = KEY, id: str = "msg_1"
) -> dict[str, str]:
    """Standard Webhooks headers, made here and not by hookmill."""
    stamp = str(int(time.time()) if at is None else at)
    mac = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        "content-type": "application/json",
    }


def event(number: int = 1) -> bytes:
    """A Yoco payment."""
    return json.dumps(
        {
            "id": f"evt_{number}",
            "type": "payment.succeeded",
            "createdDate": "2024-06-15T15:51:55.260284Z",
            "payload": {"id": f"p_{number}", "amount": 900, "currency": "ZAR", "mode": "live",
                        "status": "succeeded", "metadata": {}},
        }
    ).encode()  # fmt: skip


async def posted(client: aiohttp.ClientSession, url: str, **options: Any) -> aiohttp.ClientResponse:
    """Post and read the whole answer: one left unread warns when it is collected, in any test."""
    response = await client.post(url, **options)
    await response.read()
    return response


def post(head: str, body: bytes) -> bytes:
    """The head of a request by hand, for what no client would send."""
    length = f"content-length: {len(body)}\r\n"
    return f"POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n{head}{length}\r\n".encode()


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said
