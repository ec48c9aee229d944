"""The plain program that the ingress is held against: what one would write in an afternoon.

An aiohttp application with one route, an HMAC by the Standard Webhooks rules, one awaited `send()`
of an aiokafka producer, `web.Response`. No limits, no deadline, no metrics, no log, nothing read of
the body: it is a floor, no example. Run as `python -m hookmill.bench.floor_ingress SERVERS TOPIC
PARTITIONS PORT` with the secret's key, base64, in FLOOR_KEY. It talks to Kafka by itself, as only
`kafka/` may otherwise: a floor that went through our own code would measure that code.
"""

import asyncio
import base64
import hmac
import json
import os
import sys
import time
import uuid

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

TOLERANCE_SECS = 180
BATCH_BYTES_MAX = 256 * 1024
LINGER_MS = 3


class Floor:
    """The handler of the one route."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, key: bytes) -> None:
        self._producer = producer
        self._topic = topic
        self._key = key

    async def handle(self, request: web.Request) -> web.Response:
        """Verify, send, answer."""
        body = await request.read()
        endpoint = request.match_info["endpoint"]
        message_id = request.headers.get("webhook-id", "")
        timestamp = request.headers.get("webhook-timestamp", "")
        now = time.time()
        if not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE_SECS:
            return web.Response(status=401)
        mac = hmac.digest(self._key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
        expected = "v1," + base64.b64encode(mac).decode()
        offered = request.headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(expected, each) for each in offered):
            return web.Response(status=401)
        delivery = str(uuid.uuid4())
        sent = await self._producer.send(
            self._topic,
            body,
            key=f"{endpoint}|{message_id}".encode(),
            headers=[
                ("hm-delivery", delivery.encode()),
                ("hm-item", b"1/1"),
                ("hm-endpoint", endpoint.encode()),
                ("hm-provider", b"yoco"),
                ("hm-event-id", message_id.encode()),
                ("hm-received-at", str(int(now * 1_000_000)).encode()),
            ],
        )
        await sent
        answer = f'{{"status":"accepted","delivery":"{delivery}"}}'
        return web.Response(text=answer, content_type="application/json")


async def serve(servers: str, topic: str, partitions: int, port: int, key: bytes) -> None:
    """Make the topic, serve until the process is ended."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=False,
        max_batch_size=BATCH_BYTES_MAX,
        linger_ms=LINGER_MS,
    )
    await producer.start()
    app = web.Application()
    app.router.add_post("/webhooks/{endpoint}", Floor(producer, topic, key).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    said = {"event": "process_started", "address": f"http://127.0.0.1:{port}"}
    print(json.dumps(said), file=sys.stderr, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve with what the command line says."""
    servers, topic, partitions, port = sys.argv[1:5]
    key = base64.b64decode(os.environ["FLOOR_KEY"])
    uvloop.run(serve(servers, topic, int(partitions), int(port), key))


if __name__ == "__main__":
    main()
