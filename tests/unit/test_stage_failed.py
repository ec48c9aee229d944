"""A dead letter: the record as it was, and why, where and when it was set aside."""

import pytest

from hookmill.core.record import Headers, Output, Record
from hookmill.stages.failed import DETAIL_CHARS_MAX, dead_letter, retry

CAME: Headers = (("hm-delivery", b"d-1"), ("hm-signed", b"{}"), ("hm-signed", b"[]"))


def letter(detail: str = "no endpoint 'gone'", *, headers: Headers = CAME) -> Output:
    """A record of normalize's input that was set aside."""
    record = Record("eu-webhooks-unique", 3, 42, 1_700_000_000_000, b"k", b"\xff{}", headers)
    return dead_letter(
        record,
        topic="normalize-dlq",
        part="normalize",
        reason="unknown_endpoint",
        detail=detail,
        attempt=1,
        at_us=1_700_000_000_123_456,
    )


def test_the_record_is_as_it_was_plus_the_error_headers() -> None:
    """Key, value and every header, then these eight."""
    assert letter() == Output(
        "normalize-dlq",
        b"k",
        b"\xff{}",
        (
            *CAME,
            ("hm-error-reason", b"unknown_endpoint"),
            ("hm-error-detail", b"no endpoint 'gone'"),
            ("hm-error-stage", b"normalize"),
            ("hm-error-topic", b"eu-webhooks-unique"),
            ("hm-error-partition", b"3"),
            ("hm-error-offset", b"42"),
            ("hm-error-at", b"1700000000123456"),
            ("hm-attempt", b"1"),
        ),
    )


def test_the_headers_of_an_earlier_failure_are_replaced() -> None:
    """A record that was sent again and failed again tells of the last failure only."""
    again = letter(headers=(("hm-error-reason", b"old"), ("hm-redrives", b"1"), *CAME))
    names = [name for name, _ in again.headers]

    assert dict(again.headers)["hm-error-reason"] == b"unknown_endpoint"
    assert names.count("hm-error-reason") == 1
    assert dict(again.headers)["hm-redrives"] == b"1"


def test_the_detail_is_capped() -> None:
    """An error's text can be a whole document."""
    detail = dict(letter("ü" * 5000).headers)["hm-error-detail"]

    assert detail.decode() == "ü" * DETAIL_CHARS_MAX
    assert DETAIL_CHARS_MAX == 1000


@pytest.mark.parametrize("detail", ["", "two\nlines", "\x00", "file '\udcff' is missing"])
def test_any_text_of_an_error_can_be_set_aside(detail: str) -> None:
    """A text that no header takes must not stop the partition for ever."""
    assert letter(detail).key == b"k"


def waits(*, topic: str = "handler-a", offset: int = 7, headers: Headers = CAME) -> Output:
    """An event that failed once and waits for half a minute."""
    record = Record(topic, 3, offset, 1_700_000_000_000, b"k", b"{}", headers)
    return retry(
        record,
        topic="handler-a-retry-30",
        part="handler-a",
        reason="http_503",
        detail="",
        attempt=1,
        at_us=1_700_000_000_123_456,
        not_before_ms=1_700_000_030_123,
    )


def test_what_waits_says_until_when() -> None:
    """Beside why and how often it failed."""
    headers = dict(waits().headers)

    assert headers["hm-not-before"] == b"1700000030123"
    assert (headers["hm-attempt"], headers["hm-error-reason"]) == (b"1", b"http_503")


def test_what_failed_again_still_names_its_place_in_the_queue() -> None:
    """Where it lay in a retry topic helps nobody to find it."""
    again = waits(topic="handler-a-retry-30", offset=99, headers=waits().headers)
    headers = dict(again.headers)

    assert headers["hm-error-topic"] == b"handler-a"
    assert headers["hm-error-offset"] == b"7"
    assert [name for name, _ in again.headers].count("hm-not-before") == 1


def test_a_dead_letter_waits_for_nothing() -> None:
    """Whatever it waited for before."""
    assert "hm-not-before" not in dict(letter(headers=waits().headers).headers)
