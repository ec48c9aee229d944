"""What failed verification, for `webhooks-rejected`: capped, and never with a credential."""

import base64
from collections.abc import Sequence

import msgspec

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason
from hookmill.core.record import Output
from hookmill.stages import headers

BODY_BYTES_MAX = 16 * 1024


def rejected(
    delivery: Delivery,
    *,
    topic: str,
    delivery_id: str,
    endpoint: str,
    reason: Reason,
    peer: str,
    secrets: Sequence[Secret],
) -> Output:
    """The record of a refused delivery: the body's beginning and the *names* of its headers.

    A body that holds a live secret of any endpoint (somebody put it in the wrong place) is left
    out.
    """
    leaks = any(_is_in(secret, delivery.body) for secret in secrets)
    names = [
        name
        for name in delivery.headers_by_name()
        if not any(_is_in(s, name.encode(), lower_case=True) for s in secrets)
    ]
    return Output(
        topic,
        endpoint.encode(),
        b"" if leaks else delivery.body[:BODY_BYTES_MAX],
        (
            (headers.DELIVERY, delivery_id.encode()),
            (headers.ENDPOINT, endpoint.encode()),
            (headers.REASON, reason.value.encode()),
            (headers.RECEIVED_AT, str(delivery.received_at_us).encode()),
            ("hm-peer", peer.encode()),
            ("hm-header-names", msgspec.json.encode(sorted(names)[:100])),
            ("hm-body-bytes", str(len(delivery.body)).encode()),
        ),
    )


def _is_in(secret: Secret, text: bytes, *, lower_case: bool = False) -> bool:
    """Whether the key, or its base64 form, is in the text; header names come in lower case."""
    forms = (secret.key, base64.b64encode(secret.key).rstrip(b"="))
    return any((form.lower() if lower_case else form) in text for form in forms)
