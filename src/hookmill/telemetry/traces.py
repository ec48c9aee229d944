"""Traces: off unless an OTLP endpoint is named; nothing of OpenTelemetry is imported then.

A trace begins at the ingress, always: a sender's own `traceparent` would let others choose our
trace ids, decide what is sampled, and so what it costs. The root span links to the sender's
instead. From there on the context travels in the header `traceparent` of the records, and only
deliveries that are sampled have one.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from hookmill.config.options import Telemetry
from hookmill.core.delivery import Delivery
from hookmill.core.errors import ConfigurationError
from hookmill.core.outcome import Outcome
from hookmill.core.record import Output, Record
from hookmill.providers.endpoint import Endpoint
from hookmill.telemetry.logs import say

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Decided = Sequence[tuple[Record, Outcome]]


class StageTraces(Protocol):
    """The spans of one stage on one partition, one a traced record: from receipt to commit."""

    def begin(self) -> None:
        """A transaction begins; spans of one that was not committed are forgotten."""

    def carrying(self, decided: Decided, received_us: int) -> Decided:
        """Begin spans, at the batch's receipt, for what is in the transaction. Gives it back with
        outputs that carry the context of their span."""

    def end(self) -> None:
        """It is committed."""


class Attempt(Protocol):
    """The span of one attempt of a handler, or nothing where its event is not traced.

    `traceparent` is what a handler hands on, None where there is no trace.
    """

    traceparent: str | None

    def ended(self, outcome: str, reason: str | None) -> None:
        """How it ended; a reason is an error."""

    def marked(self, output: Output) -> Output:
        """The record that waits for a retry, naming this attempt: the next one links to it."""


class Tracer(Protocol):
    """Makes the spans of one process."""

    def delivery(
        self, endpoint: Endpoint, delivery: Delivery, delivery_id: str
    ) -> AbstractContextManager[str | None]:
        """The span of a verified delivery, from its receipt until it is kept.

        Gives the `traceparent` of its records; None if the delivery is not sampled.
        """

    def stage(self, name: str) -> StageTraces:
        """The spans of a stage on one partition."""

    def attempt(self, part: str, record: Record, number: int) -> AbstractContextManager[Attempt]:
        """The span of that attempt at an event; the current one as long as it lasts."""

    def close(self) -> None:
        """Send what is left, within a time limit."""


@contextlib.contextmanager
def tracing(
    options: Telemetry,
    environ: Mapping[str, str],
    *,
    part: str,
    instance: str | None = None,
    namespace: str = "",
) -> Iterator[Tracer | None]:
    """The process's tracer for as long as it works, None where traces are off.

    Raises ConfigurationError if an endpoint is configured and the extra `otel` is not installed;
    if only the environment names one, a warning says so.
    """
    if not is_on(options, environ):
        yield None
        return
    try:
        from hookmill.telemetry.otel import connect  # the extra `otel`: only where it is wanted
    except ImportError as error:
        missing = f"traces need the extra `otel` ({error}): pip install 'hookmill[otel]'"
        if options.otlp_endpoint is not None:
            raise ConfigurationError(f"telemetry.otlp_endpoint: {missing}") from None
        say("tracing_unavailable", error=missing)
        yield None
        return
    tracer = connect(options, environ, part=part, instance=instance, namespace=namespace)
    try:
        yield tracer
    finally:
        tracer.close()


def is_on(options: Telemetry, environ: Mapping[str, str]) -> bool:
    """Whether somebody named an OTLP endpoint, and nobody switched the SDK off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if options.otlp_endpoint is not None:
        return True
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    return any(environ.get(each, "").strip() for each in ENDPOINTS)
