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


class Reading(msgspec.Struct, frozen=True):
    """What the pack read in a record, or why it is to be set aside."""

    record: Record
    endpoint: Endpoint | None = None
    draft: Draft | None = None
    unusable: DeadLetter | None = None

    @property
    def mode(self) -> str:
        """The provider's word for live or test, else the endpoint's, else `unknown`.

        A word that is not signed makes nothing of a test endpoint live.
        """
        assert self.endpoint is not None
        assert self.draft is not None
        if self.endpoint.mode == "test" and not self.endpoint.pack.proves_mode:
            return "test"
        return self.draft.mode or self.endpoint.mode or "unknown"

    @property
    def state_keys(self) -> tuple[bytes, ...]:
        """The keys of the resources the event says something of."""
        return tuple(self.key(change) for change in self.draft.changes) if self.draft else ()

    def key(self, change: Change) -> bytes:
        """Under what the state of the changed resource is kept."""
        assert self.endpoint is not None
        return resource_key(self.endpoint.name, self.mode, change.kind, change.resource_id)


class Normalize:
    """The stage, knowing every endpoint; `raw_topic` is what events name as their origin."""

    name = "normalize"

    def __init__(self, endpoints: Mapping[str, Endpoint], *, raw_topic: str, to: str) -> None:
        self._endpoints = endpoints
        self._raw_topic = raw_topic
        self._to = to

    def read(self, record: Record) -> Reading:
        """Let the endpoint's pack read the exact body."""
        name = record.header(headers.ENDPOINT)
        endpoint = self._endpoints.get(name or "")
        if endpoint is None:
            detail = f"endpoint '{name}' is not configured; configure it again, then redrive"
            return Reading(record, unusable=DeadLetter("unknown_endpoint", detail))
        try:
            draft = endpoint.pack.normalize(
                record.value, endpoint.options, headers.kept_headers(record)
            )
        except UnparseableBody as error:
            return Reading(record, endpoint, unusable=DeadLetter("unparseable_body", str(error)))
        return Reading(record, endpoint, draft)

    def decide(self, task: Reading, state: Mapping[bytes, bytes]) -> Outcome:
        """Merge the event into its resources and forward it in our language."""
        if task.unusable is not None:
            return task.unusable
        event_id = task.record.header(headers.EVENT_ID) or ""
        merged = [
            (change, key, _merge(state.get(key), change, event_id))
            for change, key in zip(_changes(task), task.state_keys, strict=True)
        ]
        event = self._event(task, merged[0] if merged else None)
        output = Output(self._to, task.record.key, encode(event), _headers(event, task.record))
        return Forward((output,), state=tuple((key, encode_state(m.state)) for _, key, m in merged))

    def _event(self, task: Reading, own: tuple[Change, bytes, Merged] | None) -> Event:
        record, endpoint, draft = task.record, task.endpoint, task.draft
        assert endpoint is not None
        assert draft is not None
        return Event(
            id=normalized_id(headers.dedup_key(record)),
            type=f"{draft.kind}.{draft.status}",
            kind=draft.kind,
            status=draft.status,
            endpoint=endpoint.name,
            provider=endpoint.pack.name,
            mode=task.mode,  # type: ignore[arg-type]  # checked where it is configured
            occurred_at=draft.occurred_at,
            received_at=_received_at(record),
            subject=draft.subject,
            resource=_resource(own) if own else None,
            amount=draft.amount,
            amount_paid=draft.amount_paid,
            amount_refunded=draft.amount_refunded,
            discrepancy=draft.discrepancy,
            links=draft.links,
            failure=draft.failure,
            metadata=draft.metadata,
            provider_event=draft.provider_event,
            late=own[2].late if own else False,
            raw=self._raw(record),
        )

    def _raw(self, record: Record) -> Raw:
        offset = int(record.header(headers.RAW_OFFSET) or -1)
        return Raw(self._raw_topic, record.partition, offset, body_hash(record.value))


def _changes(task: Reading) -> tuple[Change, ...]:
    return task.draft.changes if task.draft else ()


def _merge(kept: bytes | None, change: Change, event_id: str) -> Merged:
    return merge(None if kept is None else decode_state(kept), change, event_id)


def _resource(own: tuple[Change, bytes, Merged]) -> Resource:
    change, _, merged = own
    state = merged.state
    return Resource(
        change.kind,  # type: ignore[arg-type]  # packs use the words of core.event.Kind
        change.resource_id,
        state.status,
        state.version,
        state.conflict,
    )


def _received_at(record: Record) -> str:
    received_us = int(record.header(headers.RECEIVED_AT) or record.timestamp_ms * 1000)
    text = from_epoch_us(received_us)
    assert text is not None
    return text


def _headers(event: Event, record: Record) -> Headers:
    carried = tuple(pair for pair in record.headers if pair[0] in _CARRIED)
    return cloudevents.headers(event) + carried
