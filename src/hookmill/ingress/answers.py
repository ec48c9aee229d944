"""Every answer there is: a reason code becomes a status, a body and its headers."""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from hookmill.core.errors import Reason
from hookmill.providers.pack import Answer

RETRY_AFTER_SECS = 1

STATUS: dict[Reason, int] = {
    Reason.MALFORMED_ENVELOPE: 400,
    Reason.SIGNATURE_MISSING: 401,
    Reason.SIGNATURE_INVALID: 401,
    Reason.TIMESTAMP_MISSING: 401,
    Reason.TIMESTAMP_OUT_OF_TOLERANCE: 401,
    Reason.TOKEN_INVALID: 401,
    Reason.TOKEN_ALGORITHM: 401,
    Reason.SECRET_INVALID: 401,
    Reason.UNKNOWN_ENDPOINT: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.BODY_TOO_LARGE: 413,
    Reason.UNSUPPORTED_MEDIA_TYPE: 415,
    Reason.TOO_MANY_REQUESTS: 429,
    Reason.BROKER_UNAVAILABLE: 503,
    Reason.DRAINING: 503,
}

_BODIES = {reason: msgspec.json.encode({"error": reason.value}) for reason in Reason}
_JSON = "application/json"
SERVER = "hookmill"
DELIVERY_HEADER = "x-hookmill-delivery"

BAD_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: %s\r\nserver: %s\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
) % (
    _JSON.encode(),
    SERVER.encode(),
    len(_BODIES[Reason.MALFORMED_ENVELOPE]),
    _BODIES[Reason.MALFORMED_ENVELOPE],
)
"""The whole answer where there is no request yet that aiohttp could answer."""


def refused(
    reason: Reason, *, statuses: Mapping[Reason, int] = {}, methods: str = "POST"
) -> web.Response:
    """The answer to a delivery that is not taken; `statuses` are those that a provider demands."""
    status = statuses.get(reason, STATUS[reason])
    headers = {"content-type": _JSON, "server": SERVER}
    if status in (429, 503):
        headers["retry-after"] = str(RETRY_AFTER_SECS)
    if reason is Reason.METHOD_NOT_ALLOWED:
        headers["allow"] = methods
    response = web.Response(status=status, body=_BODIES[reason], headers=headers)
    if reason in (Reason.BODY_TOO_LARGE, Reason.DRAINING):
        response.force_close()
    return response


def accepted(delivery_id: str, answer: Answer | None = None) -> web.Response:
    """The answer to a delivery that is kept, in the provider's own words where it has some."""
    if answer is not None:
        response = in_their_words(answer)
        response.headers[DELIVERY_HEADER] = delivery_id
        return response
    body = b'{"status":"accepted","delivery":"%s"}' % delivery_id.encode()
    return web.Response(
        body=body, headers={"content-type": _JSON, "server": SERVER, DELIVERY_HEADER: delivery_id}
    )


def in_their_words(answer: Answer) -> web.Response:
    """An answer that the provider demands."""
    return web.Response(
        status=answer.status,
        body=answer.body.encode(),
        headers={"content-type": answer.content_type, "server": SERVER},
    )
