"""Normalization: a provider's dialect becomes our one language, merged into its resource."""

from collections.abc import Mapping

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
from hookmill.providers.pack import Draft
from hookmill.stages import headers

_CARRIED = (
    headers.DELIVERY, headers.EVENT_ID, headers.TRACEPARENT,
    headers.REDRIVES, headers.REDRIVEN_FROM,
)  # fmt: skip


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
        self._endpoints = endpoints
        self._raw_topic = raw_topic
        self._to = to

    def read(self, record: Record) -> Reading:
        """Let the endpoint's pack read the exact body."""
        named = dict(record.headers)
        name = _text(named, headers.ENDPOINT)
        endpoint = self._endpoints.get(name or "")
        if endpoint is None:
            detail = f"endpoint '{name}' is not configured; configure it again, then redrive"
            return Reading(record, named, unusable=DeadLetter("unknown_endpoint", detail))
        try:
            kept = headers.kept_headers(named)
            draft = endpoint.pack.normalize(record.value, endpoint.options, kept)
        except UnparseableBody as error:
            return Reading(record, named, unusable=DeadLetter("unparseable_body", str(error)))
        mode = mode_of(draft, endpoint)
        keys = [
            resource_key(endpoint.name, mode, each.kind, each.resource_id) for each in draft.changes
        ]
        return Reading(record, named, endpoint, draft, mode, tuple(keys))

    def decide(self, task: Reading, state: Mapping[bytes, bytes]) -> Outcome:
        """Merge the event into its resources and forward it in our language."""
        if task.unusable is not None:
            return task.unusable
        assert task.draft is not None
        event_id = _text(task.named, headers.EVENT_ID) or ""
        merged = [
            _merge(state.get(key), change, event_id)
            for change, key in zip(task.draft.changes, task.state_keys, strict=True)
        ]
        event = self._event(task, merged[0] if merged else None)
        output = Output(self._to, task.record.key, encode(event), _headers(event, task.named))
        kept = [
            (key, encode_state(each.state))
            for key, each in zip(task.state_keys, merged, strict=True)
        ]
        answer = Unrecognized if event.status == "unrecognized" else Forward
        return answer((output,), state=tuple(kept))

    def _event(self, task: Reading, own: Merged | None) -> Event:
        record, endpoint, draft = task.record, task.endpoint, task.draft
        assert endpoint is not None
        assert draft is not None
        return Event(
            id=normalized_id(headers.dedup_key_in(task.named)),
            type=f"{draft.kind}.{draft.status}",
            kind=draft.kind,
            status=draft.status,
            endpoint=endpoint.name,
            provider=endpoint.pack.name,
            mode=task.mode,  # type: ignore[arg-type]  # checked where it is configured
            occurred_at=draft.occurred_at,
            received_at=_received_at(task),
            subject=draft.subject,
            resource=_resource(draft.changes[0], own) if own else None,
            amount=draft.amount,
            amount_paid=draft.amount_paid,
            amount_refunded=draft.amount_refunded,
            discrepancy=draft.discrepancy,
            links=draft.links,
            failure=draft.failure,
            metadata=draft.metadata,
            provider_event=draft.provider_event,
            late=own.late if own else False,
            raw=self._raw(record, task.named),
        )

    def _raw(self, record: Record, named: Mapping[str, bytes]) -> Raw:
        offset = int(named.get(headers.RAW_OFFSET) or -1)
        return Raw(self._raw_topic, record.partition, offset, body_hash(record.value))


def _text(named: Mapping[str, bytes], name: str) -> str | None:
    value = named.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def _merge(kept: bytes | None, change: Change, event_id: str) -> Merged:
    return merge(None if kept is None else decode_state(kept), change, event_id)


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
    carried = [(name, named[name]) for name in _CARRIED if name in named]
    return (*cloudevents.headers(event), *carried)
