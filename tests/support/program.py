"""hookmill from outside: its processes, deliveries signed here, topics read by another library."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from support.ports import free_port

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
        return self._finished(*arguments, status=status).stdout

    def fails(self, *arguments: str, status: int) -> str:
        """Run a command that must fail; returns what it said of it."""
        return self._finished(*arguments, status=status).stderr

    def _finished(self, *arguments: str, status: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "hookmill", *arguments, "--config", str(self.config)],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done

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

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json"))

    def children_of(self, pid: int) -> list[int]:
        """The processes that a process has started and that run."""
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        states = {int(each): Path(f"/proc/{each}/stat").read_text().split()[2] for each in children}
        return [each for each, state in states.items() if state != "Z"]

    def listens(self) -> bool:
        """Whether the public port answers at all."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ready(self) -> bool:
        """Whether the ingress takes deliveries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=5):
                return True
        except OSError:
            return False


def yoco(
    number: int, *, kind: str = "payment.succeeded", payment: int | None = None
) -> tuple[str, bytes, dict[str, str]]:
    """A Yoco delivery, signed here by the Standard Webhooks rules; a refund may be of another
    payment than that of its number."""
    payload = {"id": f"p_{number}", "type": "payment", "amount": 900 + number, "currency": "ZAR",
               "status": "succeeded", "mode": "live",
               "metadata": {"checkoutId": f"ch_{number}"}}  # fmt: skip
    if kind.startswith("refund"):
        of = number if payment is None else payment
        payload |= {"id": f"rfd_{number}", "type": "refund", "paymentId": f"p_{of}"}
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
