"""Times: one form on the wire, and None for what is no time."""

import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.times import Timestamp, from_epoch_us, from_rfc3339, to_epoch_us

FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
YEAR_1_US = -62_135_596_800_000_000
YEAR_10000_US = 253_402_300_800_000_000


@pytest.mark.parametrize(
    ("epoch_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_718_466_715_260_284, "2024-06-15T15:51:55.260284Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (YEAR_10000_US - 1, "9999-12-31T23:59:59.999999Z"),
        (YEAR_1_US, "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_epoch_microseconds_become_rfc_3339(epoch_us: int, text: str) -> None:
    """Always UTC, always six decimals, always four digits of year."""
    assert text == from_epoch_us(epoch_us)


@pytest.mark.parametrize("epoch_us", [YEAR_10000_US, YEAR_1_US - 1, 10**30, -(10**400)])
def test_a_day_that_no_calendar_has_is_none(epoch_us: int) -> None:
    """A provider's figure may be anything; it never raises."""
    assert from_epoch_us(epoch_us) is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("2024-06-15T15:51:55.260284Z", "2024-06-15T15:51:55.260284Z"),
        ("2024-06-15T15:51:55Z", "2024-06-15T15:51:55.000000Z"),
        ("2024-06-15t15:51:55z", "2024-06-15T15:51:55.000000Z"),
        ("2024-06-15 15:51:55.5Z", "2024-06-15T15:51:55.500000Z"),
        ("2024-06-15T17:51:55+02:00", "2024-06-15T15:51:55.000000Z"),
        ("2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00.000000Z"),
        ("2024-06-15T15:51:55.123456999Z", "2024-06-15T15:51:55.123456Z"),
        ("2024-06-15T15:51:55-00:00", "2024-06-15T15:51:55.000000Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00.000000Z"),
    ],
)
def test_a_providers_time_becomes_ours(theirs: str, ours: str) -> None:
    """Offsets become UTC; digits beyond microseconds are cut, never rounded."""
    assert ours == from_rfc3339(theirs)


@pytest.mark.parametrize(
    "text",
    [
        None,
        1_718_466_715,
        "",
        "2024-06-15",
        "2024-06-15T15:51:55",
        "2024-06-15T15:51:55.Z",
        "2024-06-15T15:51Z",
        "2024-02-30T00:00:00Z",
        "2024-06-15T24:00:00Z",
        "2024-06-15T23:59:60Z",
        "2024-06-15T15:51:55+24:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٤-06-15T15:51:55Z",
        "2024-06-15T15:51:55Z\n",
        "Sat, 15 Jun 2024 15:51:55 GMT",
    ],
)
def test_what_is_no_rfc_3339_time_is_none(text: object) -> None:
    """A time without a zone is a guess, and guesses are not kept."""
    assert from_rfc3339(text) is None
    assert not isinstance(text, str) or to_epoch_us(text) is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_has_the_one_form(moment: datetime) -> None:
    """What we write we read back unchanged, from year 1 to 9999."""
    ours = from_rfc3339(moment.isoformat())

    assert ours is not None
    assert FORM.fullmatch(ours)
    assert ours == from_rfc3339(ours)
    assert ours == msgspec.convert(ours, Timestamp)


@given(st.integers(YEAR_1_US, YEAR_10000_US - 1))
def test_every_epoch_time_has_the_one_form(epoch_us: int) -> None:
    """Both ways of making a time agree."""
    text = from_epoch_us(epoch_us)

    assert text is not None
    assert text == from_rfc3339(text)
    assert epoch_us == to_epoch_us(text)


@pytest.mark.parametrize("text", ["2024-06-15T15:51:55Z", "2024-06-15T15:51:55.260284+00:00"])
def test_another_form_has_no_place_in_an_event(text: str) -> None:
    """One form, so that texts sort as times do."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Timestamp)
