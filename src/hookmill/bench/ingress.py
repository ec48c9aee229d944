"""What the ingress costs a delivery: requests to post, and whether what came of them is right."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from hookmill.bench.figures import Check, Row, latency
from hookmill.bench.load import Outcome
from hookmill.core.parse import exact_number, parse_object
from hookmill.core.record import Record
from hookmill.local.simulated import Plan, steps
from hookmill.local.simulator import Target, signed, stories_of
from hookmill.local.stories.story import Step
from hookmill.stages import headers

BODY_BYTES = 1024
"""About what a payment's webhook weighs; the simulator's are filled up to it."""


class Posted(msgspec.Struct, frozen=True):
    """A request as it goes over the wire, and the body that must come out in Kafka."""

    wire: bytes
    body: bytes


def posts(target: Target, count: int, *, seed: int, at_us: int) -> list[Posted]:
    """So many different deliveries of the provider, signed now, each a whole HTTP request."""
    plan = Plan(count=count, seed=seed)
    return [_post(target, step, at_us) for step in steps(stories_of(target.pack), plan, at_us)]


def _post(target: Target, step: Step, at_us: int) -> Posted:
    fields = parse_object(step.body)
    missing = BODY_BYTES - len(step.body) - len(',"note":""')
    fields["payload"]["metadata"]["note"] = "x" * max(0, missing)
    body = msgspec.json.encode(fields, enc_hook=exact_number)
    request = signed(target, msgspec.structs.replace(step, body=body), at_us=at_us)
    head = {
        "host": "hooks.example.com",
        "user-agent": "provider/1.0",
        "accept": "*/*",
        "content-length": str(len(request.body)),
        **request.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    path = f"/webhooks/{target.endpoint}"
    return Posted(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body, request.body)


class Side(msgspec.Struct):
    """One of the two servers, and all that was measured of it, round by round."""

    name: str
    cpu_secs: float = 0.0
    wall_secs: float = 0.0
    load_cpu_secs: float = 0.0
    rss_bytes: int = 0
    took_secs: list[float] = []
    offered: int = 0
    kept: dict[str, bytes] = {}
    """What was answered 2xx: the body by the delivery's id."""

    def add(
        self, posted: Sequence[Posted], outcome: Outcome, cpu_secs: float, rss_bytes: int
    ) -> None:
        """A round is over; `cpu_secs` are the server's."""
        self.cpu_secs += cpu_secs
        self.wall_secs += outcome.wall_secs
        self.load_cpu_secs += outcome.cpu_secs
        self.rss_bytes = max(self.rss_bytes, rss_bytes)
        self.offered += len(posted)
        self.took_secs += [each.took_secs for each in outcome.answers]
        self.kept |= accepted(posted, outcome)

    def row(self) -> Row:
        """As a row of the table."""
        return Row(
            name=self.name,
            work=self.offered,
            wall_secs=self.wall_secs,
            cpu_secs=self.cpu_secs,
            latency=latency(self.took_secs),
            rss_bytes=self.rss_bytes,
        )


def accepted(posted: Sequence[Posted], outcome: Outcome) -> dict[str, bytes]:
    """The bodies that were answered 2xx, by the delivery ids of the answers."""
    return {
        each.delivery: posted[each.number].body
        for each in outcome.answers
        if 200 <= each.status < 300
    }


def all_kept(where: str, kept: Mapping[str, bytes], found: Iterable[Record]) -> Check:
    """Whether every acknowledged delivery lies in Kafka, once and byte for byte; nothing else."""
    bodies = [(each.header(headers.DELIVERY), each.value) for each in found]
    right = len(bodies) == len(kept) and all(kept.get(id or "") == body for id, body in bodies)
    return Check(f"what was answered 200 is in {where}, byte for byte, and nothing else", right)
