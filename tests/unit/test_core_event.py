"""The event on the wire: JSON that keeps every digit, attributes that CloudEvents readers know."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from msgspec.structs import replace

from hookmill.core import cloudevents
from hookmill.core.event import STATUSES, Event, decode, encode
from hookmill.core.parse import Number, parse_object

EXAMPLE = {
    "id": "hm_5f0c",
    "type": "payment.succeeded",
    "kind": "payment",
    "status": "succeeded",
    "endpoint": "shop-za",
    "provider": "yoco",
    "mode": "live",
    "occurred_at": "2024-06-15T15:51:55.260284Z",
    "received_at": "2026-11-23T09:00:00.123456Z",
    "subject": "p_1",
    "resource": {
        "kind": "payment",
        "id": "p_1",
        "status": "succeeded",
        "version": 1,
        "conflict": False,
    },
    "amount": {"minor": "900", "currency": "ZAR", "exponent": 2},
    "amount_paid": None,
    "amount_refunded": None,
    "discrepancy": None,
    "links": {
        "payment": "p_1",
        "checkout": "ch_1",
        "order": None,
        "refund": None,
        "subscription": None,
    },
    "failure": None,
    "metadata": {"checkoutId": "ch_1"},
    "provider_event": {
        "id": "evt_1",
        "type": "payment.succeeded",
        "status": "succeeded",
        "amount": "900",
    },
    "late": False,
    "raw": {"topic": "webhooks-raw", "partition": 3, "offset": 42, "sha256": "9f2c"},
    "schema_version": 1,
}
"""The example of the interface, whole: names and order are a promise."""


@pytest.fixture
def event() -> Event:
    """The example as handlers get it."""
    return decode(json.dumps(EXAMPLE).encode())


def as_cloud_event(event: Event) -> CloudEvent:
    """The event's record as the CloudEvents SDK reads it."""
    headers = dict(cloudevents.headers(event))
    message = KafkaMessage(headers=headers, key=None, value=encode(event))
    return from_binary(message, JSONFormat(), CloudEvent)  # type: ignore[return-value]


def test_the_published_example_is_what_is_written(event: Event) -> None:
    """Every name, every null, in this order."""
    assert json.dumps(EXAMPLE, separators=(",", ":")).encode() == encode(event)


def test_a_reader_has_the_names_as_attributes(event: Event) -> None:
    """As the guide writes them: `event.provider_event.status`."""
    assert event.provider_event.status == "succeeded"
    assert event.amount is not None
    assert event.amount.minor == "900"


def test_numbers_in_the_metadata_keep_their_text(event: Event) -> None:
    """What a shop put in comes out digit by digit, twice through the wire."""
    metadata = b'{"a":1.10,"b":9E+400,"c":18446744073709551616,"d":[-0.0],"e":{"f":1e-9}}'
    once = replace(event, metadata=parse_object(metadata))
    twice = decode(encode(once))

    assert metadata in encode(twice)
    assert twice.metadata["a"] == Number("1.10")


def test_a_value_that_has_no_place_is_refused(event: Event) -> None:
    """A defect shows where it is made, not at a reader's."""
    with pytest.raises(NotImplementedError, match="complex has no place in JSON"):
        encode(replace(event, metadata={"figure": 1 + 1j}))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "invoice"},
        {"mode": "sandbox"},
        {"occurred_at": "2024-06-15"},
        {"received_at": None},
        {"amount": {"minor": 900, "currency": "ZAR", "exponent": 2}},
        {"amount": {"minor": "9.00", "currency": "ZAR", "exponent": 2}},
        {"discrepancy": {"direction": "more", "amount": None}},
        {"metadata": None},
    ],
)
def test_another_shape_is_no_event(changed: dict[str, Any]) -> None:
    """What hookmill did not write is noticed when it is read."""
    with pytest.raises(msgspec.ValidationError):
        decode(json.dumps({**EXAMPLE, **changed}).encode())


@pytest.mark.parametrize("missing", sorted(EXAMPLE.keys() - {"schema_version"}))
def test_no_field_may_be_missing(missing: str) -> None:
    """Readers in typed languages need every name to be there."""
    value = {name: field for name, field in EXAMPLE.items() if name != missing}

    with pytest.raises(msgspec.ValidationError, match=missing):
        decode(json.dumps(value).encode())


def test_a_field_of_a_later_release_is_passed_over(event: Event) -> None:
    """Two releases can run side by side."""
    assert event == decode(json.dumps({**EXAMPLE, "colour": "blue"}).encode())


def test_the_statuses_are_those_of_the_design() -> None:
    """Adding one is easy, taking one away breaks readers."""
    assert {kind: " ".join(statuses) for kind, statuses in STATUSES.items()} == {
        "payment": (
            "created pending authorized succeeded underpaid overpaid failed cancelled expired"
        ),
        "refund": "pending succeeded failed",
        "transfer": "pending succeeded failed reversed",
        "subscription": "created renewed renewal_failed updated cancelled expired",
        "dispute": "opened won lost",
        "other": "unrecognized login review notified",
    }


def test_the_cloudevents_sdk_reads_the_headers(event: Event) -> None:
    """A consumer in any language needs nothing of ours to know what came."""
    read = as_cloud_event(event)

    assert read.get_specversion() == "1.0"
    assert read.get_id() == "hm_5f0c"
    assert read.get_source() == "/hookmill/yoco/shop-za"
    assert read.get_type() == "hookmill.payment.succeeded"
    assert read.get_subject() == "p_1"
    assert read.get_time() == datetime(2024, 6, 15, 15, 51, 55, 260284, UTC)
    assert read.get_dataschema() == "urn:hookmill:schema:event:payment:1"
    assert read.get_datacontenttype() == "application/json"
    assert read.get_data() == EXAMPLE


def test_an_event_without_a_time_carries_when_it_came(event: Event) -> None:
    """`ce_time` is the time received; the event itself says null."""
    read = as_cloud_event(replace(event, occurred_at=None))

    assert read.get_time() == datetime(2026, 11, 23, 9, 0, 0, 123456, UTC)
    assert read.get_data()["occurred_at"] is None  # type: ignore[index]


@pytest.mark.parametrize("subject", [None, ""])
def test_an_event_without_a_subject_has_no_such_attribute(
    event: Event, subject: str | None
) -> None:
    """CloudEvents knows no empty subject."""
    headers = dict(cloudevents.headers(replace(event, subject=subject)))

    assert "ce_subject" not in headers
    assert as_cloud_event(replace(event, subject=subject)).get_subject() is None


def test_a_subject_in_any_script_survives(event: Event) -> None:
    """Header values are UTF-8."""
    assert as_cloud_event(replace(event, subject="Bestellung №7")).get_subject() == "Bestellung №7"


@pytest.mark.parametrize("kind", sorted(STATUSES))
def test_every_kind_names_its_schema(kind: str) -> None:
    """The id is a URI, so that `ce_dataschema` is valid."""
    assert re.fullmatch(rf"urn:hookmill:schema:event:{kind}:1", cloudevents.schema_id(kind))
