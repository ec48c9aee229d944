"""The catalog for people: metrics by who shows them, their labels, and the log events; pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from prometheus_client.metrics import MetricWrapperBase

from hookmill.telemetry import catalog

SECTIONS: Mapping[str, Sequence[MetricWrapperBase]] = {
    "Ingress": (
        catalog.REQUESTS, catalog.REQUEST_SECONDS, catalog.APPEND_SECONDS, catalog.IN_FLIGHT,
        catalog.INGRESS_WAITING, catalog.IN_FLIGHT_BYTES, catalog.BREAKER_OPEN,
        catalog.REJECTED_UNKEPT, catalog.CONNECTIONS, catalog.CONNECTIONS_ENDED,
        catalog.SECRET_MODIFIED, catalog.TLS_EXPIRY,
    ),
    "Stages": (
        catalog.STAGE_RECORDS, catalog.TRANSACTIONS, catalog.TRANSACTION_SECONDS,
        catalog.BATCH_RECORDS, catalog.RETRIES, catalog.DUPLICATES, catalog.DUPLICATE_AGE,
        catalog.DEDUP_WINDOW, catalog.UNRECOGNIZED, catalog.ROUTED, catalog.ROUTE_MATCHES,
        catalog.ROUTE_UNMATCHED,
    ),
    "Handlers": (
        catalog.HANDLED, catalog.HANDLER_SECONDS, catalog.SETTLED_SECONDS, catalog.WAITING,
        catalog.PARKED, catalog.HTTP_REQUESTS, catalog.HTTP_SECONDS, catalog.HTTP_BREAKER_OPEN,
    ),
    "Stages and handlers": (
        catalog.DEAD_LETTERS, catalog.ASSIGNED, catalog.LAG_RECORDS, catalog.LAG_SECONDS,
        catalog.WORKER_RESTARTS, catalog.RESTORED, catalog.RESTORE_LEFT,
    ),
    "Monitor": (
        catalog.GROUP_LAG_RECORDS, catalog.GROUP_LAG_SECONDS, catalog.GROUP_MEMBERS,
        catalog.UNDER_REPLICATED, catalog.BELOW_MIN_INSYNC, catalog.OFFLINE,
        catalog.DEAD_LETTERS_OPEN, catalog.MONITOR_SUCCESS,
    ),
    "Every process": (catalog.LOG_LINES_LOST,),
}  # fmt: skip
"""Every metric of the catalog, by the process that sets it."""

LABELS: Mapping[str, str] = {
    "endpoint": "an endpoint of the configuration; `-` where a request names none that there is",
    "outcome": "what became of it, a word of the list in the metric's own meaning",
    "reason": "why: a reason code of ours; a handler's own words are the first 50 that its process "
    "met, then `other`",
    "stage": "dedup, normalize or route; `handler-NAME` where it is about a handler's state",
    "part": "a stage, or `handler-NAME`",
    "provider": "a provider pack",
    "type": "a provider's own word for an event: the first 50 that the process met, then `other`",
    "result": "committed or failed",
    "partition": "a partition number; at most `kafka.partitions` of them",
    "group": "a consumer group by its whole name, with the namespace",
    "topic": "a topic by its whole name, with the namespace",
    "error": "the class of an error",
    "handler": "a handler of the configuration",
    "rule": "a route of the configuration",
    "kind": "payment, refund, transfer, subscription, dispute or other",
    "secret": "the name of a secret of the configuration, never the secret",
}
"""Every label, and what bounds its values."""


class Metric(msgspec.Struct, frozen=True):
    """A metric as Prometheus shows it: a histogram has `_bucket`, `_sum` and `_count` as well."""

    name: str
    type: str
    labels: list[str]
    section: str
    meaning: str


class LogEvent(msgspec.Struct, frozen=True):
    """A log event, its level and what it means."""

    name: str
    level: str
    meaning: str


def metrics() -> list[Metric]:
    """Every metric, section by section."""
    return [_shown(section, each) for section, several in SECTIONS.items() for each in several]


def events() -> list[LogEvent]:
    """Every log event, in the order of the catalog."""
    return [LogEvent(name, level, why) for name, (level, why) in catalog.EVENTS.items()]


def markdown() -> str:
    """The tables of `docs/TELEMETRY.md`."""
    parts = ["## Metrics"]
    found = metrics()
    for section in SECTIONS:
        rows = [(f"`{each.name}`", each.type, ", ".join(each.labels), each.meaning)
                for each in found if each.section == section]  # fmt: skip
        parts += [f"### {section}", _table(("metric", "type", "labels", "what it says"), rows)]
    labels = [(f"`{name}`", text) for name, text in LABELS.items()]
    parts += ["## Labels", _table(("label", "what it holds"), labels)]
    rows_of_events = [(f"`{each.name}`", each.level, each.meaning) for each in events()]
    parts += ["## Log events", _table(("event", "level", "what it says"), rows_of_events)]
    return "\n\n".join(parts) + "\n"


def _shown(section: str, metric: MetricWrapperBase) -> Metric:
    (family, *_) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = list(metric._labelnames)
    return Metric(name, family.type, labels, section, family.documentation)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
                     for line in lines)  # fmt: skip
