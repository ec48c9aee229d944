"""Reads a plain delivery without a parser: whole in one read, and nothing odd about it.

Taken is only what every HTTP parser reads in the same way: ASCII, a `Host`, a `Content-Length` that
is right, no header twice, no transfer or content coding, nothing asked of the connection but to
keep it. All else is left to aiohttp's parser: it and the making of a delivery from its request took
25 µs where this takes 10, of some 170 in all.
"""

import re

from hookmill.core.delivery import Delivery

HEAD_BYTES_MAX = 8190
HEADERS_MAX = 128
"""As aiohttp's: of a line's bytes, and of the number of headers."""

_HEAD = re.compile(
    rb"POST (/[!-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~]*+\r\n)++)"
    rb"\r\n"
)
"""RFC 9112, sections 3 and 5, without what is obsolete; token as in RFC 9110, section 5.6.2."""
_HEADER = re.compile(r"([^:]++):[\t ]*+([^\r]*+)\r\n")
_ODD = frozenset(
    {"content-encoding", "expect", "sec-websocket-key1", "transfer-encoding", "upgrade"}
)


def read(data: bytes, received_at_us: int) -> tuple[str, Delivery] | None:
    """The path and the delivery, if the data is one plain request and no byte more or less."""
    head = _HEAD.match(data)
    if head is None or head.end() > HEAD_BYTES_MAX:
        return None
    lines = head[2].decode("ascii")
    if " \r" in lines or "\t\r" in lines:  # blanks behind a value are none of it
        return None
    headers = tuple(_HEADER.findall(lines))
    delivery = Delivery(headers, data[head.end() :], received_at_us)
    sent = delivery.headers_by_name()
    if len(sent) != len(headers) or len(headers) > HEADERS_MAX:
        return None
    if "host" not in sent or not _ODD.isdisjoint(sent):
        return None
    if sent.get("content-length") != [str(len(delivery.body))]:
        return None
    if "connection" in sent and sent["connection"][0].lower() != "keep-alive":
        return None
    return head[1].decode("ascii"), delivery
