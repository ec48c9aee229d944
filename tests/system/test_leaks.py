"""What must not be told: everything that a run wrote at log level debug is searched for it."""

import http.client
import socket
import urllib.request

import pytest

from support.program import Program, echezona, headers_of, pay3, rehive, yoco

pytestmark = pytest.mark.broker

CARD = "4111111111111111"
HOLDER = "Thandeka-Q-Holder"
QUERY = "token-in-the-query-7f3a"
CREDENTIAL = "bearer-credential-91bc"
COOKIE = "cookie-value-c0ffee"
FIELD = "field-that-is-no-header-55"
MARKS = (CARD, HOLDER, QUERY, CREDENTIAL, COOKIE, FIELD)


def raw(program: Program, request: bytes) -> bytes:
    """What the public port answers to these very bytes."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=20) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return str(answer.status).encode() + str(answer.getheaders()).encode() + answer.read()


def hostile_requests() -> list[bytes]:
    """Marks in every place that a server might repeat."""
    body = f'{{"card":"{CARD}","holder":"{HOLDER}"}}'.encode()
    size = f"content-length: {len(body)}\r\n"
    post = "POST /webhooks/shop HTTP/1.1\r\nhost: x\r\n"
    heads = [
        f"{post}{size}authorization: Bearer {CREDENTIAL}\r\ncookie: {COOKIE}\r\n\r\n",
        f"POST /webhooks/shop?key={QUERY} HTTP/1.1\r\nhost: x\r\n{size}\r\n",
        f"POST /webhooks/{QUERY} HTTP/1.1\r\nhost: {FIELD}\r\n{size}\r\n",
        f"POST /webhooks/crypto HTTP/1.1\r\nhost: x\r\n{size}\r\n",
        f"{post}{FIELD}\r\n\r\n",
        f"{CREDENTIAL} / HTTP/1.1\r\n\r\n",
        f"{post}x: {COOKIE * 2000}\r\n\r\n",
        f"{post}content-length: {FIELD}\r\n\r\n",
        f"{post}transfer-encoding: chunked\r\n\r\n{FIELD}\r\n",
        f"{post}content-length: 99999999\r\n\r\n",
        f"{post}content-encoding: {FIELD}\r\n{size}\r\n",
    ]
    return [head.encode() + body for head in heads]


def test_no_log_metric_or_answer_tells_what_a_request_held(program: Program) -> None:
    """Card data, tokens, cookies, queries and bodies stay where they belong, at any log level."""
    program.environ["HOOKMILL_LOG__LEVEL"] = "debug"
    up = program.start("up")
    program.until(program.ready)
    told = b""
    for make in (yoco, rehive, pay3, echezona):
        endpoint, body, headers = make(1)
        marked = {**headers, "cookie": COOKIE, "x-extra": CREDENTIAL}
        told += str(program.post(endpoint, body, marked)).encode()
        told += str(program.post(endpoint, body + CARD.encode(), marked)).encode()
    endpoint, body, headers = rehive(2)
    broken = body[:-1] + f', "card": "{CARD}", "holder": "{HOLDER}"'.encode()
    told += str(program.post(endpoint, broken, headers)).encode()
    for request in hostile_requests():
        told += raw(program, request)
    program.until(lambda: len(program.read("normalize-dlq")) >= 1)
    program.until(lambda: len(program.read("events-normalized")) >= 4)
    with urllib.request.urlopen(f"http://127.0.0.1:{program.admin_port}/metrics") as page:
        told += page.read()
    up.terminate()
    up.wait(60)
    for log in program.folder.rglob("*.log"):
        told += log.read_bytes()

    assert b"delivery_accepted" in told, "the logs were not at debug"
    for mark in MARKS:
        assert mark.encode() not in told, mark
    for topic in ("webhooks-rejected", "normalize-dlq"):
        for message in program.read(topic):
            kept = str(headers_of(message))
            assert not [mark for mark in MARKS if mark in kept], topic
