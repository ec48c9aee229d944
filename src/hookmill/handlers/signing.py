"""Signs what is sent by the Standard Webhooks rules, with every live secret.

Source: Standard Webhooks 1.0.0, https://www.standardwebhooks.com, "Webhook Headers" and
"Signature scheme".
"""

import base64
import hmac
from collections.abc import Sequence

from hookmill.providers.keys import signing_key

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

PREFIX = "whsec_"
KEY_BYTES_MIN = 24
KEY_BYTES_MAX = 64


def key_of(text: str) -> bytes:
    """The key in a `whsec_…` secret; raises ValueError that says what it must be.

    Receivers' libraries take any secret for base64: one that is none would never verify there.
    """
    if not text.startswith(PREFIX):
        raise ValueError(
            f"it must be {PREFIX} and base64, as the receiver's library wants it; "
            f'one can be made by: echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    key = signing_key(text)
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise ValueError(
            f"it holds {len(key)} bytes; Standard Webhooks wants {KEY_BYTES_MIN} to {KEY_BYTES_MAX}"
        )
    return key


def signed_headers(body: bytes, *, id: str, at_secs: int, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers for a body sent at an epoch second: one signature for each key."""
    message = f"{id}.{at_secs}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, message, "sha256")).decode() for key in keys]
    return {
        ID: id,
        TIMESTAMP: str(at_secs),
        SIGNATURE: " ".join(f"v1,{each}" for each in signatures),
    }
