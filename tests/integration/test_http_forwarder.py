"""The HTTP forwarder against real services: signed, bounded, and only to where it may."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiohttp import web
from prometheus_client import generate_latest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from structlog.testing import capture_logs

from hookmill import __version__
from hookmill.config import watched
from hookmill.config.options import SecretSource
from hookmill.core.errors import ConfigurationError
from hookmill.core.event import decode, encode
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers import http
from hookmill.handlers.api import Answer
from hookmill.handlers.breaker import FAILURES_TO_OPEN, PAUSE_SECS_FIRST
from hookmill.handlers.http import HttpHandler, destination
from hookmill.handlers.http_answer import RETRY_AFTER_SECS_MAX
from hookmill.telemetry.catalog import REGISTRY
from support.brokers import until
from support.ports import free_port
from support.receivers import (
    SECRET,
    Names,
    Service,
    context,
    event,
    forwarding,
    now_us,
    options,
    raw_service,
    read_request,
    serving,
    write,
)

OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
OPEN = Retry("http_breaker_open", in_place=True)


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service that answers 204."""
    async with serving() as running:
        yield running


async def sent(handler: HttpHandler, number: int = 1, *, deadline_secs: float = 10.0) -> Answer:
    """What the handler answers for an event."""
    return await handler.handle(event(number), context(deadline_secs))


def counted(outcome: str) -> float:
    """How many requests had that outcome so far."""
    labels = {"handler": "shop", "outcome": outcome}
    return REGISTRY.get_sample_value("hookmill_http_requests_total", labels) or 0.0


async def test_a_service_gets_the_event_signed(service: Service) -> None:
    """Its exact JSON, verified by the receiver's own library; the id is the event's."""
    async with forwarding(service.url) as handler:
        assert await sent(handler) is None
    (request,) = service.received

    assert request.body == encode(event())
    assert Webhook(SECRET).verify(request.body, request.headers) == json.loads(encode(event()))
    assert request.headers["webhook-id"] == event().id
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"hookmill/{__version__}"
    assert "accept-encoding" not in request.headers
    assert "traceparent" not in request.headers


async def test_a_service_can_continue_the_trace(service: Service) -> None:
    """It is handed what the handler was."""
    traced = msgspec.structs.replace(
        context(), traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    )
    async with forwarding(service.url) as handler:
        assert await handler.handle(event(), traced) is None
    (request,) = service.received

    assert request.headers["traceparent"] == traced.traceparent


async def test_a_changed_body_does_not_verify(service: Service) -> None:
    """Else the signature would prove nothing."""
    async with forwarding(service.url) as handler:
        await sent(handler)
    (request,) = service.received
    changed = request.body.replace(b"succeeded", b"failed___")

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(changed, request.headers)


