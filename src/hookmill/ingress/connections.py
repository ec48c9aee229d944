"""How many connections are open, and which of them do nothing: a silent one costs a place too."""

import resource
from typing import Protocol

from hookmill.telemetry import catalog

SPARE_DESCRIPTORS = 256
"""For Kafka, files and the private port."""


class Connection(Protocol):
    """What can be ended."""

    def end(self) -> None:
        """Close it at once."""


class Connections:
    """Counts connections. When there are too many, the one that has been idle longest is ended:
    whoever only holds places gives way to whoever has something to say."""

    def __init__(self, connections_max: int) -> None:
        self._max = connections_max
        self._idle: dict[Connection, None] = {}  # the longest idle one comes first
        self.open = 0

    def opened(self, connection: Connection) -> bool:
        """A connection came; returns False if there is no place for it."""
        if self.open >= self._max:
            catalog.CONNECTIONS_ENDED.labels("too_many").inc()
            if not self._idle:
                return False
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.end()
        self.open += 1
        self._idle[connection] = None
        catalog.CONNECTIONS.set(self.open)
        return True

    def closed(self, connection: Connection) -> None:
        """One that was let in is gone."""
        self.open -= 1
        self._idle.pop(connection, None)
        catalog.CONNECTIONS.set(self.open)

    def busy(self, connection: Connection) -> None:
        """It has sent a request."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Its request is answered."""
        self._idle[connection] = None


def room_for(connections_max: int) -> int:
    """As many of these as the process may have open, once its soft limit is raised to the hard.

    Where that is next to nothing, half of it: an ingress that lets nobody in helps nobody.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections_max
    return min(connections_max, max(soft - SPARE_DESCRIPTORS, soft // 2))
