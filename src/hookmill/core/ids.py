"""The keys and ids that order, deduplicate and name things; every one of them is made here."""

import hashlib
import uuid

TEXT_BYTES_MAX = 256


def bounded(text: str) -> str:
    """The text, or where it is longer than 256 bytes or no UTF-8, `sha256:` and its hash.

    `%` and `|` are escaped as in a URL, so that two ids never make one key.
    """
    if text.isascii() and len(text) <= TEXT_BYTES_MAX and "%" not in text and "|" not in text:
        return text  # nearly every id there is
    raw = text.encode("utf-8", "surrogatepass")
    try:
        plain = raw.decode()
    except UnicodeDecodeError:  # bytes of a header that were no UTF-8
        plain = ""
    if not plain or len(raw) > TEXT_BYTES_MAX:
        return "sha256:" + hashlib.sha256(raw).hexdigest() if raw else ""
    return plain.replace("%", "%25").replace("|", "%7C")


def body_hash(body: bytes) -> str:
    """SHA-256 of the exact bytes, in hex."""
    return hashlib.sha256(body).hexdigest()


def subject_key(endpoint: str, subject: str) -> bytes:
    """The record key: `endpoint|subject`. Computed at the ingress only; stages copy it."""
    return f"{endpoint}|{bounded(subject)}".encode()


def resource_key(endpoint: str, mode: str, kind: str, resource_id: str) -> bytes:
    """The key of a resource's state: `endpoint|mode|kind|resource id`."""
    return f"{endpoint}|{mode}|{kind}|{bounded(resource_id)}".encode()


def normalized_id(dedup: bytes) -> str:
    """The normalized event's id: a hash of the dedup key and nothing else, the same for ever."""
    return "hm_" + hashlib.sha256(dedup).hexdigest()[:32]


def uuid7(epoch_us: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) from a time and eight random bytes.

    The 12 bits behind the milliseconds hold the microseconds (method 3 of section 6.2).
    """
    epoch_ms, micros = divmod(epoch_us, 1000)
    fraction = micros * 4096 // 1000
    high = (epoch_ms << 16 | 0x7000 | fraction).to_bytes(8, "big").hex()
    variant, low = "89ab"[random[0] >> 4 & 0b11], random.hex()
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-{variant}{low[1:4]}-{low[4:]}"


def uuid7_epoch_ms(text: str) -> int | None:
    """The time inside a UUIDv7 in epoch milliseconds, or None if the text is none."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return value.int >> 80 if value.version == 7 else None
