"""From an authentic delivery to the records that are kept: what the ingress appends."""

from functools import lru_cache

import msgspec

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.ids import body_hash, bounded, subject_key
from hookmill.core.record import Headers, Output
from hookmill.providers.endpoint import Endpoint
from hookmill.stages import headers


def accept(
    delivery: Delivery,
    *,
    delivery_id: str,
    endpoint: Endpoint,
    secret: Secret,
    to: str,
    whole_to: str,
    traceparent: str | None = None,
) -> list[Output]:
    """The records of a verified delivery, one an item, keyed by their subject, for topic `to`.

    A delivery of several items leaves its exact body in `whole_to` as well. `traceparent` is that
    of our own trace: what the sender's headers say of one is not passed on.
    """
    items = endpoint.pack.identify(delivery, endpoint.options)
    common = _common_headers(delivery, delivery_id, endpoint, secret, traceparent)
    records = [
        Output(to, _key(endpoint, item), item.body, common + _item_headers(item, n, len(items)))
        for n, item in enumerate(items, start=1)
    ]
    if len(items) > 1:
        records.append(Output(whole_to, delivery_id.encode(), delivery.body, common))
    return records


def _key(endpoint: Endpoint, item: Item) -> bytes:
    return subject_key(endpoint.name, item.subject or item.event_id or body_hash(item.body))


def _common_headers(
    delivery: Delivery,
    delivery_id: str,
    endpoint: Endpoint,
    secret: Secret,
    traceparent: str | None,
) -> tuple[tuple[str, bytes], ...]:
    evidence = endpoint.pack.evidence(delivery, endpoint.options)
    content_type = (delivery.header("content-type") or "")[:256]
    traced: Headers = ()
    if traceparent is not None:
        traced = ((headers.TRACEPARENT, traceparent.encode()),)
    return (
        (headers.DELIVERY, delivery_id.encode()),
        *_endpoint_headers(endpoint.name, endpoint.pack.name),
        (headers.RECEIVED_AT, b"%d" % delivery.received_at_us),
        (headers.SECRET, secret.name.encode()),
        (headers.CONTENT_TYPE, content_type.encode("utf-8", "replace")),
        *traced,
        (headers.SIGNED, _json(evidence)),
    )


@lru_cache(maxsize=1024)
def _endpoint_headers(endpoint: str, provider: str) -> Headers:
    """The same for every delivery of an endpoint."""
    return ((headers.ENDPOINT, endpoint.encode()), (headers.PROVIDER, provider.encode()))


def _item_headers(item: Item, number: int, count: int) -> tuple[tuple[str, bytes], ...]:
    return (
        (headers.ITEM, f"{number}/{count}".encode()),
        (headers.EVENT_ID, bounded(item.event_id).encode()),
        (headers.EVENT_TYPE, bounded(item.event_type).encode()),
    )


def _json(evidence: dict[str, list[str] | str]) -> bytes:
    """Header bytes that were no UTF-8 arrive as surrogates, which JSON cannot carry."""
    try:
        return msgspec.json.encode(evidence)
    except UnicodeEncodeError:
        return msgspec.json.encode(
            {
                name: [_clean(each) for each in value] if isinstance(value, list) else _clean(value)
                for name, value in evidence.items()
            }
        )


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
