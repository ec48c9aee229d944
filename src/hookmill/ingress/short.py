"""The short way of a plain delivery: whole in one read, on a connection that stays open.

Nearly every delivery is: a POST of HTTP/1.1, its body behind its headers, nothing odd among them.
It is checked and verified as it comes in, handed to the appender with a function to be told, and
answered in one write; aiohttp's parser has read it, but its tasks, its request and its response
are left out. Whatever is not plain goes the long way, `Ingress.answer`, which refuses what is
wrong; every check of a delivery is the same on both. Where it was tried, a whole delivery came down
from 315 to 172 µs of CPU; aiohttp's parser and what is here are 11 µs of what is left.
"""

import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import HttpVersion11, hdrs
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from hookmill.core.delivery import Delivery
from hookmill.core.errors import NotKept, Reason, Refused
from hookmill.ingress.answers import Said, block
from hookmill.ingress.door import Door, count, defect, refusal
from hookmill.ingress.server import PREFIX, Ingress
from hookmill.telemetry.logs import say


class Client(Protocol):
    """The connection that a delivery came on."""

    def peer(self) -> str:
        """The address at its other end."""

    def reply(self, answer: bytes) -> None:
        """Send the answer; the connection takes the next request."""


class ShortWay:
    """Takes plain deliveries for an ingress. `now_secs` is the clock of its event loop, handed in
    because asking for the running loop is a system call (`getpid`): 4 % of a delivery."""

    def __init__(
        self, ingress: Ingress, body_bytes_max: int, now_secs: Callable[[], float]
    ) -> None:
        self._ingress = ingress
        self._body_bytes_max = body_bytes_max
        self._now_secs = now_secs

    def takes(self, message: RawRequestMessage, payload: StreamReader) -> Door | None:
        """The door of a request that is plain; None where it must go the long way."""
        headers = message.headers
        if not (
            payload.is_eof()
            and message.method == "POST"
            and message.version is HttpVersion11
            and not message.should_close
            and not message.upgrade
            and 0 < payload.total_bytes <= self._body_bytes_max
            and hdrs.CONTENT_ENCODING not in headers
            and hdrs.TRANSFER_ENCODING not in headers
            and hdrs.EXPECT not in headers
            and message.path.startswith(PREFIX)
        ):
            return None
        door = self._ingress.open_door(message.path[len(PREFIX) :])
        if door is None or not door.plain(headers.get(hdrs.CONTENT_TYPE, "")):
            return None
        return door

    def take(self, door: Door, message: RawRequestMessage, body: bytes, client: Client) -> None:
        """Answer it: at once if it is refused, else as soon as it is known whether it is kept."""
        asked = _Asked(self._ingress, door, client)
        try:
            asked.begin(message, body, deadline=self._now_secs() + door.append_secs)
        except Refused as error:
            asked.end(error.reason.value, refusal(error.reason, door))
        except Exception as error:  # a defect must not become a stack trace or a lost event
            asked.end("defect", defect(error, door.endpoint.name))


class _Asked:
    """A delivery on its way; told of each of its records, it answers after the last."""

    __slots__ = (
        "_answered", "_began", "_client", "_delivery_id", "_door", "_held", "_ingress", "_left",
        "_lost", "_received_at_us",
    )  # fmt: skip

    def __init__(self, ingress: Ingress, door: Door, client: Client) -> None:
        self._ingress = ingress
        self._door = door
        self._client = client
        self._began = time.perf_counter()
        self._received_at_us = ingress.now_us()
        self._held: int | None = None
        self._left = 0
        self._lost = False
        self._delivery_id = ""
        self._answered = False

    def begin(self, message: RawRequestMessage, body: bytes, *, deadline: float) -> None:
        """Verify it and hand its records to the keeper; raises Refused."""
        ingress, door = self._ingress, self._door
        ingress.enter(door.endpoint.name, len(body))
        self._held = len(body)
        headers = tuple([(name.lower(), value) for name, value in message.headers.items()])
        delivery = Delivery(headers, body, self._received_at_us)
        self._delivery_id, secret = ingress.proven(door, delivery, self._client.peer)
        records = ingress.records(delivery, self._delivery_id, door.endpoint, secret)
        self._left = len(records)
        for each in records:
            ingress.keeper.post(each.topic, each, deadline=deadline, settled=self.settled)

    def settled(self, error: NotKept | None) -> None:
        """One record is kept, or is not."""
        self._left -= 1
        self._lost = self._lost or error is not None
        if self._left:
            return
        if self._lost:
            reason = Reason.BROKER_UNAVAILABLE
            self.end(reason.value, refusal(reason, self._door))
            return
        say("delivery_accepted", endpoint=self._door.endpoint.name, delivery=self._delivery_id)
        at_secs = self._ingress.now_us() // 1_000_000
        self._finish("accepted", self._door.accepted_block(self._delivery_id, at_secs))

    def end(self, outcome: str, said: Said) -> None:
        """Answer with something else than that it is kept."""
        self._finish(outcome, block(said, self._received_at_us // 1_000_000))

    def _finish(self, outcome: str, answer: bytes) -> None:
        if self._answered:
            return
        self._answered = True
        name = self._door.endpoint.name
        if self._held is not None:
            self._ingress.leave(name, self._held)
        count(self._door, name, outcome, time.perf_counter() - self._began)
        self._client.reply(answer)
