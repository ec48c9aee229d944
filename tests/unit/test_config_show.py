"""The configuration as it holds: everything is shown but secrets."""

import json

import msgspec
import pytest

from hookmill.config.options import (
    Configuration,
    Endpoint,
    Handler,
    Kafka,
    Match,
    MetadataMatch,
    Route,
    SecretSource,
)
from hookmill.config.show import HIDDEN, rows, shown

HUSH = "hunter2"
CONFIG = Configuration(
    allow_inline_secrets=True,
    kafka=Kafka(
        security_protocol="SASL_SSL", sasl_username="me", sasl_password=SecretSource(value=HUSH)
    ),
    endpoints={
        "shop": Endpoint(
            provider="yoco",
            secrets=(
                SecretSource(name="a", value=HUSH),
                SecretSource(name="b", env="YOCO_SECRET"),
                SecretSource(name="c", file="/run/secrets/yoco"),
            ),
            options={"header": "x-sig"},
            api_key=SecretSource(value=HUSH),
        )
    },
    handlers={
        "ledger": Handler(type="ledger", url=f"postgresql://me:{HUSH}@db/books"),
        "shop": Handler(
            type="http",
            url=f"https://shop.example/events?token={HUSH}",
            secrets=(SecretSource(name="a", value=HUSH), SecretSource(name="b", env="SHOP")),
        ),
    },
    routes=(
        Route(
            name="money",
            handlers=("ledger",),
            match=Match(type="payment.*", metadata={"a": MetadataMatch(one_of=("x",))}),
        ),
    ),
)


def test_secrets_are_hidden_and_their_places_are_not() -> None:
    """Which variable and which file is what one looks for."""
    found = shown(CONFIG)
    values = [each["value"] for each in found["endpoints"]["shop"]["secrets"]]

    assert values == [HIDDEN, None, None]
    assert found["kafka"]["sasl_password"]["value"] == HIDDEN
    assert [each["value"] for each in found["handlers"]["shop"]["secrets"]] == [HIDDEN, None]
    assert found["handlers"]["shop"]["secrets"][1]["env"] == "SHOP"
    assert found["endpoints"]["shop"]["api_key"]["value"] == HIDDEN
    assert found["endpoints"]["shop"]["secrets"][1]["env"] == "YOCO_SECRET"
    assert found["endpoints"]["shop"]["secrets"][2]["file"] == "/run/secrets/yoco"


def test_a_password_in_an_address_is_hidden() -> None:
    """The rest of the address stays."""
    assert shown(CONFIG)["handlers"]["ledger"]["url"] == f"postgresql://{HIDDEN}@db/books"


def test_what_follows_the_question_mark_is_hidden() -> None:
    """Many a service takes its token there."""
    assert shown(CONFIG)["handlers"]["shop"]["url"] == f"https://shop.example/events?{HIDDEN}"


@pytest.mark.parametrize("url", ["sqlite:///books.db", "sqlite:////tmp/a@b.db", None])
def test_an_address_without_a_password_is_shown_whole(url: str | None) -> None:
    """An @ in a path is no user."""
    config = Configuration(handlers={"ledger": Handler(type="ledger", url=url)})

    assert shown(config)["handlers"]["ledger"]["url"] == url


def test_nothing_shown_contains_a_secret() -> None:
    """Neither for people nor for programs."""
    assert HUSH not in json.dumps(shown(CONFIG))
    assert HUSH not in str(rows(CONFIG))


def test_showing_leaves_the_configuration_as_it_is() -> None:
    """What is hidden is a copy."""
    shown(CONFIG)

    assert CONFIG.endpoints["shop"].secrets[0].value == HUSH


def test_every_option_has_a_row_by_its_dotted_name() -> None:
    """Defaults too; a list is one row."""
    found = dict(rows(CONFIG))

    assert found["ingress.port"] == "8080"
    assert found["kafka.bootstrap_servers"] == "[]"
    assert found["endpoints.shop.options.header"] == '"x-sig"'
    assert found["kafka.sasl_password.value"] == f'"{HIDDEN}"'
    assert json.loads(found["routes"])[0]["match"]["type"] == "payment.*"


def test_what_is_shown_is_a_configuration_again() -> None:
    """Names and shape are those of the file."""
    plain = Configuration()

    assert msgspec.convert(shown(plain), Configuration) == plain
