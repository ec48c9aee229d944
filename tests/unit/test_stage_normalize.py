"""Normalize: the provider's dialect becomes our language, merged into its resource."""

import json
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from hookmill.config import options
from hookmill.core.event import Event, Resource, decode
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.record import Record
from hookmill.core.resource import decode_state
from hookmill.providers.endpoint import Endpoint, build
from hookmill.stages.normalize import Normalize, Unrecognized
from support.alone import decide, read

FIXTURES = Path(__file__).parents[1] / "fixtures"
BODY = (FIXTURES / "yoco" / "payment_succeeded.json").read_bytes()
RAW_SHA256 = "4de9709daa5ddccd8b9e0a11b3387718539adc9af4fddaadccd649561d3c2f9b"
PAYMENT_KEY = b"shop-za|live|payment|p_bx4bY9JA6r4UwAKFyAjHY2bE"

ENDPOINTS = {
    "shop-za": build("shop-za", options.Endpoint(provider="yoco")),
    "sandbox": build("sandbox", options.Endpoint(provider="rehive", mode="test")),
    "invoices": build("invoices", options.Endpoint(provider="rehive")),
}
STAGE = Normalize(ENDPOINTS, raw_topic="eu-webhooks-raw", to="normalized")


def record(
    body: bytes = BODY, *, endpoint: str = "shop-za", event_id: str = "evt_1", **other: str
) -> Record:
    """A record of `webhooks-unique`; `other` headers with `_` for `-`, empty ones left out."""
    headers = {
        "hm-delivery": "d-1",
        "hm-endpoint": endpoint,
        "hm-event-id": event_id,
        "hm-event-type": "payment.succeeded",
        "hm-received-at": "1700000000123456",
        "hm-signed": '{"webhook-id":["msg_1"]}',
        "hm-raw-offset": "42",
        **{name.replace("_", "-"): value for name, value in other.items()},
    }
    return Record(
        "webhooks-unique", 3, 9, 1_700_000_001_000, b"shop-za|p_1", body,
        tuple((name, value.encode()) for name, value in headers.items() if value),
    )  # fmt: skip


def invoice(status: str, *, updated: int = 1_700_000_000_000) -> bytes:
    """A Rehive invoice in that status."""
    amount: dict[str, Any] = {
        "request_amount": 900,
        "request_currency": {"code": "ZAR", "divisibility": 2},
    }
    data = {"id": "inv_1", "status": status, "updated": updated, **amount}
    return msgspec.json.encode({"data": data})


class Run:
    """The stage with a store, as the engine drives it."""

    def __init__(self, stage: Normalize = STAGE) -> None:
        self.stage = stage
        self.store: dict[bytes, bytes] = {}

    def outcome(self, each: Record) -> Forward:
        """What becomes of the record."""
        task = read(self.stage, each)
        found = {key: self.store[key] for key in task.state_keys if key in self.store}
        outcome = decide(self.stage, task, found)
        assert isinstance(outcome, Forward)
        self.store.update(outcome.state)
        return outcome

    def event(self, each: Record) -> Event:
        """The event that it becomes."""
        (output,) = self.outcome(each).outputs
        assert output.value is not None
        return decode(output.value)


def set_aside(stage: Normalize, each: Record) -> DeadLetter:
    """Why the record is set aside; it asks for no state."""
    task = read(stage, each)
    assert task.state_keys == ()
    outcome = decide(stage, task, {})
    assert isinstance(outcome, DeadLetter)
    return outcome


def test_an_event_is_told_in_our_words() -> None:
    """The interface's example, with what only hookmill knows."""
    event = Run().event(record())

    assert (event.type, event.kind, event.status) == ("payment.succeeded", "payment", "succeeded")
    assert (event.endpoint, event.provider, event.mode) == ("shop-za", "yoco", "live")
    assert event.id == "hm_50a4d97069be593cf0cd8a235d0c6fab"
    assert event.received_at == "2023-11-14T22:13:20.123456Z"
    assert event.occurred_at == "2024-06-15T15:51:55.260284Z"
    assert event.amount is not None
    assert (event.amount.minor, event.amount.currency, event.amount.exponent) == ("900", "ZAR", 2)
    assert event.links.checkout == "ch_9LVKD8GnAj7f39DFbn4F16bE"
    assert event.resource == Resource(
        "payment", "p_bx4bY9JA6r4UwAKFyAjHY2bE", "succeeded", version=1, conflict=False
    )
    assert event.late is False


