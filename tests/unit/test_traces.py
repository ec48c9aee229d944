"""Traces: nothing where they are off, only what was sampled where they are on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

from hookmill.config import options
from hookmill.core.delivery import Delivery
from hookmill.core.errors import Reason, Refused
from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Drop, Forward, Outcome, Retry
from hookmill.core.record import Output, Record
from hookmill.handlers.api import Context
from hookmill.handlers.handling import Handling
from hookmill.handlers.lanes import Ending
from hookmill.handlers.ports import Settings
from hookmill.handlers.threads import FunctionHandler
from hookmill.pipeline import HandlerTopics
from hookmill.providers.endpoint import build
from hookmill.stages import headers
from hookmill.telemetry import otel, traces
from support.receivers import context, event

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = PARENT[:-2] + "00"
ENDPOINT = build("shop", options.Endpoint(provider="yoco"))
WITH_NOTHING = """
import builtins, sys
real = builtins.__import__
def without(name, *rest):
    if name.startswith("opentelemetry"):
        raise ImportError("No module named 'opentelemetry'")
    return real(name, *rest)
builtins.__import__ = without
from hookmill.cli.main import main
main()
"""


class Seen:
    """A tracer, and the spans that ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exported = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exported))
        self.tracer = otel.OtelTracer(self.provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that ended, in that order."""
        return self.exported.get_finished_spans()


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Everything is sampled."""
    found = Seen()
    yield found
    found.tracer.close()


def delivery(*pairs: tuple[str, str]) -> Delivery:
    """A delivery with those headers."""
    return Delivery(pairs, b'{"secret":"of theirs"}', 1_700_000_000_000_000)


def record(traceparent: str | None = PARENT, **more: str) -> Record:
    """A record that may belong to a trace."""
    pairs = {headers.DELIVERY: "d-1", **more}
    if traceparent is not None:
        pairs[headers.TRACEPARENT] = traceparent
    carried = tuple((name, value.encode()) for name, value in pairs.items())
    return Record("webhooks-raw", 3, 42, 0, b"shop|p_1", b"{}", carried)


def forward(source: Record) -> Forward:
    """The record forwarded as it is, with a change of state."""
    return Forward((Output("to", source.key, source.value, source.headers),), ((b"k", b"v"),))


def carried(outcome: Outcome) -> str:
    """The trace of what was forwarded."""
    assert isinstance(outcome, Forward)
    [output] = outcome.outputs
    [value] = [value for name, value in output.headers if name == headers.TRACEPARENT]
    return value.decode()


def test_a_delivery_is_a_root_that_links_to_its_sender(seen: Seen) -> None:
    """Its records carry the root; neither body nor headers are in it."""
    theirs = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    with seen.tracer.delivery(ENDPOINT, delivery(("traceparent", theirs)), "d-1") as context:
        pass
    [span] = seen.spans

    assert context == otel.traceparent(trace.NonRecordingSpan(span.context))
    assert span.parent is None
    assert [each.context.span_id for each in span.links] == [int("b" * 16, 16)]
    assert span.start_time == 1_700_000_000_000_000_000
    assert [each.name for each in span.events] == ["verified", "kept"]
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST", "http.route": "/webhooks/shop",
        "http.request.body.size": 22, "hookmill.endpoint": "shop", "hookmill.provider": "yoco",
        "hookmill.delivery": "d-1",
    }  # fmt: skip


def test_what_is_current_is_no_parent_of_a_delivery(seen: Seen) -> None:
    """Two deliveries never share a trace."""
    with (
        trace.use_span(seen.provider.get_tracer("other").start_span("other")),
        seen.tracer.delivery(ENDPOINT, delivery(), "d-1"),
    ):
        pass

    assert [each.parent for each in seen.spans] == [None]


def test_a_delivery_that_is_not_kept_is_an_error_with_its_reason(seen: Seen) -> None:
    """A refusal by its code, a defect by its kind: its text may quote a body."""
    for error in (Refused(Reason.BROKER_UNAVAILABLE), ValueError("a body")):
        with (
            pytest.raises(type(error)),
            seen.tracer.delivery(ENDPOINT, delivery(), "d-1"),
        ):
            raise error

    assert [span.status.is_ok for span in seen.spans] == [False, False]
    assert [(span.attributes or {})["hookmill.reason"] for span in seen.spans] == [
        "broker_unavailable", "ValueError",
    ]  # fmt: skip
    assert [each.name for span in seen.spans for each in span.events] == ["verified"] * 2


def test_a_delivery_that_is_not_sampled_carries_nothing() -> None:
    """So that nothing behind the ingress has any work with it."""
    seen = Seen(ParentBased(TraceIdRatioBased(0)))
    with seen.tracer.delivery(ENDPOINT, delivery(), "d-1") as context:
        pass

    assert context is None
    assert seen.spans == ()


