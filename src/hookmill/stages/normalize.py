"""Normalization: a provider's dialect becomes our one language, merged into its resource."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from hookmill.core import cloudevents
from hookmill.core.errors import UnparseableBody
from hookmill.core.event import Event, Raw, Resource, encode
from hookmill.core.ids import body_hash, normalized_id, resource_key
from hookmill.core.outcome import DeadLetter, Forward, Outcome
from hookmill.core.record import Headers, Output, Record
from hookmill.core.resource import Change, Merged, decode_state, encode_state, merge
from hookmill.core.times import from_epoch_us
from hookmill.providers.endpoint import Endpoint
from hookmill.providers.kept import Kept
from hookmill.providers.pack import Draft
from hookmill.stages import headers

_CARRIED = (
    headers.DELIVERY, headers.EVENT_ID, headers.TRACEPARENT,
    headers.REDRIVES, headers.REDRIVEN_FROM,
)  # fmt: skip


Changes = tuple[tuple[bytes, bytes], ...]
"""Keys of resources, and what becomes of their state."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What the pack read in a record, or why it is to be set aside.

    `named` are the record's headers by name; `state_keys` the keys of the resources that the event
    says something of, one for each of the draft's changes.
    """

    record: Record
    named: Mapping[str, bytes]
    endpoint: Endpoint | None = None
    draft: Draft | None = None
    mode: str = "unknown"
    state_keys: tuple[bytes, ...] = ()
    unusable: DeadLetter | None = None


class Unrecognized(Forward, frozen=True):
    """An event of a type that the pack does not know, forwarded all the same."""


def mode_of(draft: Draft, endpoint: Endpoint) -> str:
    """The provider's word for live or test, else the endpoint's, else `unknown`.

    A word that is not signed makes nothing of a test endpoint live.
    """
    if endpoint.mode == "test" and not endpoint.pack.proves_mode:
        return "test"
    return draft.mode or endpoint.mode or "unknown"


class Normalize:
    """The stage, knowing every endpoint; `raw_topic` is what events name as their origin."""

    name = "normalize"
    forgets = None

    def __init__(self, endpoints: Mapping[str, Endpoint], *, raw_topic: str, to: str) -> None:
        self._endpoints = {name.encode(): endpoint for name, endpoint in endpoints.items()}
        self._raw_topic = raw_topic
        self._to = to

    def read(self, records: Sequence[Record]) -> list[Reading]:
        """Let the endpoint's pack read the exact body, those of one endpoint after the other."""
        named = [dict(record.headers) for record in records]
        places = defaultdict[bytes, list[int]](list)
        for place, each in enumerate(named):
            places[each.get(headers.ENDPOINT, b"")].append(place)
        readings: dict[int, Reading] = {}
        for name, its_places in places.items():
            endpoint = self._endpoints.get(name)
            for place in its_places:
                readings[place] = _reading(records[place], named[place], endpoint)
        return [readings[place] for place in range(len(records))]

    def decide(self, tasks: Sequence[Reading], state: dict[bytes, bytes]) -> list[Outcome]:
        """Merge each event into its resources and forward it in our language."""
        usable = [task for task in tasks if task.unusable is None]
        merged = [_merge(task, state) for task in usable]
        events = [self._event(task, own) for task, (own, _) in zip(usable, merged, strict=True)]
        values = [encode(event) for event in events]
        named = [_headers(event, task.named) for event, task in zip(events, usable, strict=True)]
        outputs = [
            Output(self._to, task.record.key, value, its_headers)
            for task, value, its_headers in zip(usable, values, named, strict=True)
        ]
        forwards = map(_forward, events, outputs, (changes for _, changes in merged))
        return [task.unusable or next(forwards) for task in tasks]

    def _event(self, task: Reading, own: Merged | None) -> Event:
        """In the order of its fields: keywords for all of them take 1 µs, positions 0.2."""
        record, endpoint, draft, named = task.record, task.endpoint, task.draft, task.named
        assert endpoint is not None
        assert draft is not None
        offset = int(named.get(headers.RAW_OFFSET) or -1)
        return Event(
            normalized_id(headers.dedup_key_in(named)),
            f"{draft.kind}.{draft.status}",
            draft.kind,
            draft.status,
            endpoint.name,
            endpoint.pack.name,
            task.mode,  # type: ignore[arg-type]  # checked where it is configured
            draft.occurred_at,
            _received_at(task),
            draft.subject,
            _resource(draft.changes[0], own) if own else None,
            draft.amount,
            draft.amount_paid,
            draft.amount_refunded,
            draft.discrepancy,
            draft.links,
            draft.failure,
            draft.metadata,
            draft.provider_event,
            own.late if own else False,
            Raw(self._raw_topic, record.partition, offset, body_hash(record.value)),
        )


def _reading(record: Record, named: Mapping[str, bytes], endpoint: Endpoint | None) -> Reading:
    if endpoint is None:
        name = record.header(headers.ENDPOINT)
        detail = f"endpoint '{name}' is not configured; configure it again, then redrive"
        return Reading(record, named, unusable=DeadLetter("unknown_endpoint", detail))
    try:
        kept = Kept(headers.kept_headers, named)
        draft = endpoint.pack.normalize(record.value, endpoint.options, kept)
    except UnparseableBody as error:
        return Reading(record, named, unusable=DeadLetter("unparseable_body", str(error)))
    mode = mode_of(draft, endpoint)
    keys = [
        resource_key(endpoint.name, mode, each.kind, each.resource_id) for each in draft.changes
    ]
    return Reading(record, named, endpoint, draft, mode, tuple(keys))


def _merge(task: Reading, state: dict[bytes, bytes]) -> tuple[Merged | None, Changes]:
    """What becomes of the event's own resource, and of every one that it changes."""
    assert task.draft is not None
    event_id = task.named.get(headers.EVENT_ID, b"").decode("utf-8", "replace")
    own: Merged | None = None
    changes = []
    for change, key in zip(task.draft.changes, task.state_keys, strict=True):
        kept = state.get(key)
        merged = merge(None if kept is None else decode_state(kept), change, event_id)
        changes.append((key, encode_state(merged.state)))
        own = own or merged
    state.update(changes)
    return own, tuple(changes)


def _forward(event: Event, output: Output, changes: Changes) -> Forward:
    answer = Unrecognized if event.status == "unrecognized" else Forward
    return answer((output,), changes)


def _resource(change: Change, merged: Merged) -> Resource:
    state = merged.state
    return Resource(
        change.kind,  # type: ignore[arg-type]  # packs use the words of core.event.Kind
        change.resource_id,
        state.status,
        state.version,
        state.conflict,
    )


def _received_at(task: Reading) -> str:
    received_us = int(task.named.get(headers.RECEIVED_AT) or task.record.timestamp_ms * 1000)
    text = from_epoch_us(received_us)
    assert text is not None
    return text


def _headers(event: Event, named: Mapping[str, bytes]) -> Headers:
    found = [*cloudevents.headers(event)]
    for name in _CARRIED:
        if name in named:
            found.append((name, named[name]))
    return tuple(found)
