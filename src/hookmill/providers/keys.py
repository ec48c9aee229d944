"""Secrets as keys, and the constant-time comparisons made with them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from hookmill.core.delivery import Secret
from hookmill.core.errors import Reason, Refused

_BASE64_SECRET = "whsec_"


def signing_key(text: str) -> bytes:
    """The key behind a secret: UTF-8 bytes, or for `whsec_…` its base64 (padding optional).

    Raises ValueError where nothing is left or it is no base64.
    Source: Standard Webhooks 1.0.0, "Signature scheme".
    """
    if not text.startswith(_BASE64_SECRET):
        key = text.encode()
    else:
        encoded = text.removeprefix(_BASE64_SECRET).rstrip("=")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("a whsec_ secret must be base64 after its prefix") from None
    if not key:
        raise ValueError("the secret is empty")
    return key


def verify_hmac(
    message: bytes, *, candidates: Sequence[bytes], secrets: Sequence[Secret], algorithm: str
) -> Secret:
    """Return the live secret that signed the message with one of the candidate signatures.

    `algorithm` is a hashlib name. Every secret is tried against every candidate in constant
    time. Raises Refused with `signature_invalid` if none fits.
    """
    found = None
    for secret in secrets:
        mac = _keyed(secret.key, algorithm).copy()
        mac.update(message)
        expected = mac.digest()
        for candidate in candidates:
            if hmac.compare_digest(expected, candidate) and found is None:
                found = secret
    if found is None:
        raise Refused(Reason.SIGNATURE_INVALID)
    return found


@lru_cache(maxsize=256)
def _keyed(key: bytes, algorithm: str) -> hmac.HMAC:
    """An HMAC that has taken in its key and no message yet. A copy of it and 1 KiB of message take
    half of what `hmac.digest` does, which looks the algorithm up and takes the key in each time."""
    return hmac.new(key, digestmod=algorithm)


def verify_static(offered: bytes, *, secrets: Sequence[Secret]) -> Secret:
    """Return the live secret that equals what was offered; raise Refused `secret_invalid`.

    Compared as hashes, so that not even the length of a secret shows.
    """
    digest = hashlib.sha256(offered).digest()
    found = None
    for secret in secrets:
        if hmac.compare_digest(hashlib.sha256(secret.key).digest(), digest) and found is None:
            found = secret
    if found is None:
        raise Refused(Reason.SECRET_INVALID)
    return found
