"""THE MAP: every topic and every stage, in flow order.

provider ─▶ ingress ─▶ webhooks-raw ─▶ dedup ─▶ webhooks-unique ─▶ normalize
    ─▶ events-normalized ─▶ route ─▶ events-{kind}, handler-{name} ─▶ handler
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from hookmill.config.options import Configuration
from hookmill.core.event import STATUSES
from hookmill.providers.endpoint import Endpoint, window_secs_longest
from hookmill.providers.pack import KEEP_30_DAYS_SECS
from hookmill.stages.dedup import MARGIN_MS, Dedup
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
DECISIONS = "dlq-decisions"
KIND_TOPICS = {kind: f"events-{kind}" for kind in STATUSES}

DAY_MS = 86_400_000
KEEP_MS = 35 * DAY_MS
REJECTED_KEEP_MS = 7 * DAY_MS
RESOURCES_KEEP_MS = 400 * DAY_MS
SEEN_MARGIN_MS = MARGIN_MS
HEADROOM_BYTES = 256 * 1024
CHANGELOG_SEGMENT_MS = 3_600_000


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
    cleanup: Literal["delete", "compact,delete", "compact"] = "delete"

    @property
    def segment_ms(self) -> int | None:
        """After how long a segment is closed: only closed ones are compacted. A changelog gets a
        mark with every transaction, and its compaction decides how long a restore takes."""
        return CHANGELOG_SEGMENT_MS if "compact" in self.cleanup else None


class HandlerTopics(msgspec.Struct, frozen=True):
    """The topics of the handler of that name, without the namespace."""

    handler: str

    @property
    def part(self) -> str:
        """What the handler is called in group names, headers and metrics."""
        return f"handler-{self.handler}"

    @property
    def queue(self) -> str:
        """The events that the rules name it for, in order for each subject."""
        return self.part

    @property
    def dead_letters(self) -> str:
        """Where it sets events aside."""
        return f"{self.part}-dlq"

    @property
    def state(self) -> str:
        """The changelog: which subjects wait, and the events parked behind them."""
        return f"{self.part}-state"

    def retry(self, delay_secs: int) -> str:
        """Where failed events wait for that long."""
        return f"{self.part}-retry-{delay_secs}"

    def delay_secs(self, topic: str) -> int | None:
        """How long events wait in that topic; None if it is no retry topic of this handler."""
        prefix, _, delay = topic.rpartition("-")
        return int(delay) if prefix == f"{self.part}-retry" and delay.isdecimal() else None


def topics(config: Configuration, endpoints: Mapping[str, Endpoint]) -> list[Topic]:
    """Every topic in flow order. Later topics take larger records: headers grow on the way."""
    raw_bytes = config.ingress.body_bytes_max + HEADROOM_BYTES
    later_bytes = raw_bytes + HEADROOM_BYTES
    parked_bytes = later_bytes + HEADROOM_BYTES
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
    for name, options in config.handlers.items():
        its, writer = HandlerTopics(name), f"handler {name}"
        flow.append(Topic(its.queue, "route", KEEP_MS, later_bytes))
        flow += [
            Topic(its.retry(delay), writer, KEEP_MS, later_bytes)
            for delay in options.retry_delays_secs
        ]
        flow.append(Topic(its.state, writer, KEEP_MS, parked_bytes, "compact"))
        flow.append(Topic(its.dead_letters, writer, KEEP_MS, later_bytes))
    flow.append(Topic(DECISIONS, "dlq", KEEP_MS, later_bytes, "compact"))
    return flow


def sent_again_to(handlers: Iterable[str]) -> dict[str, str]:
    """By dead-letter topic, in flow order: the topic that its letters are sent again to.

    A stage's are to its input; a handler's to that handler's own queue, so that a redrive reaches
    nobody else. Always on the partition number on which the letter lies.
    """
    stages = {stage.dead_letters: stage.reads for stage in STAGES.values()}
    queues = {its.dead_letters: its.queue for its in map(HandlerTopics, handlers)}
    return stages | queues


class Names(msgspec.Struct, frozen=True):
    """Names as they are in the cluster: with the namespace in front, joined by a hyphen."""

    namespace: str = ""

    def topic(self, name: str) -> str:
        """The topic's name in the cluster."""
        return self._prefixed(name)

    def plain(self, name: str) -> str | None:
        """The topic of that name in the cluster without the namespace; None if not of ours."""
        prefix = self._prefixed("")
        return name.removeprefix(prefix) if name.startswith(prefix) else None

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
            queues = {name: HandlerTopics(name).queue for name in handlers}
            return Route(rules, kind_topics=KIND_TOPICS, queues=queues)
        case _:
            raise AssertionError(f"no stage is called {stage.name}")
