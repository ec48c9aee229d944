"""Secrets as keys, and the constant-time comparisons made with them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence

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
    message: bytes, *, candidates: Iterable[bytes], secrets: Sequence[Secret], algorithm: str
) -> Secret:
    """Return the live secret that signed the message with one of the candidate signatures.

    `algorithm` is a hashlib name. Every secret is tried against every candidate in constant
    time. Raises Refused with `signature_invalid` if none fits.
    """
    offered = list(candidates)
    found = None
    for secret in secrets:
        expected = hmac.digest(secret.key, message, algorithm)
        for candidate in offered:
            if hmac.compare_digest(expected, candidate) and found is None:
                found = secret
    if found is None:
        raise Refused(Reason.SIGNATURE_INVALID)
    return found


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
