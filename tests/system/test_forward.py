"""Events forwarded by HTTP from outside: two members, a service that fails now and then."""

import base64
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from confluent_kafka import Producer
from standardwebhooks import Webhook

from support.program import PARTITIONS, Program

pytestmark = pytest.mark.broker

SECRET = "whsec_" + base64.b64encode(b"forward" * 5).decode()
SUBJECTS = 20
EVENTS = 200
FAILS_EVERY = 25

HANDLER = """
[handlers.shop]
type = "http"
url = "http://127.0.0.1:{port}/events?shop=za"
allow_plain_http = true
allow_networks = ["127.0.0.1"]
secrets = [{{ env = "T_SHOP" }}]
retry_delays_secs = [1, 2, 4]
"""


class Shop(ThreadingHTTPServer):
    """A service that verifies what it gets, and fails the first attempt at some of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Shop)
        self.turn = threading.Lock()
        self.failed: set[str] = set()
        self.done: dict[str, list[int]] = defaultdict(list)
        self.clients: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status for a request; done events are noted by subject."""
        event = Webhook(SECRET).verify(body, headers)
        assert event["id"] == headers["webhook-id"]
        number = event["metadata"]["number"]
        with self.turn:
            if number % FAILS_EVERY == 0 and event["id"] not in self.failed:
                self.failed.add(event["id"])
                return 500
            self.done[event["subject"]].append(number)
        return 204


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.clients.add(str(self.client_address))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(self.server.take(headers, body))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    """The service, serving."""
    running = Shop()
    yield running
    running.shutdown()
    running.server_close()


def event(number: int) -> bytes:
    """A normalized event, as normalize writes it."""
    return json.dumps(
        {
            "id": f"hm_{number:032x}", "type": "payment.pending", "kind": "payment",
            "status": "pending", "endpoint": "shop", "provider": "yoco", "mode": "live",
            "occurred_at": None, "received_at": "2026-11-23T09:00:00.000000Z",
            "subject": f"p_{number % SUBJECTS}", "resource": None, "amount": None,
            "amount_paid": None, "amount_refunded": None, "discrepancy": None,
            "links": {"payment": None, "checkout": None, "order": None, "refund": None,
                      "subscription": None},
            "failure": None, "metadata": {"number": number},
            "provider_event": {"id": None, "type": None, "status": None, "amount": None},
            "late": False,
            "raw": {"topic": "webhooks-raw", "partition": 0, "offset": number, "sha256": ""},
            "schema_version": 1,
        }, separators=(",", ":"),
    ).encode()  # fmt: skip


def test_two_members_forward_each_event_in_order(program: Program, shop: Shop) -> None:
    """Each event is done once, those of a subject in their order, failures or not."""
    text = program.config.read_text() + HANDLER.format(port=shop.server_port)
    program.config.write_text(text)
    program.environ["T_SHOP"] = SECRET
    program.run("topics", "apply")
    producer = Producer({"bootstrap.servers": ",".join(program.servers)})
    for number in range(EVENTS):
        subject = number % SUBJECTS
        producer.produce(
            f"{program.namespace}-handler-shop",
            event(number),
            f"shop|p_{subject}",
            partition=subject % PARTITIONS,
        )
    producer.flush(30)
    for _ in range(2):
        program.start("handle", "shop")
    program.until(lambda: sum(len({*seen}) for seen in shop.done.values()) >= EVENTS)
    wanted = {f"p_{each}": list(range(each, EVENTS, SUBJECTS)) for each in range(SUBJECTS)}

    assert {subject: list(dict.fromkeys(seen)) for subject, seen in shop.done.items()} == wanted
    assert len(shop.failed) == EVENTS // FAILS_EVERY
    assert len(shop.clients) < EVENTS / 4  # connections are kept
    assert program.read("handler-shop-dlq") == []
