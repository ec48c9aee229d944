"""Spans by OpenTelemetry, exported by OTLP over HTTP: the one module that imports it.

Attributes are bounded: endpoint, provider, topic, partition, offset, delivery id, outcome, reason;
never a body, a key, metadata or a secret. Names and kinds follow the semantic conventions of
OpenTelemetry for HTTP and messaging.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping

import msgspec
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from hookmill import __version__
from hookmill.config.options import Telemetry
from hookmill.core.delivery import Delivery
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome
from hookmill.core.record import Output, Record, with_headers
from hookmill.providers.endpoint import Endpoint
from hookmill.stages import headers
from hookmill.telemetry.traces import Attempt, Decided, StageTraces

RATIO_DEFAULT = 0.01
REASON_CHARS_MAX = 64
CLOSE_SECS = 3.0
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

Attributes = dict[str, str | int]


def connect(
    options: Telemetry,
    environ: Mapping[str, str],
    *,
    part: str,
    instance: str | None,
    namespace: str,
) -> "OtelTracer":
    """A tracer that exports; the provider is the process's own, so that a team's handler can add
    spans to it. Everything else that OTEL_… variables say holds: headers, batches, limits."""
    told: Attributes = {"service.version": __version__}
    if not {"OTEL_SERVICE_NAME"} & environ.keys() and "service.name=" not in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        told["service.name"] = f"hookmill-{part}"
    if instance is not None:
        told["service.instance.id"] = instance
    if namespace:
        told["service.namespace"] = namespace
    provider = TracerProvider(
        sampler=sampler(options, environ),
        resource=Resource.create(told),
        shutdown_on_exit=False,
    )
    endpoint = options.otlp_endpoint
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    trace.set_tracer_provider(provider)
    return OtelTracer(provider)


def sampler(options: Telemetry, environ: Mapping[str, str]) -> Sampler | None:
    """By ratio of the trace ids, and as the root decided; None leaves it to OTEL_TRACES_SAMPLER."""
    if options.trace_ratio is None and environ.get("OTEL_TRACES_SAMPLER"):
        return None
    ratio = RATIO_DEFAULT if options.trace_ratio is None else options.trace_ratio
    return ParentBased(TraceIdRatioBased(ratio))


class OtelTracer:
    """The spans of one process. Implements `traces.Tracer`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("hookmill", __version__)

    @contextlib.contextmanager
    def delivery(
        self, endpoint: Endpoint, delivery: Delivery, delivery_id: str
    ) -> Iterator[str | None]:
        """The span of a verified delivery, from its receipt until it is kept."""
        sender = parse(delivery.header(headers.TRACEPARENT))
        span = self._tracer.start_span(
            f"POST /webhooks/{endpoint.name}",
            contexts.Context(),  # a root, whatever is current
            SpanKind.SERVER,
            start_time=delivery.received_at_us * 1000,
            links=[] if sender is None else [Link(sender)],
            attributes={
                "http.request.method": "POST",
                "http.route": f"/webhooks/{endpoint.name}",
                "http.request.body.size": len(delivery.body),
                "hookmill.endpoint": endpoint.name,
                "hookmill.provider": endpoint.pack.name,
                "hookmill.delivery": delivery_id,
            },
        )
        if not span.is_recording():
            yield None
            return
        span.add_event("verified")
        try:
            yield traceparent(span)
        except BaseException as error:
            _fail(span, str(getattr(error, "reason", type(error).__name__)))
            raise
        else:
            span.add_event("kept")
        finally:
            span.end()

    def stage(self, name: str) -> StageTraces:
        """The spans of a stage on one partition."""
        return _Stage(self._tracer, name)

    @contextlib.contextmanager
    def attempt(self, part: str, record: Record, number: int) -> Iterator[Attempt]:
        """The span of that attempt at an event; the current one as long as it lasts."""
        carried = record.header(headers.TRACEPARENT)
        parent = parse(carried)
        if parent is None or not parent.trace_flags.sampled:
            yield _Untraced(carried)
            return
        before = parse(record.header(headers.ATTEMPT_TRACE))
        span = _begin(self._tracer, f"handle {part}", parent, record, before=before)
        span.set_attribute("hookmill.attempt", number)
        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield _Attempt(span)
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            contexts.detach(token)
            span.end()

    def close(self) -> None:
        """Send what is left; a collector that does not answer holds nobody up for long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECS)


class _Stage:
    """Implements `traces.StageTraces`."""

    def __init__(self, tracer: trace.Tracer, name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._begun: list[Span] = []

    def begin(self) -> None:
        """What was begun before is not committed."""
        self._begun = []

    def carrying(self, decided: Decided, received_us: int) -> Decided:
        """Spans for the traced records among them; outputs carry the context of their span."""
        return [(record, self._traced(record, outcome, received_us)) for record, outcome in decided]

    def end(self) -> None:
        """Everything begun is committed."""
        for span in self._begun:
            span.end()
        self._begun = []

    def _traced(self, record: Record, outcome: Outcome, received_us: int) -> Outcome:
        parent = parse(record.header(headers.TRACEPARENT))
        if parent is None or not parent.trace_flags.sampled:
            return outcome
        span = _begin(self._tracer, self._name, parent, record, at_ns=received_us * 1000)
        self._begun.append(span)
        match outcome:
            case Forward():
                span.set_attribute("hookmill.outcome", "forwarded")
                carried = [(headers.TRACEPARENT, traceparent(span))]
                return msgspec.structs.replace(
                    outcome, outputs=tuple(_carrying(each, carried) for each in outcome.outputs)
                )
            case Drop():
                span.set_attribute("hookmill.outcome", "dropped")
                span.set_attribute("hookmill.reason", outcome.reason)
            case DeadLetter():
                span.set_attribute("hookmill.outcome", "dead_lettered")
                _fail(span, outcome.reason)
        return outcome


class _Untraced:
    """An attempt without a span. What the record carries is handed on all the same."""

    def __init__(self, carried: str | None) -> None:
        self.traceparent = carried

    def ended(self, outcome: str, reason: str | None) -> None:
        """Nobody asks."""

    def marked(self, output: Output) -> Output:
        """As it was."""
        return output


class _Attempt:
    """Implements `traces.Attempt`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent: str | None = traceparent(span)

    def ended(self, outcome: str, reason: str | None) -> None:
        """How it ended."""
        self._span.set_attribute("hookmill.outcome", outcome)
        if reason is not None:
            _fail(self._span, reason)

    def marked(self, output: Output) -> Output:
        """Naming this attempt."""
        return _carrying(output, [(headers.ATTEMPT_TRACE, traceparent(self._span))])