def test_an_event_says_where_its_exact_bytes_lie() -> None:
    """Under the name that the raw topic has in the cluster, in the same partition."""
    raw = Run().event(record()).raw

    assert (raw.topic, raw.partition, raw.offset) == ("eu-webhooks-raw", 3, 42)
    assert raw.sha256 == RAW_SHA256


def test_an_event_says_that_its_record_was_sent_again() -> None:
    """Should it fail later, the count goes on."""
    again = {"hm_redrives": "2", "hm_redriven_from": "normalize-dlq:3:7"}
    (output,) = Run().outcome(record(**again)).outputs
    headers = dict(output.headers)

    assert headers["hm-redrives"] == b"2"
    assert headers["hm-redriven-from"] == b"normalize-dlq:3:7"


def test_the_record_keeps_its_key_and_what_traces_it() -> None:
    """Attributes first, then the delivery and the trace; evidence stays with the raw record."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    (output,) = Run().outcome(record(traceparent=trace)).outputs
    headers = dict(output.headers)

    assert (output.topic, output.key) == ("normalized", b"shop-za|p_1")
    assert headers["ce_type"] == b"hookmill.payment.succeeded"
    assert headers["ce_source"] == b"/hookmill/yoco/shop-za"
    assert headers["hm-delivery"] == b"d-1"
    assert headers["hm-event-id"] == b"evt_1"
    assert headers["traceparent"] == trace.encode()
    assert "hm-signed" not in headers


def test_the_id_is_of_the_dedup_key_and_nothing_else() -> None:
    """A redelivery, another offset, another place in a pack of items: the same id."""
    first = Run().event(record())
    again = Run().event(record(hm_delivery="d-2", hm_item="2/3", hm_raw_offset="99"))

    assert first.id == again.id
    assert first.id != Run().event(record(event_id="evt_2")).id
    assert first.id != Run().event(record(hm_event_type="payment.failed")).id


def test_the_state_is_kept_under_mode_and_kind() -> None:
    """A test payment never meets a live one."""
    run = Run()
    run.outcome(record())
    run.outcome(record(BODY.replace(b'"mode":"live"', b'"mode":"test"')))

    assert list(run.store) == [PAYMENT_KEY, PAYMENT_KEY.replace(b"live", b"test")]
    assert decode_state(run.store[PAYMENT_KEY]).status == "succeeded"
    assert decode_state(run.store[PAYMENT_KEY]).event_id == "evt_1"


def test_a_late_event_is_delivered_and_says_so() -> None:
    """Its own status stays its own; the resource tells where it stands."""
    run = Run()
    run.event(record(invoice("paid"), endpoint="invoices", event_id="e2"))
    late = run.event(record(invoice("processing"), endpoint="invoices", event_id="e1"))

    assert (late.type, late.late) == ("payment.pending", True)
    assert late.resource == Resource("payment", "inv_1", "succeeded", version=1, conflict=False)


def test_two_different_ends_show_in_the_later_event() -> None:
    """A person must look; which event came first does not matter."""
    paid = record(invoice("paid"), endpoint="invoices", event_id="e1")
    expired = record(invoice("expired"), endpoint="invoices", event_id="e2")
    for first, second in [(paid, expired), (expired, paid)]:
        run = Run()
        run.event(first)
        resource = run.event(second).resource

        assert resource == Resource("payment", "inv_1", "expired", version=2, conflict=True)


@pytest.mark.parametrize(
    ("endpoint", "mode"), [("sandbox", "test"), ("invoices", "unknown"), ("shop-za", "live")]
)
def test_the_mode_is_the_providers_word_then_the_endpoints(endpoint: str, mode: str) -> None:
    """And `unknown` where neither says it."""
    body = BODY if endpoint == "shop-za" else invoice("paid")

    assert mode == Run().event(record(body, endpoint=endpoint)).mode


def test_the_providers_word_for_the_mode_outweighs_the_endpoints() -> None:
    """A test event at an endpoint configured as live is a test event."""
    live = build("shop-za", options.Endpoint(provider="yoco", mode="live"))
    stage = Normalize({"shop-za": live}, raw_topic="raw", to="normalized")
    body = BODY.replace(b'"mode":"live"', b'"mode":"test"')

    assert Run(stage).event(record(body)).mode == "test"


@pytest.mark.parametrize(
    ("configured", "header", "mode"),
    [
        (None, "https://api.gocardless.com", "live"),
        (None, "https://api-sandbox.gocardless.com", "test"),
        ("test", "https://api.gocardless.com", "test"),
        ("live", "https://api-sandbox.gocardless.com", "test"),
    ],
)
def test_a_mode_that_is_not_signed_makes_no_test_live(
    configured: Literal["live", "test"] | None, header: str, mode: str
) -> None:
    """A header can be changed by whoever passes a delivery on."""
    chosen = build("debits", options.Endpoint(provider="gocardless", mode=configured))
    stage = Normalize({"debits": chosen}, raw_topic="raw", to="normalized")
    body = (
        b'{"id":"EV1","created_at":"2026-11-20T10:00:00.000Z","resource_type":"payments",'
        b'"action":"confirmed","links":{"payment":"PM1"}}'
    )
    given = record(body, endpoint="debits", hm_signed=json.dumps({"origin": [header]}))

    event = Run(stage).event(given)

    assert event.mode == mode


def test_an_unknown_event_is_kept_as_unrecognized() -> None:
    """It is of no resource, has no amounts and writes no state."""
    run = Run()
    body = (FIXTURES / "yoco" / "unknown_type.json").read_bytes()
    event = run.event(record(body))

    assert (event.type, event.kind) == ("other.unrecognized", "other")
    assert (event.resource, event.amount, event.late) == (None, None, False)
    assert run.store == {}


@pytest.mark.parametrize(
    ("name", "is_known"), [("unknown_type", False), ("payment_succeeded", True)]
)
def test_an_answer_says_whether_its_event_is_known(name: str, is_known: bool) -> None:
    """What is counted as unrecognized is told by it."""
    body = (FIXTURES / "yoco" / f"{name}.json").read_bytes()
    outcome = decide(STAGE, read(STAGE, record(body)), {})

    assert isinstance(outcome, Forward)
    assert isinstance(outcome, Unrecognized) is not is_known


def test_a_body_that_cannot_be_parsed_is_set_aside() -> None:
    """No retry would mend it; the partition goes on."""
    assert set_aside(STAGE, record(b"{")).reason == "unparseable_body"
    assert set_aside(STAGE, record(b"[]")) == DeadLetter(
        "unparseable_body", "a JSON list, not an object"
    )


@pytest.mark.parametrize("endpoint", ["gone", ""])
def test_an_endpoint_that_is_not_configured_is_set_aside(endpoint: str) -> None:
    """The detail says what to do about it."""
    letter = set_aside(STAGE, record(endpoint=endpoint))

    assert letter.reason == "unknown_endpoint"
    assert "configure it again, then redrive" in letter.detail


def test_a_record_without_a_time_takes_the_brokers() -> None:
    """Milliseconds of the append."""
    assert Run().event(record(hm_received_at="")).received_at == "2023-11-14T22:13:21.000000Z"


def test_a_state_that_cannot_be_read_is_no_reason_to_forget_it() -> None:
    """Better stop with an error than begin the resource anew."""
    task = read(STAGE, record())

    with pytest.raises(msgspec.MsgspecError):
        decide(STAGE, task, {PAYMENT_KEY: b"{}"})


def test_endpoints_are_looked_up_by_name() -> None:
    """Two endpoints of one provider keep their resources apart."""
    twin: Endpoint = build("shop-ng", options.Endpoint(provider="yoco"))
    run = Run(Normalize({**ENDPOINTS, "shop-ng": twin}, raw_topic="raw", to="normalized"))
    run.outcome(record())
    event = run.event(record(endpoint="shop-ng"))

    assert event.resource is not None
    assert event.resource.version == 1
    assert len(run.store) == 2
