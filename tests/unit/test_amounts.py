"""Amounts are read exactly: every unit, every number of decimals, never a float."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.money import Money
from hookmill.core.parse import Number
from hookmill.providers.amounts import exponent_of, money
from hookmill.providers.declaration import Shape
from hookmill.providers.facts import exponent_in


def read(figure: Any, currency: str = "EUR", unit: Any = "major", as_text: bool = True) -> Any:
    found = money(figure, currency, unit, exponent=exponent_of, as_text=as_text)
    return None if found is None else (found.minor, found.exponent)


@pytest.mark.parametrize(
    ("figure", "currency", "expected"),
    [
        ("20.00", "USD", ("2000", 2)),
        ("20", "usd", ("2000", 2)),
        ("20.5", "EUR", ("2050", 2)),
        ("20.005", "EUR", None),
        ("1000", "JPY", ("1000", 0)),
        ("1000.0", "JPY", ("1000", 0)),
        ("1000.5", "JPY", None),
        ("1.234", "KWD", ("1234", 3)),
        ("1.2345", "CLF", ("12345", 4)),
        ("5", "QQQ", None),
        (Number("2500.25"), "KES", ("250025", 2)),
        (Number("1e2"), "KES", ("10000", 2)),
        (200, "NGN", ("20000", 2)),
        (True, "EUR", None),
        (None, "EUR", None),
        ("-1", "EUR", None),
        ("1e2", "EUR", None),
        ("", "EUR", None),
        (" 1", "EUR", None),
        ("\u0661", "EUR", None),
        ("9" * 36, "EUR", ("9" * 36 + "00", 2)),
        ("9" * 37, "EUR", None),
        (Number("1e999"), "EUR", None),
    ],
)
def test_major_units(figure: Any, currency: str, expected: Any) -> None:
    """By the currency's own decimals; a digit below them is no amount."""
    assert read(figure, currency) == expected


@pytest.mark.parametrize(
    ("figure", "currency", "as_text", "expected"),
    [
        (5000, "NGN", False, ("5000", 2)),
        ("5000", "NGN", True, ("5000", 2)),
        ("5000", "NGN", False, None),
        (1099, "JPY", False, ("1099", 0)),
        (7, "QQQ", False, ("7", None)),
        ("50.5", "NGN", True, None),
    ],
)
def test_minor_units(figure: Any, currency: str, as_text: bool, expected: Any) -> None:
    """A string only from a provider that writes strings."""
    assert read(figure, currency, "minor", as_text) == expected


@given(st.integers(0, 10**30), st.sampled_from(["JPY", "EUR", "KWD", "CLF"]))
def test_a_major_figure_is_its_minor_one(minor: int, currency: str) -> None:
    """Whatever its size."""
    places = exponent_of(currency)
    assert places is not None
    digits = str(minor).rjust(places + 1, "0")
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}".rstrip(".")

    assert read(text, currency) == (str(minor), places)


def test_a_pack_knows_better() -> None:
    """Crypto, currencies that the provider writes otherwise, and those it says nothing of."""
    better = exponent_in(Shape(decimals={"BTC": 8, "ISK": "unknown"}))
    only = exponent_in(Shape(only_decimals={"ZAR": 2}))

    assert [better(code) for code in ("BTC", "ISK", "EUR")] == [8, None, 2]
    assert [only(code) for code in ("ZAR", "EUR")] == [2, None]
    assert money("0.5", "BTC", "major", exponent=better, as_text=True) == Money(
        "50000000", "BTC", 8
    )
