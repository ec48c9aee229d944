"""A request that is read without the parser says the same to it: or it is left to the parser."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

import pytest
from aiohttp import HttpVersion11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from hookmill.ingress import plain

BODY = b'{"id":1}'
AT_US = 1_700_000_000_000_000
NAMES = [
    "Host",
    "content-type",
    "accept",
    "webhook-id",
    "X-Sig",
    "x-sig",
    "a_b",
    "connection",
    "upgrade",
]
VALUES = [
    "",
    "a",
    "a b",
    " a",
    "a ",
    "a\tb",
    "close",
    "keep-alive",
    "Keep-Alive",
    "é",
    "\0",
    "\x7f",
]

Read = tuple[str, tuple[tuple[str, str], ...], bytes]


def request(
    *headers: tuple[str, str], line: str = "POST /in/shop HTTP/1.1", body: bytes = BODY
) -> bytes:
    """A request with these headers."""
    lines = [line, "host: x", *(f"{name}:{value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def lower(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers with their names in lower case: the parser writes some of them in its own."""
    return tuple((name.lower(), value) for name, value in headers)


@pytest.fixture(scope="module")
def parsed() -> Iterator[Callable[[bytes], Read]]:
    """What aiohttp's own parser reads: exactly one request, whole and to be kept alive."""
    loop = asyncio.new_event_loop()

    def parse(data: bytes) -> Read:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
        ((message, payload),), upgraded, tail = parser.feed_data(data)
        assert (message.method, message.version) == ("POST", HttpVersion11)
        assert payload.is_eof()
        assert (message.should_close, message.upgrade, upgraded, tail) == (False, False, False, b"")
        return message.path, lower(message.headers.items()), payload.read_nowait()

    yield parse
    loop.close()


headers = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES))
lengths = st.sampled_from(["8", " 8", "8 ", "08", "+8", "7", "9", "0", "8, 8", "1e1", ""])
odd = st.sampled_from(
    [
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Content-Encoding", "gzip"),
        ("content-length", "8"),
        (" folded", "x"),
        ("name ", "x"),
        ("na me", "x"),
        ("", "x"),
    ]
)
requests = st.builds(
    lambda before, length, after, line, body: request(
        *before, ("Content-Length", length), *after, line=line, body=body
    ),
    st.lists(headers, max_size=3),
    lengths | st.just("8"),
    st.lists(headers | odd, max_size=2),
    st.sampled_from(
        ["POST /in/shop HTTP/1.1", "POST /in/shop?a=b#c HTTP/1.1", "POST  /in/shop HTTP/1.1",
         "GET /in/shop HTTP/1.1", "POST /in/shop HTTP/1.0", "POST http://x/in/shop HTTP/1.1",
         "POST /in/é HTTP/1.1", "POST /in/shop HTTP/1.1 ", "\r\nPOST /in/shop HTTP/1.1"]
    ) | st.just("POST /in/shop HTTP/1.1"),
    st.sampled_from([BODY, BODY[:-1], BODY + b"\r\n", b"", b"POST / H"]),
)  # fmt: skip


@given(requests)
@example(request(("Content-Length", " 8")))
@example(request(("Content-Length", "8"), ("connection", "Keep-Alive")))
def test_what_is_read_is_what_the_parser_reads(
    parsed: Callable[[bytes], Read], data: bytes
) -> None:
    found = plain.read(data, AT_US)
    if found is not None:
        path, delivery = found
        assert (path, lower(delivery.headers), delivery.body) == parsed(data)
        assert delivery.received_at_us == AT_US


@given(st.data())
def test_a_request_with_any_byte_changed_is_read_alike(
    parsed: Callable[[bytes], Read], data: st.DataObject
) -> None:
    raw = bytearray(request(("Content-Length", " 8"), ("Sig", "t=1, v1=ab")))
    for _ in range(data.draw(st.integers(1, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = plain.read(bytes(raw), AT_US)
    if found is not None:
        assert (found[0], lower(found[1].headers), found[1].body) == parsed(bytes(raw))


def test_a_plain_request_is_read() -> None:
    found = plain.read(request(("Content-Length", "8"), ("X-Sig", "\ty ;z")), AT_US)
    assert found is not None
    assert found[0] == "/in/shop"
    assert found[1].headers == (("host", "x"), ("Content-Length", "8"), ("X-Sig", "y ;z"))
    assert found[1].header("x-sig") == "y ;z"
    assert found[1].body == BODY


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(), id="no length"),
        pytest.param(request(("Content-Length", "8"))[:-1], id="a byte is missing"),
        pytest.param(request(("Content-Length", "8")) + b"P", id="a byte of the next request"),
        pytest.param(request(("Content-Length", "8"), ("Content-Length", "8")), id="two lengths"),
        pytest.param(request(("Content-Length", "8"), ("Connection", "close")), id="to be closed"),
        pytest.param(request(("Content-Length", "8"), ("X", "y"), ("x", "y")), id="a header twice"),
        pytest.param(request(("Content-Length", "8")).replace(b"host", b"nost"), id="no host"),
        pytest.param(request(("Content-Length", "8"), ("X", "é")), id="not ASCII"),
        pytest.param(
            request(("Content-Length", "8"), ("Transfer-Encoding", "chunked")), id="two framings"
        ),
        pytest.param(
            request(("Content-Length", "8"), ("X", "y" * plain.HEAD_BYTES_MAX)), id="a long line"
        ),
        pytest.param(
            request(("Content-Length", "8"), *((f"x{n}", "y") for n in range(plain.HEADERS_MAX))),
            id="many headers",
        ),
        pytest.param(request(("Content-Length", "8")).replace(b"\r\n", b"\n"), id="bare LF"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert plain.read(data, AT_US) is None
