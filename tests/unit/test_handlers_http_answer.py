"""What answers mean: every status has a place, every reason is one of few words."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers.http_address import AddressRefused
from hookmill.handlers.http_answer import (
    RETRY_AFTER_SECS_MAX,
    Service,
    of_error,
    of_status,
    retry_after_secs,
)

NOW_SECS = 1_800_000_000.0
KEY = ConnectionKey("shop.test", 443, True, True, None, None, None)


@given(st.integers(0, 999), st.none() | st.text(max_size=30))
def test_every_status_has_one_place(status: int, retry_after: str | None) -> None:
    """Only a 2xx is done; a service that works opens no breaker; no answer stops the queue."""
    verdict = of_status(status, retry_after=retry_after, now_secs=NOW_SECS)

    assert (verdict.answer is None) == (200 <= status < 300)
    assert verdict.service is Service.WORKS or isinstance(verdict.answer, Retry)
    if isinstance(verdict.answer, Retry):
        assert not verdict.answer.in_place
        assert 0 <= verdict.answer.after_secs <= RETRY_AFTER_SECS_MAX
    if verdict.answer is not None:
        assert re.fullmatch(r"http_([2-5]\d\d|redirect|malformed_answer)", verdict.answer.reason)


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_asks_for_quiet_is_out(status: int) -> None:
    """No event is the cause of that."""
    verdict = of_status(status, retry_after="30", now_secs=NOW_SECS)

    assert verdict.answer == Retry(f"http_{status}", after_secs=30)
    assert verdict.service is Service.OUT


@pytest.mark.parametrize("status", [200, 410, 500])
def test_retry_after_counts_only_where_quiet_is_asked_for(status: int) -> None:
    """Elsewhere nobody knows what it means."""
    verdict = of_status(status, retry_after="30", now_secs=NOW_SECS)

    assert verdict == of_status(status, retry_after=None, now_secs=NOW_SECS)


def test_a_dead_letter_says_it_in_words() -> None:
    """In ours: the service's own may hold anything."""
    gone = of_status(410, retry_after=None, now_secs=NOW_SECS).answer
    moved = of_status(308, retry_after=None, now_secs=NOW_SECS).answer
    odd = of_status(499, retry_after=None, now_secs=NOW_SECS).answer

    assert gone == DeadLetter("http_410", "answered 410 Gone")
    assert moved == DeadLetter(
        "http_redirect",
        "answered 308 Permanent Redirect: redirects are not followed; name the final address as "
        "url",
    )
    assert odd == DeadLetter("http_499", "answered 499")


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        (None, 0),
        ("0", 0),
        ("7", 7),
        ("0007", 7),
        ("3600", 3600),
        ("3601", RETRY_AFTER_SECS_MAX),
        ("9" * 5000, RETRY_AFTER_SECS_MAX),
        ("-1", 0),
        ("1.5", 0),
        ("٣", 0),
        ("", 0),
        ("tomorrow", 0),
        ("Sun, 31 Feb 2027 08:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10),
        ("Friday, 15-Jan-27 08:00:10 GMT", 10),
        ("Fri Jan 15 08:00:10 2027", 10),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 2100 08:00:00 GMT", RETRY_AFTER_SECS_MAX),
        ("Fri, 31 Dec 99999 08:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str | None, secs: float) -> None:
    """What cannot be read asks for nothing."""
    assert retry_after_secs(text, now_secs=NOW_SECS) == secs


@given(st.integers(-10_000, 3600))
def test_a_date_is_so_many_seconds_ahead(secs: int) -> None:
    """What lies behind us asks for nothing."""
    moment = datetime.fromtimestamp(NOW_SECS, UTC) + timedelta(seconds=secs)
    text = format_datetime(moment, usegmt=True)

    assert retry_after_secs(text, now_secs=NOW_SECS) == max(0, secs)


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    """It came from outside."""
    assert 0 <= retry_after_secs(text, now_secs=NOW_SECS) <= RETRY_AFTER_SECS_MAX


@pytest.mark.parametrize(
    ("error", "reason", "in_place"),
    [
        (TimeoutError(), "http_timeout", False),
        (aiohttp.ServerDisconnectedError(), "http_disconnected", False),
        (aiohttp.ClientOSError(104, "reset"), "http_disconnected", False),
        (aiohttp.ClientPayloadError(), "http_disconnected", False),
        (aiohttp.ConnectionTimeoutError(), "http_unreachable", True),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), "http_unreachable", True),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "no name")), "http_unresolved", True),
        (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "tls")), "http_tls_failed", True),
        (
            aiohttp.ClientConnectorCertificateError(KEY, Exception("expired")),
            "http_tls_failed",
            True,
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, AddressRefused(["::1"])),
            "http_address_refused",
            True,
        ),
        (aiohttp.ClientConnectorError(KEY, AddressRefused(["::1"])), "http_address_refused", True),
    ],
    ids=lambda each: type(each).__name__,
)
def test_before_anything_was_sent_an_event_waits_where_it_is(
    error: Exception, reason: str, in_place: bool
) -> None:
    """No attempt is counted for it; afterwards the event itself may be the cause."""
    verdict = of_error(error)

    assert verdict.answer == Retry(reason, in_place=in_place)
    assert verdict.service is (Service.OUT if in_place else Service.FAILS)
