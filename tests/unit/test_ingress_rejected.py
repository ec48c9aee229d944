"""What is kept of a refused delivery: enough to look into it, never a credential."""

import json

import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason
from hookmill.core.record import Output
from hookmill.ingress.rejected import BODY_BYTES_MAX, rejected
from hookmill.providers.keys import signing_key

STATIC = Secret("main", b"hunter2-hunter2-hunter2")
WHSEC_TEXT = "whsec_a2V5IG9mIHlvY28gdGhhdCBuZXZlciBtdXN0IGxlYXY="
WHSEC = Secret("yoco", signing_key(WHSEC_TEXT))


def kept(body: bytes = b"{}", *, headers: tuple[tuple[str, str], ...] = ()) -> Output:
    """What is kept of the refused delivery."""
    return rejected(
        Delivery(headers, body, 1_700_000_000_123_456),
        topic="eu-webhooks-rejected",
        delivery_id="d-1",
        endpoint="shop-za",
        reason=Reason.SIGNATURE_INVALID,
        peer="203.0.113.7",
        secrets=[STATIC, WHSEC],
    )


def everything(record: Output) -> bytes:
    """All bytes of the record."""
    return b"\n".join([record.key, record.value or b"", *(value for _, value in record.headers)])


def test_the_record_of_a_refused_delivery() -> None:
    """Under its endpoint, with the reason and who sent it."""
    headers = (("host", "h"), ("content-type", "application/json"), ("host", "h"))

    assert kept(b'{"a":1}', headers=headers) == Output(
        "eu-webhooks-rejected",
        b"shop-za",
        b'{"a":1}',
        (
            ("hm-delivery", b"d-1"),
            ("hm-endpoint", b"shop-za"),
            ("hm-reason", b"signature_invalid"),
            ("hm-received-at", b"1700000000123456"),
            ("hm-peer", b"203.0.113.7"),
            ("hm-header-names", b'["content-type","host"]'),
            ("hm-body-bytes", b"7"),
        ),
    )


def test_no_header_value_is_kept() -> None:
    """A wrong credential is often the right one of somebody else."""
    record = kept(headers=(("authorization", "Secret of-another"), ("cookie", "session=1")))

    assert b"of-another" not in everything(record)
    assert b"session" not in everything(record)
    assert json.loads(dict(record.headers)["hm-header-names"]) == ["authorization", "cookie"]


@pytest.mark.parametrize(
    ("size", "bytes_kept"),
    [(0, 0), (BODY_BYTES_MAX, 16_384), (BODY_BYTES_MAX + 1, 16_384), (1_048_576, 16_384)],
)
def test_the_body_is_capped(size: int, bytes_kept: int) -> None:
    """Its beginning, and how long it was."""
    record = kept(b"x" * size)

    assert record.value == b"x" * bytes_kept
    assert dict(record.headers)["hm-body-bytes"] == str(size).encode()


def test_header_names_are_capped() -> None:
    """A hundred of them are enough to see what it was."""
    record = kept(headers=tuple((f"x-{number:04}", "") for number in range(1000)))

    assert len(json.loads(dict(record.headers)["hm-header-names"])) == 100


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"secret":"hunter2-hunter2-hunter2"}', id="a static secret"),
        pytest.param(b"x" * BODY_BYTES_MAX + STATIC.key, id="behind the cap"),
        pytest.param(WHSEC.key, id="the key of a whsec_ secret"),
        pytest.param(b'{"secret":"%s"}' % WHSEC_TEXT.encode(), id="the text of a whsec_ secret"),
    ],
)
def test_a_body_with_a_live_secret_is_left_out(body: bytes) -> None:
    """Somebody put it in the wrong place; what is left says how long it was."""
    record = kept(body)

    assert record.value == b""
    assert dict(record.headers)["hm-body-bytes"] == str(len(body)).encode()


def test_a_record_of_no_secret_is_kept_as_it_is() -> None:
    """A part of a secret is none."""
    assert kept(b"hunter2-hunter2").value == b"hunter2-hunter2"


def test_a_secret_used_as_a_headers_name_is_not_kept() -> None:
    """Somebody will put it there."""
    record = kept(headers=(("hunter2-hunter2-hunter2", "x"), ("x-fine", "y")))

    assert b"hunter2" not in everything(record)
    assert dict(record.headers)["hm-header-names"] == b'["x-fine"]'
