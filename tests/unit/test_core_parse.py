"""JSON as it came: no digit is lost, and whatever is wrong with a body is one error."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.errors import UnparseableBody
from hookmill.core.parse import (
    DEPTH_MAX,
    Number,
    as_object,
    as_text,
    figure_text,
    parse_json,
    parse_object,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("text", ["900.0", "9e2", "1E+400", "-0.0", "0.1000000000000000055511"])
def test_a_number_with_a_point_or_an_exponent_stays_its_text(text: str) -> None:
    """No float is made of it: what was sent is what is kept."""
    assert Number(text) == parse_json(text.encode())


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b"18446744073709551616", 18_446_744_073_709_551_616),
        (b"-9223372036854775809", -9_223_372_036_854_775_809),
        (b"1000000000000000000000000000001", 1_000_000_000_000_000_000_000_000_000_001),
    ],
)
def test_integers_stay_exact_beyond_64_bits(body: bytes, value: int) -> None:
    """10^18 wei and far more come through digit by digit."""
    assert value == parse_json(body)


@given(JSON_VALUES)
def test_reads_what_the_standard_library_writes(value: Any) -> None:
    """Any JSON without fractions reads as the same value."""
    assert value == parse_json(json.dumps(value, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="truncated"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[-Infinity]", id="Infinity"),
        pytest.param(b"01", id="leading zero"),
        pytest.param(b'"a\nb"', id="raw line break in a string"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate in UTF-8"),
        pytest.param(b'"\\ud800x"', id="lone surrogate escaped"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbf{}", id="two byte order marks"),
        pytest.param(b"9" * 5000, id="integer of 5000 digits"),
        pytest.param(b"[" * 100_000, id="deeper than any stack"),
    ],
)
def test_whatever_is_wrong_is_one_error(body: bytes) -> None:
    """msgspec knows several; the stages know this one."""
    with pytest.raises(UnparseableBody):
        parse_json(body)


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """It parses, or it is unparseable."""
    with contextlib.suppress(UnparseableBody):
        parse_json(body)


def test_a_byte_order_mark_is_passed_over() -> None:
    """Some senders put one before their JSON."""
    assert parse_object(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_hundred_levels_are_taken_and_one_more_is_not(opening: bytes, closing: bytes) -> None:
    """The limit is ours, not the interpreter's stack."""
    core = b"[]"
    parse_json(opening * (DEPTH_MAX - 1) + core + closing * (DEPTH_MAX - 1))

    assert DEPTH_MAX == 100
    with pytest.raises(UnparseableBody, match="nested deeper than 100"):
        parse_json(opening * DEPTH_MAX + core + closing * DEPTH_MAX)


def test_the_shortest_levels_are_counted_too() -> None:
    """Five bytes each, and no list that would give them away."""
    opening, closing = b'{"":', b"}"
    parse_json(opening * (DEPTH_MAX - 1) + b"{}" + closing * (DEPTH_MAX - 1))

    with pytest.raises(UnparseableBody, match="nested deeper than 100"):
        parse_json(opening * DEPTH_MAX + b"{}" + closing * DEPTH_MAX)


def test_brackets_side_by_side_or_in_text_are_no_depth() -> None:
    """Only nesting counts, however many brackets a body has."""
    assert parse_json(b"[" + b",".join([b"[]"] * 500) + b"]") == [[]] * 500
    assert parse_json(b'["' + b"{[" * 500 + b'"]') == ["{[" * 500]


@pytest.mark.parametrize(
    ("body", "word"), [(b"[]", "list"), (b'"a"', "str"), (b"1", "int"), (b"null", "NoneType")]
)
def test_another_value_than_an_object_is_unparseable(body: bytes, word: str) -> None:
    """A delivery is an object; the error says what came instead."""
    with pytest.raises(UnparseableBody, match=f"a JSON {word}, not an object"):
        parse_object(body)


def test_the_error_does_not_quote_the_body() -> None:
    """What it says ends in a log; what was sent does not."""
    with pytest.raises(UnparseableBody) as refused:
        parse_json(b'{"card": "4111111111111111"')

    assert "4111" not in str(refused.value)


@pytest.mark.parametrize("value", [None, [], [{}], "a", 1, True, Number("1.5")])
def test_as_object_makes_nothing_of_other_values(value: Any) -> None:
    """A missing or odd part reads as an empty object."""
    assert as_object(value) == {}


def test_as_object_gives_the_object_itself() -> None:
    """An object is not copied."""
    value = {"a": 1}

    assert value is as_object(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" ", " "),
        ("", None),
        (0, "0"),
        (-7, "-7"),
        (10**40, "1" + "0" * 40),
        (True, None),
        (False, None),
        (None, None),
        ([], None),
        ({"a": 1}, None),
        (Number("1.5"), None),
    ],
)
def test_as_text_takes_strings_and_integers_only(value: Any, text: str | None) -> None:
    """An id may come as a number; true and 1.5 are no ids."""
    assert text == as_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Number("9.00e2"), "9.00e2"),
        (900, "900"),
        ("900,00", "900,00"),
        ("", None),
        (True, None),
        (None, None),
    ],
)
def test_figure_text_is_the_figure_as_it_was_sent(value: Any, text: str | None) -> None:
    """People see the provider's own figure, whatever its form."""
    assert text == figure_text(value)


def test_numbers_are_equal_by_their_text() -> None:
    """1.0 and 1.00 were not sent alike, so they are not alike."""
    assert Number("1.0") == Number("1.0")
    assert {Number("1.0")} == {Number("1.0"), Number("1.0")}
    assert Number("1.0") != Number("1.00")
    assert Number("1.0") != "1.0"
    assert repr(Number("1.0")) == "Number('1.0')"
