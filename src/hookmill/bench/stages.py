"""What the stages are fed in their benchmarks, and whether what came out is right. Pure.

Records are made as the ingress makes them (`stages/accept.py`); what a later stage reads is made
by the decisions of the stages before it.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import msgspec

from hookmill import pipeline
from hookmill.bench.figures import Check
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.ids import normalized_id, uuid7
from hookmill.core.outcome import Forward
from hookmill.core.record import Headers, Output, Record
from hookmill.local.simulated import AT_US, deliveries
from hookmill.providers.endpoint import Endpoint
from hookmill.stages import headers
from hookmill.stages.accept import accept
from hookmill.stages.dedup import Seen
from hookmill.stages.stage import Stage

Event = tuple[bytes, str]
"""A subject, and the normalized id of an event of it."""

BODY_BYTES = 1_024
DUPLICATES = 0.25
EARLIER, EXPIRED = "earlier", "expired"
"""What events that came before are called, within their window and out of it."""
_SPREAD = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: lays the multiples of numbers far apart, and as it is odd all
of them differ (Knuth, The Art of Computer Programming 3, 6.4)."""


def padded(endpoint: Endpoint, count: int, *, seed: int = 1) -> Iterator[Output]:
    """Raw records of 1 KB bodies, a quarter of them redeliveries of one that came before."""
    chance = random.Random(seed)
    secret = Secret("main", b"")
    bodies: list[bytes] = []
    for number in range(count):
        if bodies and chance.random() < DUPLICATES:
            body = chance.choice(bodies)
        else:
            body = _padded_body(number, chance)
            bodies.append(body)
        yield from _accepted(endpoint, secret, Delivery((), body, AT_US + number), chance)


def simulated(endpoints: Sequence[Endpoint], count: int, *, seed: int = 1) -> Iterator[Output]:
    """Raw records of the endpoints' own bodies in turn, signed as their providers do."""
    chance = random.Random(seed)
    each_count = -(-count // len(endpoints))
    secret = Secret("main", b"")
    streams = [
        deliveries(each.pack, options=_plain(each.options), seed=seed, count=each_count)
        for each in endpoints
    ]
    for together in zip(*streams, strict=True):
        for endpoint, made in zip(endpoints, together, strict=True):
            sent = tuple((name.lower(), value) for name, value in made.headers.items())
            delivery = Delivery(sent, made.body, made.at_us, made.query)
            yield from _accepted(endpoint, secret, delivery, chance)


def decided(stage: Stage[Any], outputs: Iterable[Output], *, reads: str) -> Iterator[Output]:
    """What that stage makes of these records, one after the other, with a state of its own."""
    state: dict[bytes, bytes] = {}
    for offset, each in enumerate(outputs):
        record = Record(reads, 0, offset, AT_US // 1000, each.key, each.value or b"", each.headers)
        [outcome] = stage.decide(stage.read([record]), state)
        if isinstance(outcome, Forward):
            yield from outcome.outputs


def cost_ratios(keys: Sequence[int], costs: Sequence[float]) -> list[tuple[int, float]]:
    """What a record cost with each size of the state, to the mean of what it cost with the first:
    that may be measured again at the end, for a machine's speed changes within minutes."""
    measured = list(zip(keys, costs, strict=True))
    base = fmean(cost for size, cost in measured if size == keys[0])
    return [(size, cost / base) for size, cost in measured if size != keys[0]]


def seen_before(
    endpoint: str, numbers: Iterable[int], *, at_ms: int, called: str = EARLIER
) -> list[Output]:
    """Sightings of events that came at about that time, as dedup's changelog holds them."""
    return [
        Output(
            pipeline.SEEN,
            headers.dedup_key_in(_called(endpoint, known_as(called, number))),
            msgspec.json.encode(Seen(at_ms + number % 1_000, 0, number)),
        )
        for number in numbers
    ]


def known_as(called: str, number: int) -> str:
    """The id of an event that came before, which follows the one before it as little as a
    provider's do: keys that come in their order cost next to nothing to merge and to look past."""
    return f"evt_{number * _SPREAD % 2**64:016x}_{called}"


def arrived(endpoint: str, event_id: str) -> Output:
    """A raw record of that event, as short as one can be."""
    named = _called(endpoint, event_id)
    return Output(pipeline.RAW, f"{endpoint}|{event_id}".encode(), b"{}", tuple(named.items()))


def _called(endpoint: str, event_id: str) -> dict[str, bytes]:
    return {
        headers.ENDPOINT: endpoint.encode(),
        headers.EVENT_ID: event_id.encode(),
        headers.EVENT_TYPE: b"payment.succeeded",
    }


def identity(key: bytes, kept: Headers) -> Event:
    """The subject, and the normalized id by which a record anywhere on the way is one event."""
    record = Record("", 0, 0, 0, key, b"", kept)
    return key, record.header("ce_id") or normalized_id(headers.dedup_key(record))


def checks(
    fed: Iterable[Event], got: Mapping[str, Mapping[str, Iterable[Event]]]
) -> tuple[Check, ...]:
    """Whether every event came out once, and each subject's in the order in which they went in.

    `got` has by its name each place in which every event must be: one topic, or several that share
    the events, each in order for each partition.
    """
    position: dict[Event, int] = {}
    for event in fed:
        position.setdefault(event, len(position))
    found = []
    for place, topics in got.items():
        came = Counter(event for events in topics.values() for event in events)
        once = came == Counter(position.keys())
        order = all(_in_order(events, position) for events in topics.values())
        found += [
            Check(f"each of {len(position):,} events is in {place} once (read_committed)", once),
            Check(f"each subject's in {place} in the order of its events", order),
        ]
    return tuple(found)


def _in_order(events: Iterable[Event], position: Mapping[Event, int]) -> bool:
    last: dict[bytes, int] = {}
    for event in events:
        at = position.get(event, -1)
        if at <= last.get(event[0], -1):
            return False
        last[event[0]] = at
    return True


def _padded_body(number: int, chance: random.Random) -> bytes:
    ids = f"{chance.getrandbits(64):016x}{number:08x}"
    payload: dict[str, Any] = {
        "id": f"p_{ids}", "type": "payment", "amount": 900 + number % 1000, "currency": "ZAR",
        "createdDate": "2026-09-21T14:13:20.000000Z", "mode": "live", "status": "succeeded",
        "metadata": {"checkoutId": f"ch_{ids}", "note": ""},
    }  # fmt: skip
    event = {
        "id": f"evt_{ids}", "type": "payment.succeeded", "payload": payload,
        "createdDate": "2026-09-21T14:13:20.000000Z",
    }  # fmt: skip
    payload["metadata"]["note"] = "x" * (BODY_BYTES - len(msgspec.json.encode(event)))
    return msgspec.json.encode(event)


def _accepted(
    endpoint: Endpoint, secret: Secret, delivery: Delivery, chance: random.Random
) -> list[Output]:
    delivery_id = uuid7(delivery.received_at_us, chance.randbytes(8))
    return [
        each
        for each in accept(
            delivery, delivery_id=delivery_id, endpoint=endpoint, secret=secret,
            to=pipeline.RAW, whole_to=pipeline.DELIVERIES,
        )
        if each.topic == pipeline.RAW
    ]  # fmt: skip


def _plain(options: Any) -> Mapping[str, Any]:
    """An endpoint's options as they are written in a configuration."""
    found: dict[str, Any] = msgspec.to_builtins(options)
    return {name: value for name, value in found.items() if value is not None}
