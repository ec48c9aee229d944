"""Money: whole minor units, exact to 38 digits, and nothing that is not a whole number."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.money import DIGITS_MAX, Money, whole_units
from hookmill.core.parse import Number, parse_json

LARGEST = 10**38 - 1


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.0", 0),
        ("-0.00", 0),
        ("0e5", 0),
        ("900", 900),
        ("900.0", 900),
        ("9e2", 900),
        ("9E+2", 900),
        ("0.9e3", 900),
        ("90000e-2", 900),
        ("9.000e2", 900),
        ("1000000000000000001", 1_000_000_000_000_000_001),
        ("1.000000000000000001e18", 1_000_000_000_000_000_001),
        ("99999999999999999999999999999999999999", LARGEST),
        ("9.9999999999999999999999999999999999999e37", LARGEST),
        ("1e37", 10**37),
    ],
)
def test_a_whole_figure_is_taken_in_whatever_form(text: str, units: int) -> None:
    """900, 900.0 and 9e2 are the same JSON number."""
    assert units == whole_units(parse_json(text.encode()))


@pytest.mark.parametrize(
    "text",
    ["900.5", "0.1", "1e-1", "5e-400", "12345e-2", "-1", "-900.0", "-9e2", "1e38", "1e400",
     "100000000000000000000000000000000000000", "1e99999", "1e-99999"],
)  # fmt: skip
def test_a_figure_that_is_not_whole_negative_or_too_long_is_none(text: str) -> None:
    """Nothing is rounded, nothing overflows: what is no amount is no amount."""
    assert whole_units(parse_json(text.encode())) is None


@pytest.mark.parametrize("value", ["900", "", True, False, None, [], {}, [900], {"minor": 900}])
def test_another_json_value_is_no_figure(value: Any) -> None:
    """Text is not guessed to be a number, and true is not 1."""
    assert whole_units(value) is None


@pytest.mark.parametrize("text", ["", ".", "1.", ".5", "1e", "+1", "1_000", "0x10", "NaN", "٣.٣"])
def test_a_number_that_json_does_not_know_is_none(text: str) -> None:
    """Even if such a text got that far."""
    assert whole_units(Number(text)) is None


@given(
    st.integers(0, 10**40),
    st.text("0123456789", max_size=45),
    st.none() | st.integers(-60, 60),
    st.booleans(),
)
def test_agrees_with_exact_fractions(
    integer: int, decimals: str, exponent: int | None, negative: bool
) -> None:
    """Any JSON number is taken exactly when it is whole, not negative, and 38 digits at most."""
    sign = "-" if negative else ""
    fraction = f".{decimals}" if decimals else ""
    power = "" if exponent is None else f"e{exponent}"
    value = Fraction(f"{sign}{integer}{fraction}{power}")
    is_amount = value.denominator == 1 and 0 <= value < 10**DIGITS_MAX
    found = whole_units(parse_json(f"{sign}{integer}{fraction}{power}".encode()))

    assert found == (int(value) if is_amount else None)


def test_a_long_figure_costs_no_long_time() -> None:
    """A million digits are refused without being made a number."""
    assert whole_units(Number("1" * 1_000_000 + ".0")) is None


def test_money_travels_as_a_string_of_digits() -> None:
    """10^18 wei does not survive a JSON number."""
    encoded = b'{"minor":"1000000000000000001","currency":"ETH","exponent":18}'

    assert encoded == msgspec.json.encode(Money("1000000000000000001", "ETH", 18))


@pytest.mark.parametrize("minor", ["", "1.0", "1e2", "+1", "--1", " 1", "1" * 39])
def test_minor_units_that_are_no_digits_are_refused(minor: str) -> None:
    """Whoever reads an event may trust the form."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"minor": minor, "currency": "ZAR", "exponent": 2}, Money)


@pytest.mark.parametrize("minor", ["0", "-900", "9" * 38])
def test_minor_units_may_be_negative_and_long(minor: str) -> None:
    """A minus sign and up to 38 digits."""
    read = msgspec.convert({"minor": minor, "currency": "ZAR", "exponent": None}, Money)

    assert Money(minor, "ZAR", None) == read
