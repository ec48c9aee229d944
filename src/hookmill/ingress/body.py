"""Reads a body while it streams, counting: chunked bodies too, never more than the limit."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from hookmill.core.errors import Reason, Refused

DRAIN_BYTES_MAX = 8 * 1024 * 1024
DRAIN_SECS_MAX = 2.0


class BodyIncomplete(Exception):
    """The client went away, was too slow, or broke the framing: nobody waits for an answer."""


async def read_body(
    request: web.BaseRequest, *, bytes_max: int, timeout_secs: float, hold: Callable[[int], None]
) -> bytes:
    """The exact bytes of the body. `hold` is told of every chunk and may refuse.

    Raises Refused with `body_too_large` as soon as it is, BodyIncomplete if it never ends.
    """
    if request.content_length is not None and request.content_length > bytes_max:
        raise Refused(Reason.BODY_TOO_LARGE)
    await _continue(request)
    body = bytearray()  # not a list: many tiny chunks would weigh many times what they hold
    with _reading():
        async with asyncio.timeout(timeout_secs):
            async for chunk in request.content.iter_any():
                if len(body) + len(chunk) > bytes_max:
                    raise Refused(Reason.BODY_TOO_LARGE)
                hold(len(chunk))
                body += chunk
    return bytes(body)


async def drain(request: web.BaseRequest) -> None:
    """Read the rest of a refused body, bounded, so that the client gets to read the answer."""
    if _waits(request):
        return  # it sends nothing before it has an answer
    left = DRAIN_BYTES_MAX
    with contextlib.suppress(BodyIncomplete), _reading():
        async with asyncio.timeout(DRAIN_SECS_MAX):
            async for chunk in request.content.iter_any():
                left -= len(chunk)
                if left < 0:
                    return


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Raises BodyIncomplete, whatever it is that ends a body.

    The request keeps its error, and that would keep the call that reads, with all that has come: a
    cycle, freed only when garbage is collected.
    """
    try:
        yield
    except (TimeoutError, ConnectionError, HttpProcessingError, web.HTTPException) as error:
        error.__traceback__ = None
        raise BodyIncomplete(type(error).__name__) from None


async def _continue(request: web.BaseRequest) -> None:
    """Send the 100 that a client with `Expect` waits for; the low-level server sends none."""
    if _waits(request) and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _waits(request: web.BaseRequest) -> bool:
    """Whether the client sends its body only once it is asked to; HTTP/1.0 knows no 100."""
    expects = request.headers.get("expect", "").lower() == "100-continue"
    return expects and request.version >= HttpVersion11
