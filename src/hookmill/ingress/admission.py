"""How much is let in at once: requests and bytes, of one endpoint and in all.

Whoever finds no place may wait for one. To refuse a delivery costs nearly as much as to take it,
and who is refused comes again at once: an ingress that refuses what it has no place for does little
else. With twice as many connections as places a fifth of what it can take was accepted.
"""

from collections import Counter, deque
from collections.abc import Callable

from hookmill.config.options import Ingress
from hookmill.core.errors import Reason, Refused
from hookmill.telemetry import catalog

Admitted = Callable[[], None]
"""Told that it has a place."""


class Admission:
    """Counts what is in flight, and who waits to be let in: those of an endpoint one after the
    other, endpoints in turn, so that none of them shuts out another."""

    def __init__(self, limits: Ingress) -> None:
        self._limits = limits
        self._by_endpoint: Counter[str] = Counter()
        self._lines: dict[str, deque[Admitted]] = {}  # none is empty; whose turn it is comes first
        self.requests = 0
        self.waiting = 0
        self.held_bytes = 0
        # Read when they are scraped: to set them four times a request cost it 1.3 µs.
        catalog.IN_FLIGHT.set_function(lambda: self.requests)
        catalog.IN_FLIGHT_BYTES.set_function(lambda: self.held_bytes)
        catalog.INGRESS_WAITING.set_function(lambda: self.waiting)

    def enter(self, endpoint: str) -> bool:
        """Take a place for a request; False where there is none that nobody waits for."""
        if endpoint in self._lines or not self._has_place(endpoint):
            return False
        self._take(endpoint)
        return True

    def wait(self, endpoint: str, admitted: Admitted) -> None:
        """Who could not enter is told once a place was taken for it, if it does not give up."""
        self._lines.setdefault(endpoint, deque()).append(admitted)
        self.waiting += 1

    def give_up(self, endpoint: str, admitted: Admitted) -> None:
        """It waits no more."""
        line = self._lines[endpoint]
        line.remove(admitted)  # nearly always the first, who has waited longest
        self.waiting -= 1
        if not line:
            del self._lines[endpoint]

    def leave(self, endpoint: str, held_bytes: int) -> None:
        """A request that was let in is answered."""
        self.requests -= 1
        self._by_endpoint[endpoint] -= 1
        self.held_bytes -= held_bytes
        if self._lines:
            self._let_in()

    def hold(self, count: int) -> None:
        """Hold that many more bytes of a body; raises Refused."""
        if self.held_bytes + count > self._limits.bytes_in_flight_max:
            raise Refused(Reason.TOO_MANY_REQUESTS)
        self.held_bytes += count

    def release(self, count: int) -> None:
        """Hold that many fewer, of a request that was never let in."""
        self.held_bytes -= count

    def _has_place(self, endpoint: str) -> bool:
        limits = self._limits
        return (
            self.requests < limits.requests_in_flight_max
            and self._by_endpoint[endpoint] < limits.endpoint_requests_in_flight_max
        )

    def _let_in(self) -> None:
        """Give the place that became free to the first who can have it."""
        endpoint = next((each for each in self._lines if self._has_place(each)), None)
        if endpoint is None:
            return
        line = self._lines.pop(endpoint)
        admitted = line.popleft()
        self.waiting -= 1
        if line:
            self._lines[endpoint] = line  # behind the others
        self._take(endpoint)
        admitted()

    def _take(self, endpoint: str) -> None:
        self.requests += 1
        self._by_endpoint[endpoint] += 1


class RateLimit:
    """A token bucket: `per_sec` on average, bursts of twice that. The time is handed in."""

    def __init__(self, per_sec: float) -> None:
        self._per_sec = per_sec
        self._burst = max(1.0, 2 * per_sec) if per_sec else 0.0
        self._tokens = self._burst
        self._at_secs: float | None = None

    def allows(self, now_secs: float) -> bool:
        """Take one token if there is one."""
        if self._at_secs is not None:
            gained = max(0.0, now_secs - self._at_secs) * self._per_sec
            self._tokens = min(self._burst, self._tokens + gained)
        self._at_secs = now_secs
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