def test_a_stage_puts_its_own_span_in_the_place_of_the_one_before(seen: Seen) -> None:
    """From receipt to commit; the state is as it was."""
    stage, source = seen.tracer.stage("dedup"), record()
    [(_, outcome)] = stage.carrying([(source, forward(source))], 1_700_000_000_000_000)
    assert seen.spans == ()
    stage.end()
    [span] = seen.spans

    assert carried(outcome) == otel.traceparent(trace.NonRecordingSpan(span.context))
    assert isinstance(outcome, Forward)
    assert outcome.state == ((b"k", b"v"),)
    assert span.parent is not None
    assert span.parent.span_id == int(PARENT.split("-")[2], 16)
    assert span.start_time == 1_700_000_000_000_000_000
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka", "messaging.operation.type": "process",
        "messaging.destination.name": "webhooks-raw", "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 42, "hookmill.delivery": "d-1", "hookmill.outcome": "forwarded",
    }  # fmt: skip


def test_what_was_not_committed_is_no_span(seen: Seen) -> None:
    """A new try takes the place of the one that failed."""
    stage, source = seen.tracer.stage("dedup"), record()
    stage.begin()
    stage.carrying([(source, forward(source))] * 2, 1)
    stage.begin()
    for outcome in (Drop("duplicate"), DeadLetter("no_identity")):
        stage.carrying([(source, outcome)], 1)
    stage.end()
    stage.end()

    outcomes = [dict(span.attributes or {}) for span in seen.spans]
    assert [each["hookmill.outcome"] for each in outcomes] == ["dropped", "dead_lettered"]
    assert [each["hookmill.reason"] for each in outcomes] == ["duplicate", "no_identity"]
    assert [span.status.is_ok for span in seen.spans] == [True, False]


@pytest.mark.parametrize("carried", [None, UNSAMPLED, "no trace", "", PARENT + "-more"])
def test_a_record_that_is_not_traced_goes_on_as_it_is(seen: Seen, carried: str | None) -> None:
    """The very same outcome, and no span."""
    stage, source = seen.tracer.stage("dedup"), record(carried)
    outcome = forward(source)
    [(_, after)] = stage.carrying([(source, outcome)], 1)
    stage.end()

    assert after is outcome
    assert seen.spans == ()


def test_an_attempt_is_current_and_the_next_one_links_to_it(seen: Seen) -> None:
    """Both are children of what the stage before did."""
    with seen.tracer.attempt("handler-x", record(), 1) as first:
        assert trace.get_current_span().get_span_context().span_id == int(
            str(first.traceparent).split("-")[2], 16
        )
        first.ended("retried", "timeout")
        waits = first.marked(Output("retry", b"", b"", record().headers))
    again = record(**{name: value.decode() for name, value in waits.headers})
    with seen.tracer.attempt("handler-x", again, 2) as second:
        second.ended("handled", None)
    one, two = seen.spans

    assert not trace.get_current_span().get_span_context().is_valid
    assert one.parent == two.parent
    assert [each.context.span_id for each in two.links] == [one.context.span_id]
    assert (one.status.is_ok, two.status.is_ok) == (False, True)
    assert (two.attributes or {})["hookmill.attempt"] == 2


def test_an_attempt_at_what_is_not_sampled_hands_on_what_it_got(seen: Seen) -> None:
    """A service behind a handler learns the trace that somebody else decided not to record."""
    with seen.tracer.attempt("handler-x", record(UNSAMPLED), 1) as attempt:
        attempt.ended("retried", "timeout")
        output = Output("retry", b"", b"")
        assert attempt.marked(output) is output

    assert attempt.traceparent == UNSAMPLED
    assert seen.spans == ()


def handling(answer: Any, tracer: traces.Tracer | None) -> tuple[Handling, list[Context]]:
    """A handler that answers so, and the contexts that it was handed."""
    contexts: list[Context] = []

    def handle(event: Event, context: Context) -> Any:
        contexts.append(context)
        return answer

    settings = Settings(
        topics=HandlerTopics("x"), delays_secs=(30,), retry_topics=(), timeout_secs=5.0
    )
    quiet = Mock(crashes=lambda event_id: 0)
    made = Handling(
        settings, FunctionHandler(handle), journal=quiet, observer=quiet, now_us=lambda: 0,
        clock=lambda: 0.0, tracer=tracer,
    )  # fmt: skip
    return made, contexts