def parse(text: str | None) -> SpanContext | None:
    """The context that a `traceparent` names, None if the text is none."""
    found = _TRACEPARENT.fullmatch(text) if text else None
    if found is None:
        return None
    trace_id, span_id, flags = (int(each, 16) for each in found.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


def traceparent(span: Span) -> str:
    """The span's context as a header, https://www.w3.org/TR/trace-context/#traceparent-header."""
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags & _SAMPLED:02x}"


def _begin(
    tracer: trace.Tracer,
    name: str,
    parent: SpanContext,
    record: Record,
    *,
    at_ns: int | None = None,
    before: SpanContext | None = None,
) -> Span:
    """The span of work on a record; `before` is the attempt that it follows."""
    return tracer.start_span(
        name,
        trace.set_span_in_context(trace.NonRecordingSpan(parent), contexts.Context()),
        SpanKind.CONSUMER,
        start_time=at_ns,
        links=[] if before is None else [Link(before)],
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "hookmill.delivery": record.header(headers.DELIVERY) or "-",
        },
    )


def _fail(span: Span, reason: str) -> None:
    span.set_attribute("hookmill.reason", reason[:REASON_CHARS_MAX])
    span.set_status(Status(StatusCode.ERROR))


def _carrying(output: Output, added: list[tuple[str, str]]) -> Output:
    return Output(output.topic, output.key, output.value, with_headers(output.headers, added))
