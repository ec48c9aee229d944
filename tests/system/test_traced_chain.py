"""Traces of the whole chain, at a collector that takes OTLP: one delivery, one trace."""

import base64
import json
from collections.abc import Iterator

import pytest

from support.collector import Collector, SpanSeen, collecting
from support.program import YOCO_KEY, Program, headers_of, yoco

pytestmark = pytest.mark.broker

THEIRS = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
HANDLER = '''
"""A handler that fails once, makes a span of its own, and says what it was handed."""

from pathlib import Path

from opentelemetry import trace

from hookmill.core.outcome import Retry


def handle(event, context):
    """Fail the first time."""
    with trace.get_tracer("warehouse").start_as_current_span("reserve"):
        if context.attempt == 1:
            return Retry("not_yet")
    (Path(__file__).parent / "handed").write_text(context.traceparent)
    context.log.info("reserved")
    return None
'''
MORE = """
[handlers.warehouse]
type = "warehouse:handle"
retry_delays_secs = [1]

[[routes]]
name = "warehouse"
handlers = ["warehouse"]
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where the traces go."""
    with collecting() as found:
        yield found


def test_a_delivery_is_one_trace_from_the_request_to_its_handler(
    program: Program, collector: Collector
) -> None:
    """Each part's span is the child of the one before, a retry links to what failed; the sender's
    own trace is a link, and no more."""
    program.environ["HOOKMILL_TELEMETRY__OTLP_ENDPOINT"] = collector.url
    program.environ["HOOKMILL_TELEMETRY__TRACE_RATIO"] = "1"
    program.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    program.environ["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=test"
    (program.folder / "warehouse.py").write_text(HANDLER)
    program.config.write_text(program.config.read_text() + MORE)
    program.start("up")
    program.until(program.ready)
    endpoint, body, headers = yoco(1)
    status, said = program.post(endpoint, body, headers | {"traceparent": THEIRS})
    assert status == 200
    assert program.post(endpoint, body, headers)[0] == 200
    program.until(lambda: len(collector.named("handle handler-warehouse")) == 2)
    program.until(lambda: len(collector.named("handle handler-ledger")) == 1)
    program.until(lambda: len(collector.named("dedup")) == 2)

    first, second = collector.named("POST /webhooks/shop")
    dedup = child(collector, "dedup", of=first)
    normalize = child(collector, "normalize", of=dedup)
    route = child(collector, "route", of=normalize)
    ledger = child(collector, "handle handler-ledger", of=route)
    failed, again = (each for each in collector.named("handle handler-warehouse"))
    assert [first.parent, first.events] == ["", ["verified", "kept"]]
    assert first.links == [("a" * 32, "b" * 16)]
    assert first.attributes["hookmill.delivery"] == said["delivery"]
    assert {each.trace for each in (dedup, normalize, route, ledger, failed, again)} == {
        first.trace
    }
    assert first.trace != "a" * 32
    assert failed.parent == again.parent == route.id
    assert (failed.failed, failed.attributes["hookmill.reason"]) == (True, "not_yet")
    assert (again.failed, again.attributes["hookmill.attempt"]) == (False, 2)
    assert again.links == [(first.trace, failed.id)]
    assert [each.parent for each in collector.named("reserve")] == [failed.id, again.id]
    assert first.began_ns < dedup.began_ns < dedup.ended_ns
    assert dedup.ended_ns < normalize.ended_ns < route.ended_ns < again.began_ns

    dropped = child(collector, "dedup", of=second)
    assert second.links == []
    assert second.trace != first.trace
    assert dropped.attributes["hookmill.outcome"] == "dropped"
    assert {each.service for each in collector.spans} == {
        "hookmill-ingress", "hookmill-dedup", "hookmill-normalize", "hookmill-route",
        "hookmill-handler-ledger", "hookmill-handler-warehouse",
    }  # fmt: skip

    assert (program.folder / "handed").read_text() == f"00-{first.trace}-{again.id}-01"
    [message] = program.read("events-payment")
    assert headers_of(message)["traceparent"] == f"00-{first.trace}-{route.id}-01"
    [retried] = program.read("handler-warehouse-retry-1")
    assert headers_of(retried)["hm-attempt-trace"] == f"00-{first.trace}-{failed.id}-01"
    log = program.folder / "state" / "logs" / "handler-warehouse.log"
    lines = [json.loads(each) for each in log.read_text().splitlines()]
    about_it = [each for each in lines if each["event"] in ("handler_retried", "reserved")]
    assert [(each["delivery"], each["trace"]) for each in about_it] == [
        (said["delivery"], first.trace)
    ] * 2
    [journey] = program.json("trace", said["delivery"])
    assert journey["trace"] == first.trace
    for secret in (base64.b64encode(YOCO_KEY), YOCO_KEY, b"createdDate", b"checkoutId"):
        assert secret not in collector.bodies


def child(collector: Collector, name: str, *, of: SpanSeen) -> SpanSeen:
    """The one span of that name whose parent is that span."""
    [found] = [each for each in collector.named(name) if each.parent == of.id]
    assert found.trace == of.trace
    return found
