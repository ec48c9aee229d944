"""The front door: POST /webhooks/{endpoint}, in the order that keeps attackers cheap.

admission → endpoint → method, type, size → exact bytes → verify → identify → append → answer.
Nothing of the body is parsed before it is verified; nothing is answered 2xx before Kafka has it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

from aiohttp import HttpVersion10, HttpVersion11, web
from msgspec.structs import replace

from hookmill.config.options import Ingress as Options
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import NotKept, Reason, Refused
from hookmill.core.ids import uuid7
from hookmill.core.record import Output
from hookmill.ingress import answers
from hookmill.ingress.admission import Admission
from hookmill.ingress.answers import Said
from hookmill.ingress.body import BodyIncomplete, read_body
from hookmill.ingress.door import NO_ENDPOINT, Door, count, defect, media_type, refusal
from hookmill.ingress.peer import networks, peer_address
from hookmill.ingress.rejected import rejected
from hookmill.pipeline import DELIVERIES, RAW, REJECTED, Names
from hookmill.providers.endpoint import Endpoint
from hookmill.stages.accept import accept
from hookmill.stages.headers import trace
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say
from hookmill.telemetry.traces import Tracer

PREFIX = "/webhooks/"
REJECTED_DEADLINE_SECS = 2.0
HEAD_BYTES_MAX = 32 * 1024
"""Of a request's line and headers together; each by itself has the parser's limit, 8 KiB."""


class Keeper(Protocol):
    """What keeps records: the appender."""

    @property
    def available(self) -> bool:
        """False while Kafka is known to be out."""

    def admits(self) -> bool:
        """Whether a record may be appended now."""

    async def append(self, topic: str, output: Output, *, deadline: float) -> None:
        """Return when it is kept; raise NotKept otherwise."""

    def post(
        self,
        topic: str,
        output: Output,
        *,
        deadline: float,
        settled: Callable[[NotKept | None], None],
    ) -> None:
        """As `append`, but `settled` is told, with None where it is kept."""


class Ingress:
    """Answers deliveries. `now_us` gives epoch microseconds; `keeper` may connect later."""

    def __init__(
        self,
        options: Options,
        doors: Mapping[str, Door],
        keeper: Keeper,
        *,
        names: Names,
        now_us: Callable[[], int],
        tracer: Tracer | None = None,
    ) -> None:
        self._options = options
        self._doors = doors
        self.keeper = keeper
        self._names = names
        self.now_us = now_us
        self._tracer = tracer
        self.admission = Admission(options)
        self.patience_secs = min(options.admission_timeout_secs, options.answer_deadline_secs / 2)
        self._trusted = networks(options.trusted_proxies)
        self._rejections: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        self._chance = _random_bytes()
        self._raw, self._whole = names.topic(RAW), names.topic(DELIVERIES)
        self.draining = False

    def open_door(self, name: str) -> Door | None:
        """The endpoint of that name, while plain deliveries can be taken, and without a trace."""
        if self.draining or self._tracer is not None or not self.keeper.available:
            return None
        return self._doors.get(name)

    def leave(self, endpoint: str, held_bytes: int) -> None:
        """A request that was let in is answered."""
        self.admission.leave(endpoint, held_bytes)
        self._left.set()

    @property
    def in_flight(self) -> int:
        """How many deliveries are being answered."""
        return self.admission.requests

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The whole way of one request; always an answer, never an exception."""
        return answers.response(await self.said(request))

    async def said(self, request: web.BaseRequest) -> Said:
        """The same, before it is aiohttp's."""
        began = time.perf_counter()
        path = request.path  # of an absolute URI too, percent-decoded
        door = self._doors.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        label = door.endpoint.name if door else NO_ENDPOINT
        try:
            outcome, said = await self._admitted(request, door, label)
        except Refused as error:
            outcome, said = error.reason.value, refusal(error.reason, door)
        except BodyIncomplete:
            outcome = "body_incomplete"
            said = replace(answers.refused(Reason.MALFORMED_ENVELOPE), closes=True)
        except Exception as error:  # a defect must not become a stack trace or a lost event
            outcome, said = "defect", defect(error, label)
        count(door, label, outcome, time.perf_counter() - began)
        return said

    async def finish(self) -> None:
        """Wait until what is in flight is answered; the caller sets the time limit."""
        self.draining = True
        while self.admission.requests:  # while anybody waits there is no place, so there are some
            self._left.clear()
            await self._left.wait()
        if self._rejections:
            await asyncio.wait(self._rejections)

    async def _admitted(
        self, request: web.BaseRequest, door: Door | None, label: str
    ) -> tuple[str, Said]:
        if self.draining:
            raise Refused(Reason.DRAINING)
        held = 0

        def hold(count: int) -> None:
            nonlocal held
            self.admission.hold(count)
            held += count

        await self._let_in(door, label)
        try:
            if door is None:
                raise Refused(Reason.UNKNOWN_ENDPOINT)
            return await self._taken(request, door, hold)
        finally:
            self.leave(label, held)

    async def _let_in(self, door: Door | None, label: str) -> None:
        """Take a place, or wait for one as long as that may help; raises Refused."""
        if self.admission.enter(label):
            return
        if door is None or not self.keeper.available:
            raise Refused(Reason.TOO_MANY_REQUESTS)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        admitted = partial(place.set_result, None)
        self.admission.wait(label, admitted)
        try:
            await asyncio.wait({place}, timeout=self.patience_secs)
        except asyncio.CancelledError:
            if place.done():
                self.leave(label, 0)
            else:
                self.admission.give_up(label, admitted)
            raise
        if not place.done():
            self.admission.give_up(label, admitted)
            raise Refused(Reason.TOO_MANY_REQUESTS)

    async def _taken(
        self, request: web.BaseRequest, door: Door, hold: Callable[[int], None]
    ) -> tuple[str, Said]:
        deadline = asyncio.get_running_loop().time() + door.append_secs
        _check_form(request, door.endpoint)
        if request.method == "POST" and not self.keeper.available:
            raise Refused(Reason.BROKER_UNAVAILABLE)
        body = await read_body(
            request,
            bytes_max=self._options.body_bytes_max,
            timeout_secs=self._options.body_timeout_secs,
            hold=hold,
        )
        sent = tuple(request.headers.items())
        delivery = Delivery(sent, body, self.now_us(), _query(request))
        pack, terms = door.endpoint.pack, door.terms()
        if request.method in pack.handshake_methods:
            answer = pack.handshake(delivery, request.method, terms)
            if answer is not None:
                return "handshake", answers.in_their_words(answer)
        if request.method != "POST":
            raise Refused(Reason.METHOD_NOT_ALLOWED)
        delivery_id, secret = self.proven(door, delivery, lambda: request.remote or "unknown")
        context = None
        if self._tracer is None:
            await self._keep(delivery, delivery_id, door.endpoint, secret, deadline)
        else:
            with self._tracer.delivery(door.endpoint, delivery, delivery_id) as context:
                await self._keep(delivery, delivery_id, door.endpoint, secret, deadline, context)
        say("delivery_accepted", endpoint=door.endpoint.name, delivery=delivery_id,
            **trace(context))  # fmt: skip
        return "accepted", answers.accepted(delivery_id, pack.accepted_answer)

    def proven(
        self, door: Door, delivery: Delivery, socket: Callable[[], str]
    ) -> tuple[str, Secret]:
        """The delivery's id, and the secret that proves its sender; `socket` is who is connected.

        Raises Refused; what is refused is noted.
        """
        delivery_id = uuid7(delivery.received_at_us, next(self._chance))
        try:
            return delivery_id, door.endpoint.pack.verify(delivery, door.terms())
        except Refused as error:
            self._keep_rejected(socket(), door, delivery, delivery_id, error.reason)
            raise

    async def _keep(
        self, delivery: Delivery, delivery_id: str, endpoint: Endpoint, secret: Secret,
        deadline: float, traceparent: str | None = None,
    ) -> None:  # fmt: skip
        records = self.records(delivery, delivery_id, endpoint, secret, traceparent)
        appends = [self.keeper.append(each.topic, each, deadline=deadline) for each in records]
        try:
            if len(appends) == 1:
                await appends[0]
            else:
                await asyncio.gather(*appends)
        except NotKept:
            raise Refused(Reason.BROKER_UNAVAILABLE) from None

    def records(
        self, delivery: Delivery, delivery_id: str, endpoint: Endpoint, secret: Secret,
        traceparent: str | None = None,
    ) -> list[Output]:  # fmt: skip
        """What is to be kept of a proven delivery; raises Refused where nothing can be now."""
        records = accept(
            delivery,
            delivery_id=delivery_id,
            endpoint=endpoint,
            secret=secret,
            to=self._raw,
            whole_to=self._whole,
            traceparent=traceparent,
        )
        if not self.keeper.admits():
            raise Refused(Reason.BROKER_UNAVAILABLE)
        return records

    def _keep_rejected(
        self, socket: str, door: Door, delivery: Delivery, delivery_id: str, reason: Reason
    ) -> None:
        """Note a refused delivery, as far as the rate allows; nobody waits for it."""
        name = door.endpoint.name
        peer = peer_address(socket, delivery.headers_named("x-forwarded-for"), self._trusted)
        say("delivery_refused", endpoint=name, reason=reason, delivery=delivery_id, peer=peer)
        now_secs = delivery.received_at_us / 1_000_000
        if not door.rejected_rate.allows(now_secs):
            catalog.REJECTED_UNKEPT.labels(name).inc()
            return
        record = rejected(
            delivery,
            topic=self._names.topic(REJECTED),
            delivery_id=delivery_id,
            endpoint=name,
            reason=reason,
            peer=peer,
            secrets=[each for any_door in self._doors.values() for each in any_door.secrets()],
        )
        if not self.keeper.admits():
            catalog.REJECTED_UNKEPT.labels(name).inc()
            return
        task = asyncio.ensure_future(self._append_rejected(record, name))
        self._rejections.add(task)
        task.add_done_callback(self._rejections.discard)

    async def _append_rejected(self, record: Output, endpoint: str) -> None:
        deadline = asyncio.get_running_loop().time() + REJECTED_DEADLINE_SECS
        try:
            await self.keeper.append(record.topic, record, deadline=deadline)
        except NotKept:
            catalog.REJECTED_UNKEPT.labels(endpoint).inc()


