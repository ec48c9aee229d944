"""The whole program from outside: HTTP in, Kafka out. Nothing of the package is imported."""

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

pytestmark = pytest.mark.broker

PARTITIONS = 4
YOCO_KEY = hashlib.sha256(b"yoco").digest()
PAY3_SECRET = "pay3-secret-that-is-long-enough-for-a-384-bit-mac-....."
REHIVE_SECRET = "rehive-secret-of-more-than-thirty-two-chars"
ECHEZONA_SECRET = "echezona-secret"

CONFIGURATION = """
[kafka]
bootstrap_servers = [{servers}]
partitions = {partitions}
namespace = "{namespace}"

[local]
dir = "{folder}/state"

[ingress]
port = {port}
admin_port = {admin_port}

[endpoints.shop]
provider = "yoco"
secrets = [{{ name = "now", env = "T_YOCO" }}]

[endpoints.invoices]
provider = "rehive"
secrets = [{{ file = "{folder}/rehive.secret" }}]

[endpoints.crypto]
provider = "pay3"
secrets = [{{ env = "T_PAY3" }}]

[endpoints.naira]
provider = "echezona"
secrets = [{{ env = "T_ECHEZONA" }}]
options = {{ header = "x-sig", algorithm = "hmac-sha256", encoding = "base64", prefix = "v1=" }}

[handlers.ledger]
type = "ledger"

[[routes]]
name = "money"
match = {{ type = ["payment.*", "refund.*"] }}
handlers = ["ledger"]
"""


