"""The whole program from outside: HTTP in, Kafka out. Nothing of the package is imported."""

import hashlib
import json
import signal
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.program import (
    ECHEZONA_SECRET,
    PAY3_SECRET,
    REHIVE_SECRET,
    Program,
    echezona,
    headers_of,
    pay3,
    rehive,
    yoco,
)

pytestmark = pytest.mark.broker


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
    assert "traceparent" not in found  # traces are off, and the sender's is not ours
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


def test_an_event_that_was_routed_can_be_asked_about(program: Program) -> None:
    """By every id that it has; a redelivery's names the event that was first."""
    program.start("up")
    program.until(program.ready)
    _, said = program.post(*yoco(1))
    program.until(lambda: len(program.read("handler-ledger")) == 1)
    _, again = program.post(*yoco(1))
    program.until(lambda: len(program.read("webhooks-raw")) == 2)
    [event] = [json.loads(each.value()) for each in program.read("events-normalized")]

    names = (said["delivery"], again["delivery"], "evt_payment.succeeded_1", "p_1", event["id"])
    for name in names:
        [routes] = json.loads(program.run("routes", "test", name, "--json"))
        assert routes["id"] == event["id"]
        assert routes["topic"] == f"{program.namespace}-events-payment"
        assert routes["handlers"] == {"ledger": ["money"]}
    assert "no event in" in program.fails("routes", "test", "nobody", status=1)


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