def _random_bytes() -> Iterator[bytes]:
    """Eight at a time, of 4 KiB: a system call for each delivery was 4 % of its CPU."""
    while True:
        drawn = os.urandom(4096)
        yield from (drawn[begin : begin + 8] for begin in range(0, 4096, 8))


def _check_form(request: web.BaseRequest, endpoint: Endpoint) -> None:
    if request.version not in (HttpVersion10, HttpVersion11):
        raise BodyIncomplete("the parser lets other versions pass")
    if request.method not in {"POST", *endpoint.pack.handshake_methods}:
        raise Refused(Reason.METHOD_NOT_ALLOWED)
    if sum(len(name) + len(value) for name, value in request.raw_headers) > HEAD_BYTES_MAX:
        raise Refused(Reason.MALFORMED_ENVELOPE)
    for coding in request.headers.getall("content-encoding", ()):
        if coding.lower() != "identity":
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)
    for coding in request.headers.getall("transfer-encoding", ()):
        if request.version < HttpVersion11:
            raise BodyIncomplete("faulty framing: RFC 9112, section 6.1")
        if coding.lower() != "chunked":  # `gzip, chunked` is a compressed body too
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)
    content_type = request.headers.get("content-type", "")
    if media_type(content_type) in endpoint.pack.content_types_excluded:
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE)


def _query(request: web.BaseRequest) -> str:
    """What was sent behind `?`, as it was sent: a signature may cover it."""
    return request.raw_path.partition("#")[0].partition("?")[2]
