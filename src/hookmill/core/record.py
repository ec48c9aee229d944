"""A Kafka record as the stages see it, and one that is to be written."""

from collections.abc import Sequence

import msgspec

Headers = tuple[tuple[str, bytes], ...]

HEADER_BYTES = 10
"""What a header takes beside its name and its value, generously."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record read from a topic. `timestamp_ms` is the broker's append time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: Headers = ()

    def header(self, name: str) -> str | None:
        """The last header of that name as text (undecodable bytes replaced), or None."""
        value = dict(self.headers).get(name)
        return None if value is None else value.decode("utf-8", "replace")


class Output(msgspec.Struct, frozen=True, gc=False):
    """A record to be written to `topic` (its name without the namespace).

    It has no partition: whoever writes it uses the partition number of its input.
    """

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers = ()


def size_of(record: Record | Output) -> int:
    """About how many bytes it takes in a batch, rather more.

    MessagePack too writes each text behind its length: to have the headers written takes a quarter
    of the time that it takes to add them up.
    """
    headers_bytes = len(_encoded(record.headers)) + HEADER_BYTES * len(record.headers)
    return len(record.key) + len(record.value or b"") + headers_bytes


def with_headers(headers: Headers, added: Sequence[tuple[str, str]]) -> Headers:
    """The headers with those of the same names replaced by the added ones, in their order."""
    names = {name for name, _ in added}
    kept = tuple(pair for pair in headers if pair[0] not in names)
    return kept + tuple((name, value.encode("utf-8", "backslashreplace")) for name, value in added)


_encoded = msgspec.msgpack.Encoder().encode
