"""Everything the service can say: every log event and every metric, listed once.

A test holds this list to the code, both ways. Labels are bounded: endpoints, reason codes,
stages, partitions, rules; never an id, a key or anything that came in a request.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from hookmill.telemetry.kinds import LoopCounter, LoopHistogram, Moment

disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
REGISTRY = CollectorRegistry()

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_AGES = (
    1, 10, _MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 36 * _HOUR, 2 * _DAY, 3 * _DAY, 4 * _DAY,
    5 * _DAY, 7 * _DAY, 10 * _DAY, 14 * _DAY, 21 * _DAY, 30 * _DAY,
)  # fmt: skip
_SETTLED = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 5 * _MINUTE, 30 * _MINUTE,
    _HOUR, 6 * _HOUR, _DAY,
)  # fmt: skip

REQUESTS = LoopCounter(
    "hookmill_ingress_requests",
    "Deliveries answered, by endpoint ('-' where there is none) and outcome: accepted or a reason",
    ("endpoint", "outcome"),
    registry=REGISTRY,
)
REQUEST_SECONDS = LoopHistogram(
    "hookmill_ingress_request_seconds",
    "From a delivery's headers to its answer",
    ("endpoint",),
    buckets=_LATENCY,
    registry=REGISTRY,
)
APPEND_SECONDS = Histogram(
    "hookmill_ingress_append_seconds",
    "From a request with batches to Kafka's acknowledgement of them",
    buckets=_LATENCY,
    registry=REGISTRY,
)
IN_FLIGHT = Gauge("hookmill_ingress_in_flight", "Deliveries being answered", registry=REGISTRY)
INGRESS_WAITING = Gauge(
    "hookmill_ingress_waiting", "Deliveries that wait until fewer are in flight", registry=REGISTRY
)
IN_FLIGHT_BYTES = Gauge(
    "hookmill_ingress_in_flight_bytes", "Bytes of bodies held", registry=REGISTRY
)
BREAKER_OPEN = Gauge(
    "hookmill_ingress_breaker_open", "1 while Kafka is known to be out", registry=REGISTRY
)
SECRET_MODIFIED = Gauge(
    "hookmill_secret_modified_timestamp_seconds",
    "When the file of an endpoint's secret was last written, epoch seconds; of files only",
    ("endpoint", "secret"),
    registry=REGISTRY,
)
TLS_EXPIRY = Moment(
    "hookmill_tls_certificate_expiry_timestamp_seconds",
    "When the certificate of the public port expires, epoch seconds; only with TLS",
    registry=REGISTRY,
)
REJECTED_UNKEPT = Counter(
    "hookmill_ingress_rejected_unkept",
    "Refused deliveries not written to webhooks-rejected: over the rate, or Kafka out",
    ("endpoint",),
    registry=REGISTRY,
)

STAGE_RECORDS = Counter(
    "hookmill_stage_records",
    "Records decided and committed, by outcome: forwarded, dropped, dead_lettered",
    ("stage", "outcome"),
    registry=REGISTRY,
)
DUPLICATES = Counter(
    "hookmill_duplicates_dropped",
    "Duplicates dropped by dedup, by endpoint",
    ("endpoint",),
    registry=REGISTRY,
)
DUPLICATE_AGE = Histogram(
    "hookmill_duplicate_age_seconds",
    "How long after its event's first sighting a duplicate came; near the window: is it too short?",
    ("endpoint",),
    buckets=_AGES,
    registry=REGISTRY,
)
DEDUP_WINDOW = Gauge(
    "hookmill_dedup_window_seconds",
    "How long an event of the endpoint is remembered",
    ("endpoint",),
    registry=REGISTRY,
)
UNRECOGNIZED = Counter(
    "hookmill_unrecognized_events",
    "Authentic events that no row of the provider's table fits, by the provider's own type: the "
    "first 50 that the process met, then 'other'",
    ("provider", "type"),
    registry=REGISTRY,
)
ROUTED = Counter(
    "hookmill_routed_events",
    "Events that route passed on, by kind; each is in events-{kind}",
    ("kind",),
    registry=REGISTRY,
)
ROUTE_MATCHES = Counter(
    "hookmill_route_matches",
    "Events that a rule of the route table took; an event may be taken by several",
    ("rule",),
    registry=REGISTRY,
)
ROUTE_UNMATCHED = Counter(
    "hookmill_route_unmatched_events",
    "Events that no rule took, by kind: no handler gets them, events-{kind} has them all the same",
    ("kind",),
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "hookmill_dead_letters",
    "Records set aside, by part and reason",
    ("part", "reason"),
    registry=REGISTRY,
)
TRANSACTIONS = Counter(
    "hookmill_transactions",
    "Kafka transactions: committed or failed",
    ("stage", "result"),
    registry=REGISTRY,
)
TRANSACTION_SECONDS = Histogram(
    "hookmill_transaction_seconds",
    "From the first send of a transaction to its commit",
    ("stage",),
    buckets=_LATENCY,
    registry=REGISTRY,
)
BATCH_RECORDS = Histogram(
    "hookmill_stage_batch_records",
    "Records of a transaction: near 1,000 while a stage catches up, few while it keeps up",
    ("stage",),
    buckets=_RECORDS,
    registry=REGISTRY,
)
RETRIES = Counter(
    "hookmill_stage_retries",
    "Batches tried again in place, by reason",
    ("stage", "reason"),
    registry=REGISTRY,
)
RESTORED = Counter(
    "hookmill_restored_records",
    "Changelog records read back into state",
    ("stage",),
    registry=REGISTRY,
)
RESTORE_LEFT = Gauge(
    "hookmill_restore_left_records",
    "Changelog records still to be read before the partition works",
    ("stage", "partition"),
    registry=REGISTRY,
)

ASSIGNED = Gauge(
    "hookmill_assigned_partitions", "Partitions this member owns", ("group",), registry=REGISTRY
)
LAG_RECORDS = Gauge(
    "hookmill_lag_records",
    "Offsets between the group's position and the log's end (transaction markers count)",
    ("group", "partition"),
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "hookmill_lag_seconds",
    "Age of the oldest record not yet processed; 0 when there is none",
    ("group", "partition"),
    registry=REGISTRY,
)
WORKER_RESTARTS = Counter(
    "hookmill_worker_restarts",
    "Partition workers started anew after an error, by the error's kind",
    ("group", "error"),
    registry=REGISTRY,
)

HANDLED = Counter(
    "hookmill_handler_events",
    "Attempts of a handler, by outcome: handled, retried, held (in place), dead_lettered",
    ("handler", "outcome"),
    registry=REGISTRY,
)
HANDLER_SECONDS = Histogram(
    "hookmill_handler_seconds",
    "Time in the handler",
    ("handler",),
    buckets=_LATENCY,
    registry=REGISTRY,
)
SETTLED_SECONDS = Histogram(
    "hookmill_handler_settled_seconds",
    "From the ingress's receipt of a delivery to its event being handled, retries included",
    ("handler",),
    buckets=_SETTLED,
    registry=REGISTRY,
)
HTTP_REQUESTS = Counter(
    "hookmill_http_requests",
    "Requests of an http handler, by outcome: delivered, rejected, redirected, failed, malformed, "
    "timeout, disconnected, unreachable, unresolved, tls_failed, address_refused",
    ("handler", "outcome"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "hookmill_http_seconds",
    "From an http handler's request to the head of its answer",
    ("handler",),
    buckets=_LATENCY,
    registry=REGISTRY,
)
HTTP_BREAKER_OPEN = Gauge(
    "hookmill_http_breaker_open",
    "1 while an http handler asks nothing of its service but a trial now and then",
    ("handler",),
    registry=REGISTRY,
)

WAITING = Gauge(
    "hookmill_handler_waiting_events",
    "Events that wait in retry topics for their next attempt",
    ("handler", "partition"),
    registry=REGISTRY,
)
PARKED = Gauge(
    "hookmill_handler_parked_events",
    "Events parked behind one of their subject that waits for a retry",
    ("handler", "partition"),
    registry=REGISTRY,
)

CONNECTIONS = Gauge(
    "hookmill_connections", "Open connections at the public port", registry=REGISTRY
)
CONNECTIONS_ENDED = Counter(
    "hookmill_connections_ended",
    "Connections cut off, by reason: too_many, slow_headers, unread_answers",
    ("reason",),
    registry=REGISTRY,
)
GROUP_LAG_RECORDS = Gauge(
    "hookmill_group_lag_records",
    "Records that a group has not processed, as `hookmill monitor` sees it from outside",
    ("group",),
    registry=REGISTRY,
)
GROUP_LAG_SECONDS = Gauge(
    "hookmill_group_lag_seconds",
    "Age of the oldest record that a group has not processed; 0 when there is none",
    ("group",),
    registry=REGISTRY,
)
GROUP_MEMBERS = Gauge(
    "hookmill_group_members", "Members of a group that are there", ("group",), registry=REGISTRY
)
UNDER_REPLICATED = Gauge(
    "hookmill_topic_under_replicated_partitions",
    "Partitions of a topic with a replica that is not in sync",
    ("topic",),
    registry=REGISTRY,
)
BELOW_MIN_INSYNC = Gauge(
    "hookmill_topic_below_min_insync_partitions",
    "Partitions of a topic with fewer replicas in sync than a write needs: nothing is taken",
    ("topic",),
    registry=REGISTRY,
)
OFFLINE = Gauge(
    "hookmill_topic_offline_partitions",
    "Partitions of a topic without a leader: nothing is taken, nothing can be read",
    ("topic",),
    registry=REGISTRY,
)
DEAD_LETTERS_OPEN = Gauge(
    "hookmill_dead_letters_open",
    "Dead letters in a topic that nobody has redriven or discarded yet",
    ("topic",),
    registry=REGISTRY,
)
MONITOR_SUCCESS = Moment(
    "hookmill_monitor_last_success_timestamp_seconds",
    "When `hookmill monitor` last got to the end of a round, epoch seconds",
    registry=REGISTRY,
)

LOG_LINES_LOST = Counter(
    "hookmill_log_lines_lost",
    "Log lines that could not be written: a closed pipe, a full disk",
    registry=REGISTRY,
)

EVENTS: dict[str, tuple[str, str]] = {
    # what it says: its level, and what it means
    "process_started": ("info", "a process works; with the addresses it serves"),
    "process_stopping": ("info", "a process drains"),
    "process_stopped": ("info", "a process ends in order"),
    "process_failed": ("error", "a process gives up; the error says what to do"),
    "delivery_accepted": ("debug", "a delivery is kept and answered"),
    "delivery_refused": ("info", "a delivery was not taken, and why"),
    "request_failed": ("error", "a defect: a delivery met an unexpected error, answered 503"),
    "kafka_connected": ("info", "the producer is connected and the topics are as they must be"),
    "kafka_unavailable": ("warning", "Kafka cannot be reached or lacks topics; trying again"),
    "breaker_opened": ("warning", "an append failed: deliveries are answered 503 at once"),
    "client_renewed": ("warning", "the ingress's client of Kafka failed for good and was replaced"),
    "breaker_closed": ("info", "Kafka takes records again"),
    "plain_http_exposed": ("warning", "a public address without TLS and without a trusted proxy"),
    "tls_reloaded": ("info", "the certificate was read again"),
    "tls_reload_failed": ("error", "the changed certificate cannot be used; the old one stays"),
    "file_unreadable": ("warning", "a watched file cannot be read; its last good text stays"),
    "partitions_assigned": ("info", "the group gave this member partitions"),
    "partitions_revoked": ("info", "the group took partitions away"),
    "restore_progress": ("info", "how far the restore is"),
    "restore_finished": ("info", "state is complete; the partition works"),
    "state_rebuilt": ("warning", "the local state was not of this changelog and was made anew"),
    "worker_failed": ("warning", "a partition worker met an error and starts anew"),
    "worker_fenced": ("warning", "another owner fenced this worker; waiting for the group"),
    "batch_retried": ("warning", "a stage asked to try again in place"),
    "record_dead_lettered": ("warning", "a record was set aside, and why"),
    "event_unrecognized": ("info", "an authentic event that no row of the provider's table fits"),
    "offset_from_changelog": (
        "warning",
        "the group's offset is gone, or ahead of its outputs; the changelog's serves",
    ),
    "event_handled": ("info", "what the log handler says of an event"),
    "handler_retried": ("warning", "a handler failed; the event waits in a retry topic"),
    "handler_held": (
        "warning",
        "a handler can do nothing now; its events are tried again in place",
    ),
    "http_breaker_opened": ("warning", "a service failed again and again; only trials are sent"),
    "http_breaker_closed": ("info", "a trial succeeded; the service gets its events again"),
    "http_address_refused": ("error", "a service's name leads to addresses that are not allowed"),
    "ledger_unavailable": ("warning", "the ledger's database takes nothing now; trying again"),
    "tracing_unavailable": ("warning", "the environment asks for traces; the extra is missing"),
    "child_reported": ("info", "the supervisor tells of one of its processes"),
    "library": ("warning", "a line of a library's own logger"),
}
