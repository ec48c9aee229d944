"""Accept: from a verified delivery to the records that are kept, byte for byte."""

import json
from typing import Any, ClassVar

import pytest

from hookmill.config import options
from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.ids import body_hash
from hookmill.core.record import Output, Record
from hookmill.providers.endpoint import Endpoint, build
from hookmill.providers.pack import Draft, Pack, SignedRequest, Terms
from hookmill.providers.schemes.token import Token
from hookmill.stages.accept import accept
from hookmill.stages.headers import dedup_key

SECRET = Secret("2026-11", b"the key itself")
BODY = b'{"id":"evt_1","type":"payment.succeeded","payload":{"id":"p_1"}}'
RECEIVED_AT_US = 1_700_000_000_123_456
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
THEIRS = "00-11111111111111111111111111111111-2222222222222222-01"


class Several(Pack):
    """A provider whose deliveries hold an item a line, called by its text up to the colon."""

    name = "several"
    title = "Several"
    events: ClassVar[dict[str, str]] = {}

    def scheme(self, options: Any) -> Token:
        """A static one: its evidence is its name."""
        return Token(header="authorization")

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Not asked here."""
        raise NotImplementedError

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """`id:type:subject`, each may be empty."""
        found = []
        for line in delivery.body.split(b"\n"):
            event_id, event_type, subject = line.decode().split(":")
            found.append(Item(line, event_id, event_type, subject or None))
        return tuple(found)

    def normalize(self, body: bytes, options: Any, headers: Any = None) -> Draft:
        """Not asked here."""
        raise NotImplementedError

    def sign(self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any
             ) -> SignedRequest:  # fmt: skip
        """Not asked here."""
        raise NotImplementedError


YOCO = build("shop-za", options.Endpoint(provider="yoco"))
REHIVE = build("invoices", options.Endpoint(provider="rehive"))
SEVERAL = Endpoint(
    name="batch",
    pack=Several(),
    options=None,
    tolerance_secs=None,
    dedup_window_secs=1,
    mode=None,
)


def kept(
    body: bytes = BODY,
    *,
    endpoint: Endpoint = YOCO,
    headers: tuple[tuple[str, str], ...] = (),
    traceparent: str | None = None,
) -> list[Output]:
    """What is kept of a delivery."""
    return accept(
        Delivery(headers, body, RECEIVED_AT_US),
        delivery_id="d-1",
        endpoint=endpoint,
        secret=SECRET,
        to="raw",
        whole_to="deliveries",
        traceparent=traceparent,
    )


def test_one_item_is_one_record_of_the_exact_body() -> None:
    """Not a byte is changed, and the subject is the key."""
    body = b'\xef\xbb\xbf{ "id":"evt_1",\r\n"type":"payment.succeeded","payload":{"id":"p_1"}}'
    (record,) = kept(body)

    assert record.topic == "raw"
    assert record.value == body
    assert record.key == b"shop-za|p_1"


def test_the_headers_are_those_of_the_design() -> None:
    """In this order; `hm-signed` lets anyone verify again."""
    (record,) = kept(
        headers=(
            ("content-type", "application/json"),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", "v1,abc"),
            ("webhook-signature", "v1,def"),
            ("user-agent", "yoco"),
            ("traceparent", THEIRS),
        ),
        traceparent=TRACEPARENT,
    )

    assert record.headers == (
        ("hm-delivery", b"d-1"),
        ("hm-endpoint", b"shop-za"),
        ("hm-provider", b"yoco"),
        ("hm-received-at", b"1700000000123456"),
        ("hm-secret", b"2026-11"),
        ("hm-content-type", b"application/json"),
        ("traceparent", TRACEPARENT.encode()),
        (
            "hm-signed",
            b'{"webhook-id":["msg_1"],"webhook-timestamp":["1700000000"],'
            b'"webhook-signature":["v1,abc","v1,def"]}',
        ),
        ("hm-item", b"1/1"),
        ("hm-event-id", b"evt_1"),
        ("hm-event-type", b"payment.succeeded"),
    )


def test_a_static_credential_is_never_kept() -> None:
    """The name of the secret that matched is the evidence."""
    (record,) = kept(
        b'{"data":{"id":"inv_1"}}',
        endpoint=REHIVE,
        headers=(("authorization", "Secret hunter2-hunter2-hunter2"),),
    )
    headers = dict(record.headers)

    assert headers["hm-signed"] == b'{"scheme":"static"}'
    assert headers["hm-secret"] == b"2026-11"
    assert b"hunter2" not in b"".join(headers.values())
    assert SECRET.key not in b"".join(headers.values())


def test_several_items_are_a_record_each_and_the_whole_once() -> None:
    """Each under its own subject; the exact body is kept for audit under the delivery's id."""
    body = b"e1:paid:s1\ne2:paid:s2\ne3:refunded:s1"
    *items, whole = kept(body, endpoint=SEVERAL)

    assert [(each.topic, each.key, each.value) for each in items] == [
        ("raw", b"batch|s1", b"e1:paid:s1"),
        ("raw", b"batch|s2", b"e2:paid:s2"),
        ("raw", b"batch|s1", b"e3:refunded:s1"),
    ]
    assert [dict(each.headers)["hm-item"] for each in items] == [b"1/3", b"2/3", b"3/3"]
    assert (whole.topic, whole.key, whole.value) == ("deliveries", b"d-1", body)
    assert "hm-item" not in dict(whole.headers)
    assert dict(whole.headers)["hm-delivery"] == b"d-1"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b"e1:paid:s1", b"batch|s1"),
        (b"e1:paid:", b"batch|e1"),
        (b":paid:", b"batch|" + body_hash(b":paid:").encode()),
        (b"e1:paid:a|b", b"batch|a%7Cb"),
        (b"e1:paid:" + b"s" * 300, b"batch|sha256:"),
    ],
    ids=["subject", "event id", "body", "escaped", "too long"],
)
def test_the_key_is_the_best_that_can_be_read(line: bytes, key: bytes) -> None:
    """The subject, else the event id, else the body's hash."""
    (record,) = kept(line, endpoint=SEVERAL)

    assert record.key.startswith(key)
    assert len(record.key) < 100