class Program:
    """`hookmill up` or its parts, in a folder of its own, on the shared broker."""

    def __init__(self, folder: Path, servers: list[str], namespace: str) -> None:
        self.folder = folder
        self.servers = servers
        self.namespace = namespace
        self.port, self.admin_port = free_port(), free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "rehive.secret").write_text(REHIVE_SECRET + "\n")
        self.config = folder / "hookmill.toml"
        self.config.write_text(
            CONFIGURATION.format(
                servers=", ".join(f'"{each}"' for each in servers),
                partitions=PARTITIONS,
                namespace=namespace,
                folder=folder,
                port=self.port,
                admin_port=self.admin_port,
            )
        )
        self.environ = {
            **os.environ,
            "T_YOCO": "whsec_" + base64.b64encode(YOCO_KEY).decode(),
            "T_PAY3": PAY3_SECRET,
            "T_ECHEZONA": ECHEZONA_SECRET,
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one process of the program; its log is kept."""
        name = f"{'-'.join(arguments)}-{len(self.processes)}.log"
        with (self.folder / name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hookmill", *arguments, "--config", str(self.config)],
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command to its end; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "hookmill", *arguments, "--config", str(self.config)],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout

    def stop(self) -> None:
        """Ask every process to end; kill what does not."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def post(
        self, endpoint: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Post a delivery; returns status and answer."""
        url = f"http://127.0.0.1:{self.port}/webhooks/{endpoint}"
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic, by another library, read_committed."""
        consumer = Consumer(
            {
                "bootstrap.servers": ",".join(self.servers),
                "group.id": "outside",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        name = f"{self.namespace}-{topic}"
        consumer.assign([TopicPartition(name, each, 0) for each in range(PARTITIONS)])
        found: list[Any] = []
        left = set(range(PARTITIONS))
        deadline = time.monotonic() + 20
        while left:
            assert time.monotonic() < deadline, f"{name} cannot be read to its end"
            message = consumer.poll(0.1)
            if message is None:
                continue
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
        consumer.close()
        return found

    def until(self, condition: Callable[[], bool], *, timeout_secs: float = 60.0) -> None:
        """Wait for a condition with a limit."""
        deadline = time.monotonic() + timeout_secs
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            dead = [each.args for each in self.processes if each.poll() not in (None, 0, -9)]
            assert not dead, f"died: {dead}"
            time.sleep(0.1)

    def ready(self) -> bool:
        """Whether the ingress takes deliveries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=5):
                return True
        except OSError:
            return False


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def program(tmp_path: Path, broker_servers: list[str], namespace: str) -> Iterator[Program]:
    """The program, not started yet."""
    program = Program(tmp_path, broker_servers, namespace)
    yield program
    program.stop()


def yoco(number: int, *, kind: str = "payment.succeeded") -> tuple[str, bytes, dict[str, str]]:
    """A Yoco delivery, signed here by the Standard Webhooks rules."""
    payload = {"id": f"p_{number}", "type": "payment", "amount": 900 + number, "currency": "ZAR",
               "status": "succeeded", "mode": "live",
               "metadata": {"checkoutId": f"ch_{number}"}}  # fmt: skip
    if kind.startswith("refund"):
        payload |= {"id": f"rfd_{number}", "type": "refund", "paymentId": f"p_{number}"}
    body = json.dumps(
        {"id": f"evt_{kind}_{number}", "type": kind, "createdDate": "2026-11-23T09:00:00.123456Z",
         "payload": payload}
    ).encode()  # fmt: skip
    stamp = str(int(time.time()))
    mac = hmac.new(YOCO_KEY, f"msg_{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return (
        "shop",
        body,
        {
            "webhook-id": f"msg_{number}",
            "webhook-timestamp": stamp,
            "webhook-signature": "v1,bm90aGluZw== v1," + base64.b64encode(mac).decode(),
            "content-type": "application/json",
        },
    )


def rehive(number: int) -> tuple[str, bytes, dict[str, str]]:
    """A Rehive invoice that was overpaid."""
    quote = {"payment_processor": {"unique_string_name": "native"}, "amount": 200,
             "total_paid": 250, "currency": {"code": "USD", "divisibility": 2}}  # fmt: skip
    body = json.dumps(
        {"id": f"req_{number}", "event": "service_payment_requests.request.update", "company": "c",
         "data": {"id": f"inv_{number}", "status": "overpaid", "request_amount": 10000,
                  "request_currency": {"code": "USD", "divisibility": 2},
                  "request_reference": "R1", "primary_payment_processor":
                      {"unique_string_name": "native"},
                  "payment_processor_quotes": [quote], "updated": 1596795408826}}
    ).encode()  # fmt: skip
    return "invoices", body, {"authorization": f"Secret {REHIVE_SECRET}"}


def pay3(number: int) -> tuple[str, bytes, dict[str, str]]:
    """A Pay3 order, its JWT made here."""

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    claims = {"requestId": "r", "type": "pay3-sdk-transaction-status", "data": {
        "orderType": "CHECKOUT", "orderId": f"o_{number}", "orderStatus": "COMPLETED"}}  # fmt: skip
    head = part({"alg": "HS384"}) + b"." + part(claims)
    mac = hmac.new(PAY3_SECRET.encode(), head, hashlib.sha384).digest()
    token = head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")
    body = b'{"payload": "' + token + b'"}'
    return "crypto", body, {"content-type": "application/json"}


def echezona(number: int) -> tuple[str, bytes, dict[str, str]]:
    """An Echezona transfer, signed as the endpoint's options say."""
    body = json.dumps(
        {"event": "transfer.success", "data": {"transaction_id": f"t_{number}", "amount": 5000,
                                               "currency": "NGN", "status": "success"}}
    ).encode()  # fmt: skip
    mac = hmac.new(ECHEZONA_SECRET.encode(), body, hashlib.sha256).digest()
    return "naira", body, {"x-sig": "v1=" + base64.b64encode(mac).decode()}


def headers_of(message: Any) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in message.headers() or ()}


def test_every_accepted_delivery_is_there_once(program: Program) -> None:
    """`hookmill up`: four providers in, redelivered and forged, each event once downstream."""
    program.start("up")
    program.until(program.ready)
    deliveries = [make(number) for number in range(5) for make in (yoco, rehive, pay3, echezona)]
    deliveries += [yoco(number, kind="refund.succeeded") for number in range(5)]
    for endpoint, body, headers in deliveries * 2:
        status, said = program.post(endpoint, body, headers)
        assert (status, said["status"]) == (200, "accepted")
    endpoint, body, headers = yoco(99)
    status, said = program.post(endpoint, body + b" ", headers)
    assert (status, said) == (401, {"error": "signature_invalid"})
    program.until(lambda: len(program.read("events-normalized")) >= 25)
    program.until(lambda: len(program.read("handler-ledger")) >= 20)

    raw = program.read("webhooks-raw")
    assert len(raw) == 50
    events = [json.loads(each.value()) for each in program.read("events-normalized")]
    assert len({each["id"] for each in events}) == len(events) == 25
    by_type = {kind: sorted(e["subject"] for e in events if e["type"] == kind)
               for kind in {e["type"] for e in events}}  # fmt: skip
    assert by_type == {
        "payment.succeeded": sorted([f"p_{n}" for n in range(5)] + [f"o_{n}" for n in range(5)]),
        "payment.overpaid": [f"inv_{n}" for n in range(5)],
        "transfer.succeeded": [f"t_{n}" for n in range(5)],
        "refund.succeeded": [f"p_{n}" for n in range(5)],
    }
    for kind, count in {"payment": 15, "refund": 5, "transfer": 5, "other": 0}.items():
        assert len(program.read(f"events-{kind}")) == count
    overpaid = next(each for each in events if each["type"] == "payment.overpaid")
    assert overpaid["amount"] == {"minor": "10000", "currency": "USD", "exponent": 2}
    assert overpaid["amount_paid"] == {"minor": "250", "currency": "USD", "exponent": 2}
    assert overpaid["discrepancy"] == {
        "direction": "over",
        "amount": {"minor": "50", "currency": "USD", "exponent": 2},
    }
    assert overpaid["occurred_at"] == "2020-08-07T10:16:48.826000Z"
    refund = next(each for each in events if each["type"] == "refund.succeeded")
    number = refund["subject"].removeprefix("p_")
    assert refund["links"]["payment"] == f"p_{number}"
    assert refund["links"]["refund"] == f"rfd_{number}"
    assert refund["metadata"] == {"checkoutId": f"ch_{number}"}


def test_events_carry_their_key_headers_and_origin(program: Program) -> None:
    """Key, CloudEvents attributes and the raw position are as the interfaces say."""
    program.start("up")
    program.until(program.ready)
    endpoint, body, headers = yoco(1)
    _, said = program.post(
        endpoint, body, headers | {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    )
    program.until(lambda: len(program.read("events-payment")) == 1)

    [raw] = program.read("webhooks-raw")
    [message] = program.read("events-payment")
    found = headers_of(message)
    event = json.loads(message.value())
    assert message.key() == raw.key() == b"shop|p_1"
    assert message.partition() == raw.partition()
    assert found["ce_specversion"] == "1.0"
    assert found["ce_id"] == event["id"]
    assert found["ce_source"] == "/hookmill/yoco/shop"
    assert found["ce_type"] == "hookmill.payment.succeeded"
    assert found["ce_subject"] == "p_1"
    assert found["ce_time"] == event["occurred_at"] == "2026-11-23T09:00:00.123456Z"
    assert found["content-type"] == "application/json"
    assert found["hm-delivery"] == said["delivery"]
    assert found["traceparent"].startswith("00-aaaa")
    assert event["raw"] == {
        "topic": f"{program.namespace}-webhooks-raw",
        "partition": raw.partition(),
        "offset": raw.offset(),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert event["resource"] == {
        "kind": "payment", "id": "p_1", "status": "succeeded", "version": 1, "conflict": False,
    }  # fmt: skip


def test_trace_shows_the_whole_way(program: Program) -> None:
    """By delivery id, event id, resource id and normalized id alike."""
    program.start("up")
    program.until(program.ready)
    _, said = program.post(*yoco(1))
    _, again = program.post(*yoco(1))
    program.until(lambda: len(program.read("handler-ledger")) == 1)
    [event] = [json.loads(each.value()) for each in program.read("events-normalized")]

    def handled() -> bool:
        return "handled by ledger" in program.run("trace", said["delivery"])

    program.until(handled)
    for name in (said["delivery"], "evt_payment.succeeded_1", "p_1", event["id"], "ch_1"):
        journeys = json.loads(program.run("trace", name, "--json"))
        steps = journeys[0]["steps"]
        prefix = program.namespace + "-"
        assert [each["topic"].removeprefix(prefix) for each in steps][:4] == [
            "webhooks-raw", "webhooks-unique", "events-normalized", "events-payment",
        ]  # fmt: skip
    [duplicate] = json.loads(program.run("trace", again["delivery"], "--json"))
    outcome = duplicate["steps"][-1]["outcome"]
    assert outcome == f"dropped: duplicate of delivery {said['delivery']}"
    program.run("trace", "nobody", status=1)


def test_a_killed_dedup_loses_and_doubles_nothing(program: Program) -> None:
    """Two members; one is killed while deliveries with duplicates stream in."""
    program.run("topics", "apply")
    program.start("ingress")
    doomed = program.start("stage", "dedup")
    program.start("stage", "dedup")
    program.start("stage", "normalize")
    program.start("stage", "route")
    program.until(program.ready)
    accepted: list[int] = []
    lock = threading.Lock()

    def deliver(number: int) -> None:
        for _ in range(2):
            status, _ = program.post(*yoco(number))
            assert status == 200
        with lock:
            accepted.append(number)

    with ThreadPoolExecutor(8) as pool:
        for number in range(300):
            pool.submit(deliver, number)
        program.until(lambda: len(accepted) > 100)
        program.until(lambda: len(program.read("webhooks-unique")) > 20)
        doomed.send_signal(signal.SIGKILL)
    program.until(lambda: len(program.read("events-payment")) >= 300, timeout_secs=90)

    subjects = [json.loads(each.value())["subject"] for each in program.read("events-payment")]
    assert sorted(subjects) == sorted(f"p_{number}" for number in accepted)
    assert len(accepted) == 300


def test_sigterm_drains_and_ends_in_order(program: Program) -> None:
    """Everything acknowledged before the end is there after it; nobody is left over."""
    up = program.start("up")
    program.until(program.ready)
    acknowledged = []
    for number in range(20):
        status, said = program.post(*yoco(number))
        if status == 200:
            acknowledged.append(said["delivery"])
    up.send_signal(signal.SIGTERM)

    assert up.wait(60) == 0
    kept = {headers_of(each)["hm-delivery"] for each in program.read("webhooks-raw")}
    assert set(acknowledged) <= kept
    assert len(acknowledged) == 20


def test_no_secret_is_in_any_topic_log_or_metric(program: Program) -> None:
    """Grep everything that a run wrote for everything that must not be there."""
    up = program.start("up")
    program.until(program.ready)
    for make in (yoco, rehive, pay3, echezona):
        endpoint, body, headers = make(1)
        program.post(endpoint, body, headers)
        program.post(endpoint, body, {**headers, "authorization": "Secret wrong-one"})
        program.post(endpoint, REHIVE_SECRET.encode() + ECHEZONA_SECRET.encode(), {})
    program.until(lambda: len(program.read("events-normalized")) >= 4)
    with urllib.request.urlopen(f"http://127.0.0.1:{program.admin_port}/metrics") as page:
        written = page.read()
    written += (
        program.run("config", "show").encode() + program.run("config", "show", "--json").encode()
    )
    for topic in ("webhooks-raw", "webhooks-rejected", "webhooks-unique", "events-normalized",
                  "events-payment", "events-transfer", "handler-ledger", "dedup-seen",
                  "resource-state", "normalize-dlq"):  # fmt: skip
        for message in program.read(topic):
            parts = [message.key() or b"", message.value() or b""]
            written += b"".join(parts + [value for _, value in message.headers() or ()])
    up.terminate()
    up.wait(60)
    for log in program.folder.rglob("*.log"):
        written += log.read_bytes()

    for secret in (PAY3_SECRET, REHIVE_SECRET, ECHEZONA_SECRET, program.environ["T_YOCO"][6:]):
        assert secret.encode() not in written