async def test_a_retry_has_the_same_id_and_a_time_of_its_own(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is what the receiver is idempotent by; an old time would be refused."""
    service.will(500, 204)
    async with forwarding(service.url) as handler:
        first = await sent(handler)
        monkeypatch.setattr(handler, "_now_us", lambda: now_us() + 60_000_000)
        second = await sent(handler)
    one, other = (each.headers for each in service.received)

    assert (first, second) == (Retry("http_500"), None)
    assert one["webhook-id"] == other["webhook-id"]
    assert 59 <= int(other["webhook-timestamp"]) - int(one["webhook-timestamp"]) <= 70
    assert Webhook(SECRET).verify(service.received[1].body, other)


async def test_a_large_event_is_sent_whole(service: Service) -> None:
    """More than a mebibyte, without a warning of the client's."""
    large = event(metadata={"note": "x" * 3_000_000})
    async with forwarding(service.url) as handler:
        assert await handler.handle(large, context()) is None

    assert service.received[0].body == encode(large)


async def test_what_the_metadata_held_arrives_digit_for_digit(service: Service) -> None:
    """A number is the text that it was sent as."""
    exact = b'{"big":123456789012345678901234567890,"exact":0.10}'
    value = encode(event(metadata={})).replace(b'"metadata":{}', b'"metadata":' + exact)
    async with forwarding(service.url) as handler:
        assert await handler.handle(decode(value), context()) is None

    assert service.received[0].body == value


async def test_several_secrets_sign_each_and_a_file_is_read_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotation without a gap: old and new verify while both are live, then only the new one."""
    monkeypatch.setattr(watched, "CHECK_EVERY_SECS", 0.0)
    file = write(tmp_path / "secret", SECRET + "\n")
    sources = (SecretSource(name="new", file=str(file)), SecretSource(name="old", value=SECRET))
    async with forwarding(service.url, secrets=sources) as handler:
        await sent(handler)
        write(file, OTHER_SECRET)
        await sent(handler)
        write(file, "no secret of the standard")
        with capture_logs() as lines:
            await sent(handler)
    before, after, kept = service.received

    assert before.headers["webhook-signature"].count("v1,") == 2
    for each in (after, kept):
        assert Webhook(SECRET).verify(each.body, each.headers)
        assert Webhook(OTHER_SECRET).verify(each.body, each.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(before.body, before.headers)
    assert [each["event"] for each in lines] == ["file_unreadable"]
    assert "of the standard" not in str(lines)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, None),
        (202, None),
        (204, None),
        (299, None),
        (301, "http_redirect"),
        (302, "http_redirect"),
        (304, "http_redirect"),
        (307, "http_redirect"),
        (308, "http_redirect"),
        (400, "http_400"),
        (401, Retry("http_401")),
        (403, Retry("http_403")),
        (404, "http_404"),
        (405, "http_405"),
        (408, Retry("http_408")),
        (409, Retry("http_409")),
        (410, "http_410"),
        (413, "http_413"),
        (415, "http_415"),
        (422, "http_422"),
        (425, Retry("http_425")),
        (429, Retry("http_429")),
        (499, "http_499"),
        (500, Retry("http_500")),
        (502, Retry("http_502")),
        (503, Retry("http_503")),
        (504, Retry("http_504")),
    ],
)
async def test_what_an_answer_does(service: Service, status: int, answer: Any) -> None:
    """One request each, whatever it says; a redirect leads nowhere."""
    service.will(status, Location=service.by_name("127.0.0.1"))
    async with forwarding(service.url) as handler:
        found = await sent(handler)

    assert len(service.received) == 1
    if isinstance(answer, str):
        assert isinstance(found, DeadLetter)
        assert found.reason == answer
        assert str(status) in found.detail
    else:
        assert found == answer


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("999999999", RETRY_AFTER_SECS_MAX, RETRY_AFTER_SECS_MAX),
        (("date", 300), 295, 300),
        (("date", -300), 0, 0),
        (("date", 10**6), RETRY_AFTER_SECS_MAX, RETRY_AFTER_SECS_MAX),
        ("soon", 0, 0),
    ],
)
async def test_a_service_says_when_to_come_again(
    service: Service, status: int, said: Any, least: float, most: float
) -> None:
    """In seconds or by a date; never longer than the limit."""
    text = said if isinstance(said, str) else formatdate(time.time() + said[1], usegmt=True)
    service.will(status, Retry_After=text)
    async with forwarding(service.url) as handler:
        answer = await sent(handler)

    assert isinstance(answer, Retry)
    assert answer.reason == f"http_{status}"
    assert not answer.in_place
    assert least <= answer.after_secs <= most


async def test_connections_are_kept(service: Service) -> None:
    """A handshake for each event would cost more than the event; bodies are read to their end."""
    service.answers = [_answering_with(b"x" * 10_000)]
    async with forwarding(service.url) as handler:
        assert [await sent(handler, n) for n in range(5)] == [None] * 5

    assert len({each.peer for each in service.received}) == 1


async def test_no_more_requests_than_allowed_are_in_flight(service: Service) -> None:
    """Though more events are handled at once; those that find no slot in time wait in place."""
    release, most = asyncio.Event(), 0

    async def waiting() -> web.Response:
        nonlocal most
        most = max(most, len(service.received))
        await release.wait()
        return web.Response()

    service.answers = [waiting]
    async with forwarding(service.url, requests_in_flight_max=2) as handler:
        tasks = [asyncio.ensure_future(sent(handler, n)) for n in range(4)]
        await until(lambda: len(service.received) == 2, timeout_secs=10)
        late = await sent(handler, 5, deadline_secs=0.1)
        assert most == 2
        release.set()

        assert await asyncio.gather(*tasks) == [None] * 4
    assert late == Retry("http_busy", in_place=True)
    assert len(service.received) == 4


async def test_a_slow_service_is_given_up_within_the_deadline(service: Service) -> None:
    """The attempt counts: the event may be why it hangs."""
    never = asyncio.Event()

    async def hang() -> web.Response:
        await never.wait()
        return web.Response()

    service.answers = [hang]
    async with forwarding(service.url) as handler:
        began = time.perf_counter()
        answer = await sent(handler, deadline_secs=2.0)
        took_secs = time.perf_counter() - began

    assert answer == Retry("http_timeout")
    assert took_secs < 2.0
    never.set()


async def test_a_slow_answer_body_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status came; what follows drop by drop is not waited for."""
    monkeypatch.setattr(http, "ANSWER_SECS_MAX", 0.1)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_service(drip) as url, forwarding(url) as handler:
        began = time.perf_counter()
        assert await sent(handler, deadline_secs=60.0) is None

        assert time.perf_counter() - began < 10


async def test_a_huge_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed when enough was seen."""
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    async with raw_service(flood) as url, forwarding(url) as handler:
        assert await sent(handler) is None

    assert written < 50_000_000  # what the sockets of both sides hold


async def test_endless_headers_are_cut_off() -> None:
    """Whatever a service sends, memory is bounded."""
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
            await writer.drain()
            written += 1000

    async with raw_service(flood) as url, forwarding(url) as handler:
        assert await sent(handler) == Retry("http_malformed_answer")

    assert written < 50_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 700 Odd\r\ncontent-length: 0\r\n\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["another protocol", "a short status", "no such class", "zeros", "a long line"],
)
async def test_what_is_no_answer_is_tried_again(answer: bytes) -> None:
    """Perhaps a wrong service, perhaps half an answer: the event is not lost."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async with raw_service(respond) as url, forwarding(url) as handler:
        assert await sent(handler) == Retry("http_malformed_answer")


async def test_a_service_that_cuts_the_connection_is_tried_again() -> None:
    """Once asked is once counted; the event may be why."""
    asked = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_request(reader)
        asked += 1

    async with raw_service(cut) as url, forwarding(url) as handler:
        assert await sent(handler) == Retry("http_disconnected")

    assert asked == 1


async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_attempt() -> None:
    """The request goes again at once, over a new one: so it goes with any short keep-alive."""
    asked = []

    async def once_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.append("new")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await read_request(reader)
        asked.append("kept")

    async with raw_service(once_each) as url, forwarding(url) as handler:
        assert await sent(handler) is None
        assert await sent(handler) is None

    assert asked == ["new", "kept", "new"]


async def test_a_service_that_is_not_there_leaves_events_where_they_are() -> None:
    """Nothing was sent, so nothing counts, and order holds."""
    async with forwarding(f"http://127.0.0.1:{free_port()}/") as handler:
        assert await sent(handler) == Retry("http_unreachable", in_place=True)


async def test_a_name_that_is_not_there_leaves_events_where_they_are() -> None:
    """DNS is out, or the name is wrong: a matter of no event."""
    async with forwarding("http://shop.test/", resolver=Names([])) as handler:
        assert await sent(handler) == Retry("http_unresolved", in_place=True)


async def test_a_name_that_nobody_answers_for_is_given_up_in_time() -> None:
    """Half of an event's time at most; nothing was sent, so nothing counts."""
    asking = asyncio.Event()

    class Silent(Names):
        async def resolve(self, *_: Any, **__: Any) -> Any:
            asking.set()
            await asyncio.Event().wait()

    async with forwarding("http://shop.test/", resolver=Silent([])) as handler:
        answer = await sent(handler, deadline_secs=1.0)

    assert asking.is_set()
    assert answer == Retry("http_unreachable", in_place=True)


async def test_a_handshake_that_hangs_is_given_up_in_time() -> None:
    """As long as there is no connection, the event waits where it is."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_service(silent) as url, forwarding(url.replace("p:", "ps:")) as handler:
        answer = await sent(handler, deadline_secs=1.0)

    assert answer == Retry("http_unreachable", in_place=True)


@pytest.mark.parametrize("name", ["localhost", "shop.test", "shop.test."])
async def test_a_name_that_leads_inside_is_refused(service: Service, name: str) -> None:
    """Whatever it is called: its addresses count, and the log names them."""
    finder = Names(["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1"])
    before = counted("address_refused")
    with capture_logs() as lines:
        async with forwarding(service.by_name(name), resolver=finder, allow_networks=()) as handler:
            assert await sent(handler) == Retry("http_address_refused", in_place=True)

    assert service.received == []
    assert counted("address_refused") == before + 1
    (line,) = lines
    assert line["event"] == "http_address_refused"
    assert line["addresses"] == "127.0.0.1, 10.0.0.8, 169.254.169.254, ::1"


async def test_the_machines_own_resolver_is_judged_too(service: Service) -> None:
    """With no stand-in: the name is resolved as in production."""
    url = service.by_name("localhost")
    async with forwarding(url, allow_networks=()) as handler:
        assert await sent(handler) == Retry("http_address_refused", in_place=True)
    async with forwarding(url) as handler:
        assert await sent(handler) is None

    assert len(service.received) == 1


async def test_of_several_addresses_only_an_allowed_one_is_used() -> None:
    """The other may be first, and something may listen there."""
    async with serving() as inside, serving(host="127.0.0.2", port=inside.port) as meant:
        finder = Names(["127.0.0.1", "127.0.0.2"])
        url, allowed = inside.by_name("shop.test"), ("127.0.0.2/32",)
        async with forwarding(url, resolver=finder, allow_networks=allowed) as handler:
            assert await sent(handler) is None

        assert (len(inside.received), len(meant.received)) == (0, 1)
        assert meant.received[0].headers["host"] == f"shop.test:{inside.port}"


async def test_a_name_that_answers_otherwise_later_gains_nothing() -> None:
    """DNS rebinding: what was judged is what is connected to, for each new connection."""
    async with serving() as inside, serving(host="127.0.0.2", port=inside.port) as meant:
        finder = Names(["127.0.0.2"], ["127.0.0.1"])
        url, allowed = inside.by_name("shop.test"), ("127.0.0.2/32",)
        meant.will(204, Connection="close")
        async with forwarding(url, resolver=finder, allow_networks=allowed) as handler:
            assert await sent(handler) is None
            assert await sent(handler) == Retry("http_address_refused", in_place=True)

        assert finder.asked == 2
        assert (len(inside.received), len(meant.received)) == (0, 1)


async def test_a_socket_is_made_for_a_judged_address_only(service: Service) -> None:
    """The last word is said where the socket is made, whoever gave the address."""
    async with forwarding(service.url) as handler:
        handler._to.guard._allowed.clear()

        assert await sent(handler) == Retry("http_address_refused", in_place=True)
    assert service.received == []


def test_an_address_in_the_url_is_judged_at_the_start() -> None:
    """It will not change: better not to start, and to say how it would be allowed."""
    line = (
        r"^handlers\.shop\.url: 169\.254\.169\.254 is no public address; if it is meant, allow it: "
        r'allow_networks = \["169\.254\.169\.254"\]$'
    )
    with pytest.raises(ConfigurationError, match=line):
        destination("shop", options("https://169.254.169.254/", allow_networks=()), environ={})


async def test_proxies_of_the_environment_are_not_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect where it likes."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with forwarding(service.url) as handler:
        assert await sent(handler) is None


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """An authority of the test's own; its certificate is in ca.pem."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's side of TLS for these names."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(found)
    return found


async def test_tls_is_verified_against_the_named_authority(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """By number or by name."""
    async with serving(tls=tls_of(authority, "127.0.0.1", "shop.test")) as service:
        file, finder = str(tmp_path / "ca.pem"), Names(["127.0.0.1"])
        async with forwarding(service.url, ca_file=file, allow_plain_http=False) as handler:
            assert await sent(handler) is None
        url = service.by_name("shop.test")
        async with forwarding(url, ca_file=file, resolver=finder) as handler:
            assert await sent(handler) is None

    assert len(service.received) == 2


@pytest.mark.parametrize("wrong", ["an unknown authority", "another name", "no TLS"])
async def test_a_service_that_cannot_prove_itself_gets_nothing(
    wrong: str, authority: trustme.CA, tmp_path: Path
) -> None:
    """A matter of the service, so the events stay where they are."""
    signer = trustme.CA() if wrong == "an unknown authority" else authority
    name = "other.test" if wrong == "another name" else "127.0.0.1"
    tls = None if wrong == "no TLS" else tls_of(signer, name)
    async with serving(tls=tls) as service:
        url = service.url.replace("http://", "https://")
        async with forwarding(url, ca_file=str(tmp_path / "ca.pem")) as handler:
            assert await sent(handler) == Retry("http_tls_failed", in_place=True)

    assert service.received == []


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_said_at_the_start(
    text: str | None, tmp_path: Path
) -> None:
    """With the option's name."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"^handlers\.shop\.ca_file: .* cannot be used"):
        destination("shop", options("https://a.example", ca_file=str(file)), environ={})


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (SecretSource(name="a", env="GONE"), "secret 'a': the environment variable GONE is not"),
        (SecretSource(name="a", value="plain"), "handlers.shop: secret 'a': it must be whsec_"),
        (SecretSource(name="a", value="whsec_AAAA"), "handlers.shop: secret 'a': it holds 3 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_said_at_the_start(source: SecretSource, line: str) -> None:
    """By its name; the text is never quoted."""
    with pytest.raises(ConfigurationError) as caught:
        destination("shop", options("https://a.example", secrets=(source,)), environ={})

    assert str(caught.value).startswith(line)
    assert str(source.value) not in str(caught.value)


async def test_the_breakers_life(service: Service) -> None:
    """Open after so many failures, tried alone after a pause, closed by a success; all is told."""
    clock = Clock()
    service.will(500)
    with capture_logs() as lines:
        async with forwarding(service.url, clock=clock) as handler:
            failed = [await sent(handler, n) for n in range(FAILURES_TO_OPEN)]
            held = [await sent(handler, n) for n in range(20)]
            opened = gauge()
            clock.now += PAUSE_SECS_FIRST
            trial = await sent(handler)
            held += [await sent(handler)]
            service.will(204)
            clock.now += 2 * PAUSE_SECS_FIRST
            last = [await sent(handler), await sent(handler)]

    assert failed == [Retry("http_500")] * FAILURES_TO_OPEN
    assert held == [OPEN] * 21
    assert trial == Retry("http_500")
    assert last == [None, None]
    assert len(service.received) == FAILURES_TO_OPEN + 3
    assert (opened, gauge()) == (1, 0)
    assert [(each["event"], each.get("reason"), each.get("pause_secs")) for each in lines] == [
        ("http_breaker_opened", "http_500", PAUSE_SECS_FIRST),
        ("http_breaker_closed", None, None),
    ]


def gauge() -> float | None:
    """The breaker as the metrics show it."""
    return REGISTRY.get_sample_value("hookmill_http_breaker_open", {"handler": "shop"})


async def test_while_one_trial_is_under_way_the_others_wait(service: Service) -> None:
    """They do not pile up on a service that is just coming back."""
    clock, release = Clock(), asyncio.Event()
    service.will(500)

    async def waiting() -> web.Response:
        await release.wait()
        return web.Response()

    async with forwarding(service.url, clock=clock) as handler:
        for number in range(FAILURES_TO_OPEN):
            await sent(handler, number)
        service.answers = [waiting]
        clock.now += PAUSE_SECS_FIRST
        trial = asyncio.ensure_future(sent(handler))
        await until(lambda: len(service.received) > FAILURES_TO_OPEN, timeout_secs=10)
        others = [await sent(handler, n) for n in range(3)]
        release.set()

        assert await trial is None
        assert others == [OPEN] * 3
        assert await sent(handler) is None


async def test_a_trial_that_is_cancelled_makes_room_for_another(service: Service) -> None:
    """A rebalance takes it away: nothing was learnt, nothing is stuck."""
    clock, never = Clock(), asyncio.Event()
    service.will(500)

    async def hang() -> web.Response:
        await never.wait()
        return web.Response()

    async with forwarding(service.url, clock=clock) as handler:
        for number in range(FAILURES_TO_OPEN):
            await sent(handler, number)
        service.answers = [hang]
        clock.now += PAUSE_SECS_FIRST
        trial = asyncio.ensure_future(sent(handler))
        await until(lambda: len(service.received) > FAILURES_TO_OPEN, timeout_secs=10)
        trial.cancel()
        await asyncio.wait([trial])
        service.will(204)
        never.set()

        assert await sent(handler) is None


async def test_a_service_that_asks_for_quiet_is_left_alone_so_long(service: Service) -> None:
    """Retry-After holds for the whole service once it is plain that it means everyone."""
    clock = Clock()
    service.will(429, Retry_After="50")
    async with forwarding(service.url, clock=clock) as handler:
        failed = [await sent(handler, n) for n in range(FAILURES_TO_OPEN)]
        clock.now += 49
        held = await sent(handler)
        clock.now += 1
        trial = await sent(handler)

    assert failed == [Retry("http_429", after_secs=50)] * FAILURES_TO_OPEN
    assert held == OPEN
    assert trial == Retry("http_429", in_place=True)  # no event is the cause: no attempt is burnt
    assert len(service.received) == FAILURES_TO_OPEN + 1


async def test_what_is_wrong_with_an_event_does_not_open_the_breaker(service: Service) -> None:
    """A service that answers 400 works."""
    service.will(400)
    async with forwarding(service.url) as handler:
        answers = [await sent(handler, n) for n in range(3 * FAILURES_TO_OPEN)]

    assert answers == [DeadLetter("http_400", "answered 400 Bad Request")] * len(answers)


async def test_two_members_share_nothing(service: Service) -> None:
    """Each has a breaker and a limit of its own: one that reaches nothing stops no other."""
    async with forwarding(service.url) as one, forwarding(service.url) as other:
        one._to.guard._allowed.clear()
        lost = [await sent(one, n) for n in range(FAILURES_TO_OPEN + 1)]
        found = await asyncio.gather(*(sent(other, n) for n in range(50)))

    assert lost[-1] == OPEN
    assert found == [None] * 50
    assert len({each.headers["webhook-id"] for each in service.received}) == 50


async def test_neither_secrets_nor_bodies_nor_answers_are_told(service: Service) -> None:
    """In no log line, no metric and no dead letter."""
    said = "the-answer-of-the-service"
    service.answers = [_answering_with(said.encode(), status=400, reason=said)]
    with capture_logs() as lines:
        async with forwarding(service.url + "?token=hunter2") as handler:
            letter = await sent(handler)
            service.will(500)
            for number in range(FAILURES_TO_OPEN):
                await sent(handler, number)
    told = f"{lines} {letter} {generate_latest(REGISTRY).decode()}"

    assert [each["event"] for each in lines] == ["http_breaker_opened"]
    for hidden in (said, "hunter2", SECRET, "Zoë", "v1,", "p_1"):
        assert hidden not in told


async def test_each_outcome_is_counted(service: Service) -> None:
    """By a word of a short list."""
    before = {each: counted(each) for each in ("delivered", "failed", "rejected", "redirected")}
    async with forwarding(service.url) as handler:
        for status in (200, 500, 410, 301):
            service.will(status)
            await sent(handler)

    assert {each: counted(each) - before[each] for each in before} == dict.fromkeys(before, 1)


def _answering_with(body: bytes, *, status: int = 200, reason: str | None = None) -> Any:
    async def answer() -> web.Response:
        return web.Response(status=status, body=body, reason=reason)

    return answer