def test_an_items_place_is_no_part_of_its_identity() -> None:
    """The same event alone and among others is the same event."""
    (alone,) = kept(b"e1:paid:s1", endpoint=SEVERAL)
    among = kept(b"e0:paid:s0\ne1:paid:s1", endpoint=SEVERAL)[1]
    keys = {dedup_key(Record("raw", 0, 0, 0, each.key, each.value, each.headers))
            for each in (alone, among)}  # fmt: skip

    assert keys == {b"batch|e1|paid"}


def test_ids_are_bounded_in_the_headers() -> None:
    """A provider's id of any length and any characters makes a header that fits a key."""
    (record,) = kept(b"a|b%c:" + b"t" * 300 + b":s", endpoint=SEVERAL)
    headers = dict(record.headers)

    assert headers["hm-event-id"] == b"a%7Cb%25c"
    assert headers["hm-event-type"].startswith(b"sha256:")
    assert len(headers["hm-event-type"]) == 71


def test_a_senders_trace_is_not_ours() -> None:
    """Whoever sends must not choose our trace ids, nor what is sampled."""
    (record,) = kept(headers=(("traceparent", THEIRS), ("tracestate", "theirs=1")))

    assert {"traceparent", "tracestate"}.isdisjoint(dict(record.headers))


def test_header_bytes_that_are_no_utf_8_stop_nothing() -> None:
    """They arrive as surrogates; evidence and content type say so with a question mark."""
    (record,) = kept(
        headers=(("content-type", "text/\udcff"), ("webhook-id", "msg_\udcff"))
    )  # fmt: skip
    headers = dict(record.headers)

    assert headers["hm-content-type"] == b"text/?"
    assert json.loads(headers["hm-signed"]) == {"webhook-id": ["msg_?"]}


def test_a_content_type_is_capped() -> None:
    """Nobody's header makes ours large."""
    (record,) = kept(headers=(("content-type", "a" * 5000),))

    assert dict(record.headers)["hm-content-type"] == b"a" * 256


def test_a_body_that_is_no_json_is_kept_too() -> None:
    """A retry would not mend it: it is kept under its webhook id and set aside later."""
    (record,) = kept(b"\xff\xfe", headers=(("webhook-id", "msg_1"),))

    assert (record.key, record.value) == (b"shop-za|msg_1", b"\xff\xfe")
    assert dict(record.headers)["hm-event-id"] == b"msg_1"
    assert dict(record.headers)["hm-event-type"] == b""
