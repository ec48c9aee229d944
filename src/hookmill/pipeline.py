"""THE MAP: every topic and every stage, in flow order.

provider ─▶ ingress ─▶ webhooks-raw ─▶ dedup ─▶ webhooks-unique ─▶ normalize
    ─▶ events-normalized ─▶ route ─▶ events-{kind}, handler-{name} ─▶ handler
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from hookmill.config.options import Configuration
from hookmill.core.event import STATUSES
from hookmill.providers.endpoint import Endpoint, window_secs_longest
from hookmill.providers.pack import KEEP_30_DAYS_SECS
from hookmill.stages.dedup import Dedup
from hookmill.stages.normalize import Normalize
from hookmill.stages.route import Route, Rule
from hookmill.stages.stage import Stage as Decision

RAW = "webhooks-raw"
DELIVERIES = "webhooks-deliveries"
REJECTED = "webhooks-rejected"
UNIQUE = "webhooks-unique"
SEEN = "dedup-seen"
NORMALIZED = "events-normalized"
RESOURCES = "resource-state"
POSITIONS = "route-positions"
KIND_TOPICS = {kind: f"events-{kind}" for kind in STATUSES}

DAY_MS = 86_400_000
KEEP_MS = 35 * DAY_MS
REJECTED_KEEP_MS = 7 * DAY_MS
RESOURCES_KEEP_MS = 400 * DAY_MS
SEEN_MARGIN_MS = 7 * DAY_MS
HEADROOM_BYTES = 256 * 1024


class Stage(msgspec.Struct, frozen=True):
    """A consumer group that reads one topic and writes others in transactions.

    Its changelog holds its state and its position: Kafka forgets the offset of a group that
    stood still for a week, long before it forgets the records.
    """

    name: str
    reads: str
    changelog: str

    @property
    def dead_letters(self) -> str:
        """Where it sets aside what it cannot decide."""
        return f"{self.name}-dlq"


DEDUP = Stage("dedup", reads=RAW, changelog=SEEN)
NORMALIZE = Stage("normalize", reads=UNIQUE, changelog=RESOURCES)
ROUTE = Stage("route", reads=NORMALIZED, changelog=POSITIONS)
STAGES = {stage.name: stage for stage in (DEDUP, NORMALIZE, ROUTE)}


class Topic(msgspec.Struct, frozen=True):
    """A topic as `topics apply` makes it; `name` is without the namespace."""

    name: str
    written_by: str
    retention_ms: int
    message_bytes_max: int
    cleanup: Literal["delete", "compact,delete"] = "delete"


def handler_queue(name: str) -> str:
    """The queue of the handler of that name."""
    return f"handler-{name}"


def handler_dead_letters(name: str) -> str:
    """Where the handler of that name sets events aside."""
    return f"handler-{name}-dlq"


def topics(config: Configuration, endpoints: Mapping[str, Endpoint]) -> list[Topic]:
    """Every topic in flow order. Later topics take larger records: headers grow on the way."""
    raw_bytes = config.ingress.body_bytes_max + HEADROOM_BYTES
    later_bytes = raw_bytes + HEADROOM_BYTES
    longest_secs = max(KEEP_30_DAYS_SECS, window_secs_longest(endpoints, KEEP_30_DAYS_SECS))
    seen_keep_ms = longest_secs * 1000 + SEEN_MARGIN_MS
    flow = [
        Topic(RAW, "ingress", KEEP_MS, raw_bytes),
        Topic(DELIVERIES, "ingress", KEEP_MS, raw_bytes),
        Topic(REJECTED, "ingress", REJECTED_KEEP_MS, raw_bytes),
        Topic(UNIQUE, "dedup", KEEP_MS, later_bytes),
        Topic(SEEN, "dedup", seen_keep_ms, later_bytes, "compact,delete"),
        Topic(DEDUP.dead_letters, "dedup", KEEP_MS, later_bytes),
        Topic(NORMALIZED, "normalize", KEEP_MS, later_bytes),
        Topic(RESOURCES, "normalize", RESOURCES_KEEP_MS, later_bytes, "compact,delete"),
        Topic(NORMALIZE.dead_letters, "normalize", KEEP_MS, later_bytes),
        *(Topic(name, "route", KEEP_MS, later_bytes) for name in KIND_TOPICS.values()),
        Topic(POSITIONS, "route", RESOURCES_KEEP_MS, later_bytes, "compact,delete"),
        Topic(ROUTE.dead_letters, "route", KEEP_MS, later_bytes),
    ]
    for name in config.handlers:
        flow.append(Topic(handler_queue(name), "route", KEEP_MS, later_bytes))
        flow.append(Topic(handler_dead_letters(name), f"handler {name}", KEEP_MS, later_bytes))
    return flow


class Names(msgspec.Struct, frozen=True):
    """Names as they are in the cluster: with the namespace in front, joined by a hyphen."""

    namespace: str = ""

    def topic(self, name: str) -> str:
        """The topic's name in the cluster."""
        return self._prefixed(name)

    def group(self, part: str) -> str:
        """The consumer group of a stage (`dedup`) or a handler (`handler-ledger`)."""
        return self._prefixed(f"hookmill-{part}")

    def _prefixed(self, name: str) -> str:
        if not self.namespace:
            return name
        return f"{self.namespace.rstrip('-')}-{name}"


def decision(
    stage: Stage, endpoints: Mapping[str, Endpoint], rules: Sequence[Rule], names: Names
) -> Decision[Any]:
    """The pure decision that a stage's engine runs, with all that it must know."""
    match stage.name:
        case "dedup":
            windows_secs = {name: each.dedup_window_secs for name, each in endpoints.items()}
            return Dedup(windows_secs, default_window_secs=KEEP_30_DAYS_SECS, to=UNIQUE)
        case "normalize":
            return Normalize(endpoints, raw_topic=names.topic(RAW), to=NORMALIZED)
        case "route":
            handlers = {name for rule in rules for name in rule.handlers}
            queues = {name: handler_queue(name) for name in handlers}
            return Route(rules, kind_topics=KIND_TOPICS, queues=queues)
        case _:
            raise AssertionError(f"no stage is called {stage.name}")
