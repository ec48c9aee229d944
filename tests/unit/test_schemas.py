"""`schemas/` is what the code says, and says what the code does."""

import copy
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hookmill.config.exports import configuration_schema, event_schema, exports
from hookmill.core.cloudevents import headers
from hookmill.core.event import (
    STATUSES,
    Discrepancy,
    Event,
    Failure,
    Links,
    ProviderEvent,
    Raw,
    Resource,
    encode,
)
from hookmill.core.money import Money
from hookmill.core.parse import parse_object

ROOT = Path(__file__).parents[2]
PAIRS = [(kind, status) for kind, several in STATUSES.items() for status in several]


def event(kind: Any, status: str) -> Event:
    """An event with everything that one can have, its money in 38 digits."""
    return Event(
        id="hm_1",
        type=f"{kind}.{status}",
        kind=kind,
        status=status,
        endpoint="shop",
        provider="yoco",
        mode="unknown",
        occurred_at="2024-06-15T15:51:55.260284Z",
        received_at="2026-11-23T09:00:00.123456Z",
        subject="s",
        resource=Resource(kind, "r", status, 3, True),
        amount=Money("9" * 38, "ETH", 18),
        amount_paid=Money("-1", "ZAR", 2),
        amount_refunded=Money("0", "XXX", None),
        discrepancy=Discrepancy("over", None),
        links=Links(payment="p"),
        failure=Failure("51", None),
        metadata=parse_object(b'{"a": 1.10, "b": 9E+400, "c": {"d": [null, true]}}'),
        provider_event=ProviderEvent("e", "t", "s", "9.00"),
        late=True,
        raw=Raw("webhooks-raw", 3, 42, "9f2c"),
    )


def bare(kind: Any, status: str) -> Event:
    """An event with nothing that may be absent."""
    return Event(
        id="hm_1", type=f"{kind}.{status}", kind=kind, status=status, endpoint="e", provider="p",
        mode="live", occurred_at=None, received_at="2026-11-23T09:00:00.123456Z", subject=None,
        resource=None, amount=None, amount_paid=None, amount_refunded=None, discrepancy=None,
        links=Links(), failure=None, metadata={}, provider_event=ProviderEvent(), late=False,
        raw=Raw("t", 0, 0, ""),
    )  # fmt: skip


@cache
def checked_in(name: str) -> Draft202012Validator:
    """A schema of the repository, itself a valid one."""
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_files_are_the_codes() -> None:
    """Byte for byte, and there is no other file: else run `hookmill schemas export`."""
    found = {str(path.relative_to(ROOT)): path.read_bytes() for path in ROOT.glob("schemas/*")}

    assert found == exports()


def test_there_is_one_for_each_kind_and_one_for_the_configuration() -> None:
    """By the names that consumers fetch them under."""
    assert set(exports()) == {
        "schemas/configuration.schema.json",
        *(f"schemas/event.{kind}.schema.json" for kind in STATUSES),
    }


@pytest.mark.parametrize(("kind", "status"), PAIRS)
def test_a_real_event_is_valid(kind: str, status: str) -> None:
    """With everything and with nothing, as it is encoded."""
    validator = checked_in(f"event.{kind}")

    validator.validate(json.loads(encode(event(kind, status))))
    validator.validate(json.loads(encode(bare(kind, status))))


@pytest.mark.parametrize("kind", STATUSES)
def test_an_event_of_another_kind_is_not(kind: str) -> None:
    """Each schema takes its own kind alone."""
    validator = checked_in(f"event.{kind}")
    others = [pair for pair in PAIRS if pair[0] != kind]

    assert not any(validator.is_valid(json.loads(encode(event(*pair)))) for pair in others)


WRONG: list[tuple[tuple[str, ...], Any]] = [
    (("status",), "lost_in_space"),
    (("type",), "payment.lost_in_space"),
    (("schema_version",), 2),
    (("mode",), "sandbox"),
    (("occurred_at",), "2024-06-15"),
    (("received_at",), None),
    (("amount", "minor"), 900),
    (("amount", "minor"), "9.00"),
    (("amount", "minor"), "9" * 39),
    (("amount", "minor"), "900\n"),
    (("amount", "minor"), "٩٠٠"),
    (("received_at",), "2026-11-23T09:00:00.123456Z\n"),
    (("received_at",), "٢٠٢٦-11-23T09:00:00.123456Z"),
    (("amount", "exponent"), "2"),
    (("discrepancy", "direction"), "more"),
    (("resource", "version"), "1"),
    (("resource", "kind"), "invoice"),
    (("links", "payment"), 7),
    (("failure", "code"), 51),
    (("metadata",), None),
    (("late",), "no"),
    (("raw", "offset"), None),
]


@pytest.mark.parametrize("kind", STATUSES)
@pytest.mark.parametrize(("where", "value"), WRONG, ids=lambda each: str(each)[:30])
def test_a_wrong_event_is_not_valid(kind: str, where: tuple[str, ...], value: Any) -> None:
    """One place of a good event changed."""
    wrong = json.loads(encode(event(kind, STATUSES[kind][0])))
    inner = wrong
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value

    assert not checked_in(f"event.{kind}").is_valid(wrong)


@pytest.mark.parametrize("name", Event.__struct_fields__)
def test_an_event_without_a_name_is_not_valid(name: str) -> None:
    """Every name is always there; what is unknown is null."""
    whole = json.loads(encode(event("payment", "succeeded")))
    part = copy.deepcopy(whole)
    del part[name]

    assert not checked_in("event.payment").is_valid(part)


@pytest.mark.parametrize("kind", STATUSES)
def test_a_record_names_its_schema(kind: str) -> None:
    """`ce_dataschema` is the `$id` of the file."""
    found = dict(headers(event(kind, STATUSES[kind][0])))

    assert found["ce_dataschema"].decode() == event_schema(kind)["$id"]


def test_the_configurations_schema_takes_the_interfaces_example() -> None:
    """So that an editor may check hookmill.toml while it is written."""
    config = tomllib.loads((ROOT / "hookmill.example.toml").read_text())
    validator = checked_in("configuration")

    validator.validate(config)
    assert not validator.is_valid({**config, "ingres": {}})
    assert not validator.is_valid({**config, "ingress": {"port": "8080"}})
    assert configuration_schema()["$id"] == "urn:hookmill:schema:configuration"
