"""Asks a broker who is in its cluster: a Metadata answer proves more than an open port.

One request of the Kafka protocol, Metadata version 4, written by hand, because this package
may not import a Kafka client. Layout: https://kafka.apache.org/protocol (RequestHeader v1,
ResponseHeader v0, Metadata v4); every broker from 0.11 to 4.x serves this version.
"""

import socket
import struct
from dataclasses import dataclass

METADATA_KEY, METADATA_VERSION = 3, 4
ANSWER_BYTES_MAX = 1 << 20
CLIENT_ID = b"hookmill-probe"


@dataclass(frozen=True)
class ClusterView:
    """What one broker says about its cluster: the brokers in it are registered and not fenced."""

    cluster_id: str | None
    controller_id: int
    broker_ids: frozenset[int]


def ask(host: str, port: int, *, timeout_secs: float = 1.0) -> ClusterView | None:
    """Return the broker's view of its cluster, or None when no sound answer arrives in time."""
    try:
        with socket.create_connection((host, port), timeout=timeout_secs) as connection:
            connection.settimeout(timeout_secs)
            connection.sendall(request())
            (size,) = struct.unpack(">i", _receive(connection, 4))
            if not 0 < size <= ANSWER_BYTES_MAX:
                return None
            return parse(_receive(connection, size))
    except (OSError, struct.error, ValueError):
        return None


def request() -> bytes:
    """A Metadata request for no topics that creates none, with its length in front."""
    header = struct.pack(">hhih", METADATA_KEY, METADATA_VERSION, 1, len(CLIENT_ID)) + CLIENT_ID
    body = struct.pack(">i?", 0, False)
    return struct.pack(">i", len(header) + len(body)) + header + body


def parse(answer: bytes) -> ClusterView:
    """Read a Metadata answer; raises struct.error or ValueError when it is not one."""
    reader = _Reader(answer)
    _correlation_id, _throttle_ms, broker_count = reader.take(">iii")
    broker_ids = set()
    for _ in range(broker_count):
        broker_ids.add(reader.take(">i")[0])
        reader.text()  # host
        reader.take(">i")  # port
        reader.text()  # rack
    cluster_id = reader.text()
    (controller_id,) = reader.take(">i")
    return ClusterView(cluster_id, controller_id, frozenset(broker_ids))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self._data, self._position)
        self._position += struct.calcsize(layout)
        return values

    def text(self) -> str | None:
        (size,) = self.take(">h")
        if size < 0:
            return None
        end = self._position + size
        if end > len(self._data):
            raise ValueError("the answer ends inside a text")
        value = self._data[self._position : end].decode()
        self._position = end
        return value


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        received += chunk
    return bytes(received)
