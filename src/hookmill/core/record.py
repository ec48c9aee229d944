"""A Kafka record as the stages see it, and one that is to be written."""

from collections.abc import Sequence

import msgspec

Headers = tuple[tuple[str, bytes], ...]


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


def with_headers(headers: Headers, added: Sequence[tuple[str, str]]) -> Headers:
    """The headers with those of the same names replaced by the added ones, in their order."""
    names = {name for name, _ in added}
    kept = tuple(pair for pair in headers if pair[0] not in names)
    return kept + tuple((name, value.encode("utf-8", "backslashreplace")) for name, value in added)
