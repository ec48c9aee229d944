"""What a service's answer, or its silence, means for the event: pure, one table.

| what came                                        | the event             | the service   |
|--------------------------------------------------|-----------------------|---------------|
| 2xx                                              | is done               | works         |
| 3xx                                              | dead letter           | works         |
| 409, 423, 425: not now, about this event         | tried again           | works         |
| 401, 403, 407: it does not know us               | tried again           | fails         |
| 408, 421, 5xx, a cut connection, a time-out      | tried again           | fails         |
| 429, 503: asks for quiet, perhaps by Retry-After | tried again, not soon | is out        |
| every other 4xx, 410 among them                  | dead letter           | works         |
| no connection at all, a refused address          | waits where it is     | is out        |

A service that fails again and again opens the circuit breaker. Of one that is out it is certain
that the event is not the cause.
"""

import enum
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
import msgspec

from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers.api import Answer
from hookmill.handlers.http_address import AddressRefused

RETRY_AFTER_SECS_MAX = 3600.0

_LATER = frozenset({409, 423, 425})
_UNKNOWN_TO_IT = frozenset({401, 403, 407})
_FAILING = frozenset({408, 421})
_QUIET = frozenset({429, 503})


class Service(enum.Enum):
    """What an attempt showed of the service."""

    WORKS = "works"
    FAILS = "fails"
    OUT = "out"


class Verdict(msgspec.Struct, frozen=True):
    """The handler's answer, the metric's word for it, and what it shows of the service."""

    outcome: str
    answer: Answer
    service: Service


def of_status(status: int, *, retry_after: str | None, now_secs: float) -> Verdict:
    """Judge an answer by its status; `retry_after` is that header, `now_secs` the epoch's."""
    reason = f"http_{status}"
    if 200 <= status < 300:
        return Verdict("delivered", None, Service.WORKS)
    if not 200 <= status < 600:
        return Verdict("malformed", Retry("http_malformed_answer"), Service.FAILS)
    if status in _QUIET:
        wait_secs = retry_after_secs(retry_after, now_secs=now_secs)
        return Verdict("failed", Retry(reason, after_secs=wait_secs), Service.OUT)
    if status >= 500 or status in _FAILING or status in _UNKNOWN_TO_IT:
        return Verdict("failed", Retry(reason), Service.FAILS)
    if status in _LATER:
        return Verdict("failed", Retry(reason), Service.WORKS)
    if 300 <= status < 400:
        detail = f"{_spoken(status)}: redirects are not followed; name the final address as url"
        return Verdict("redirected", DeadLetter("http_redirect", detail), Service.WORKS)
    return Verdict("rejected", DeadLetter(reason, _spoken(status)), Service.WORKS)


def of_error(error: Exception) -> Verdict:
    """Judge what the client raised: an aiohttp.ClientError or a TimeoutError."""
    match error:
        case aiohttp.ClientConnectorError(os_error=AddressRefused()):
            return _out("address_refused")
        case aiohttp.ClientConnectorDNSError():
            return _out("unresolved")
        case aiohttp.ClientSSLError():
            return _out("tls_failed")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return _out("unreachable")
        case TimeoutError():
            return Verdict("timeout", Retry("http_timeout"), Service.FAILS)
        case aiohttp.ClientResponseError():
            return Verdict("malformed", Retry("http_malformed_answer"), Service.FAILS)
        case _:
            return Verdict("disconnected", Retry("http_disconnected"), Service.FAILS)


def retry_after_secs(text: str | None, *, now_secs: float) -> float:
    """How long a `Retry-After` asks to wait, at most an hour; 0 where it cannot be read.

    Source: RFC 9110, section 10.2.3: seconds, or a date in one of three forms.
    """
    if text is None:
        return 0.0
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0")
        return RETRY_AFTER_SECS_MAX if len(digits) > 4 else _capped(float(digits or "0"))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _capped((moment - datetime.fromtimestamp(now_secs, UTC)).total_seconds())


def _capped(secs: float) -> float:
    return min(RETRY_AFTER_SECS_MAX, max(0.0, secs))


def _out(outcome: str) -> Verdict:
    return Verdict(outcome, Retry(f"http_{outcome}", in_place=True), Service.OUT)


def _spoken(status: int) -> str:
    """Our words for it; the service's own reason phrase may hold anything."""
    try:
        return f"answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"answered {status}"
