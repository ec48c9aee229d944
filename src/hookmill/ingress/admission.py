"""How much is let in at once: requests and bytes, of one endpoint and in all."""

from collections import Counter

from hookmill.config.options import Ingress
from hookmill.core.errors import Reason, Refused
from hookmill.telemetry import catalog


class Admission:
    """Counts what is in flight; refuses with `too_many_requests` what would be too much."""

    def __init__(self, limits: Ingress) -> None:
        self._limits = limits
        self._by_endpoint: Counter[str] = Counter()
        self.requests = 0
        self.held_bytes = 0
        # Read when they are scraped: to set them four times a request cost it 1.3 µs.
        catalog.IN_FLIGHT.set_function(lambda: self.requests)
        catalog.IN_FLIGHT_BYTES.set_function(lambda: self.held_bytes)

    def enter(self, endpoint: str, held_bytes: int = 0) -> None:
        """Let a request in, with the bytes of its body that have come; raises Refused."""
        limits = self._limits
        if (
            self.requests >= limits.requests_in_flight_max
            or self._by_endpoint[endpoint] >= limits.endpoint_requests_in_flight_max
            or self.held_bytes + held_bytes > limits.bytes_in_flight_max
        ):
            raise Refused(Reason.TOO_MANY_REQUESTS)
        self.requests += 1
        self._by_endpoint[endpoint] += 1
        self.held_bytes += held_bytes

    def leave(self, endpoint: str, held_bytes: int) -> None:
        """A request that was let in is answered."""
        self.requests -= 1
        self._by_endpoint[endpoint] -= 1
        self.held_bytes -= held_bytes

    def hold(self, count: int) -> None:
        """Hold that many more bytes of a body; raises Refused."""
        if self.held_bytes + count > self._limits.bytes_in_flight_max:
            raise Refused(Reason.TOO_MANY_REQUESTS)
        self.held_bytes += count


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