async def test_a_handler_is_handed_what_it_can_send_on(seen: Seen) -> None:
    """Its own span where traces are on, else what the record carries."""
    off, handed_off = handling(None, None)
    on, handed_on = handling(Retry("no_stock"), seen.tracer)
    assert await off.handle(record(), event()) == Ending()
    ending = await on.handle(record(), event())
    [span] = seen.spans

    assert handed_off[0].traceparent == PARENT
    assert handed_on[0].traceparent == otel.traceparent(trace.NonRecordingSpan(span.context))
    assert ending.output is not None
    assert dict(ending.output.headers)[headers.ATTEMPT_TRACE] == handed_on[0].traceparent.encode()
    assert (span.attributes or {})["hookmill.outcome"] == "retried"


async def test_a_function_in_a_thread_has_its_attempts_span(seen: Seen) -> None:
    """Spans of a team's own become its children."""
    own: list[int] = []

    def handle(event: Event, context: Context) -> None:
        own.append(trace.get_current_span().get_span_context().span_id)

    function = FunctionHandler(handle)
    with seen.tracer.attempt("handler-x", record(), 1):
        await function.handle(event(), context())
    [span] = seen.spans

    assert own == [span.context.span_id]


def test_an_attempt_that_is_cut_off_is_an_error(seen: Seen) -> None:
    """And current no more."""
    with pytest.raises(LookupError), seen.tracer.attempt("handler-x", record(), 1):
        raise LookupError("no order 4711")
    [span] = seen.spans

    assert (span.attributes or {})["hookmill.reason"] == "LookupError"
    assert "4711" not in str(span.to_json())
    assert not trace.get_current_span().get_span_context().is_valid


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_context_survives_its_header(trace_id: int, span_id: int, sampled: bool) -> None:
    """What is written is read as it was."""
    flags = trace.TraceFlags(sampled)
    context = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)

    assert otel.parse(otel.traceparent(trace.NonRecordingSpan(context))) == context


@given(st.text())
def test_anything_else_is_no_context(text: str) -> None:
    """Nor an error."""
    assert otel.parse(text) is None
    assert headers.trace(text) in ({}, {"trace": text.split("-")[1:2] and text.split("-")[1]})


@pytest.mark.parametrize(
    ("configured", "environ", "on"),
    [
        (None, {}, False),
        ("http://here:4318", {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here:4318/v1/traces"}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ("http://here:4318", {"OTEL_SDK_DISABLED": "TRUE"}, False),
        ("http://here:4318", {"OTEL_TRACES_EXPORTER": "none"}, True),
    ],
)
def test_traces_are_on_where_somebody_names_a_collector(
    configured: str | None, environ: dict[str, str], on: bool
) -> None:
    """The configuration, or the variables that OpenTelemetry has for it."""
    assert traces.is_on(options.Telemetry(otlp_endpoint=configured), environ) is on


def test_off_costs_no_import() -> None:
    """A process without a collector has nothing of OpenTelemetry in it."""
    asked = "import sys, hookmill.cli.main; print([m for m in sys.modules if 'opentel' in m])"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=environ
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("named_by", ["the configuration", "the environment"])
def test_without_the_extra_a_collector_cannot_be_had(named_by: str, tmp_path: Any) -> None:
    """Where it is configured that is an error that says what to install; a variable that is there
    for every program only makes a warning."""
    configured = 'otlp_endpoint = "http://127.0.0.1:1"' if named_by == "the configuration" else ""
    (tmp_path / "hookmill.toml").write_text(f"[telemetry]\n{configured}\n")
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", WITH_NOTHING, "ingress"],
        capture_output=True, text=True, cwd=tmp_path, env=environ, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2
    assert "pip install 'hookmill[otel]'" in done.stderr
    assert ("tracing_unavailable" in done.stderr) is (named_by == "the environment")
    assert ("there is nothing to receive" in done.stderr) is (named_by == "the environment")


@pytest.mark.parametrize(
    ("ratio", "environ", "sampled_by"),
    [
        (None, {}, "TraceIdRatioBased{0.01}"),
        (0.25, {}, "TraceIdRatioBased{0.25}"),
        (0.25, {"OTEL_TRACES_SAMPLER": "always_off"}, "TraceIdRatioBased{0.25}"),
        (None, {"OTEL_TRACES_SAMPLER": "always_off"}, "AlwaysOffSampler"),
    ],
)
def test_who_says_how_many_deliveries_are_traced(
    monkeypatch: pytest.MonkeyPatch, ratio: float | None, environ: dict[str, str], sampled_by: str
) -> None:
    """The configuration, else OpenTelemetry's variable, else one in a hundred."""
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    seen = Seen(otel.sampler(options.Telemetry(trace_ratio=ratio), environ))

    assert sampled_by in seen.provider.sampler.get_description()
