"""An OpenTelemetry collector as small as can be: takes OTLP over HTTP, keeps the spans."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class SpanSeen:
    """A span as it was exported; ids in hex, `""` for no parent."""

    def __init__(self, service: str, span: Any) -> None:
        self.service = service
        self.name: str = span.name
        self.trace = span.trace_id.hex()
        self.id = span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.links = [(each.trace_id.hex(), each.span_id.hex()) for each in span.links]
        self.events = [each.name for each in span.events]
        self.failed = span.status.code == span.status.STATUS_CODE_ERROR
        self.began_ns: int = span.start_time_unix_nano
        self.ended_ns: int = span.end_time_unix_nano
        self.attributes: dict[str, Any] = {
            each.key: getattr(each.value, each.value.WhichOneof("value"))
            for each in span.attributes
        }


class Collector:
    """What came, and where it listens."""

    def __init__(self) -> None:
        self.spans: list[SpanSeen] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.bodies = b""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Take one export."""
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bodies += body
        self.requests.append((request.path, dict(request.headers)))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [SpanSeen(told["service.name"], span) for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def named(self, name: str) -> list[SpanSeen]:
        """The spans of that name, in the order in which they began."""
        found = [each for each in self.spans if each.name == name]
        return sorted(found, key=lambda each: each.began_ns)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, in a thread of its own."""
    collector, loop = Collector(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)

    async def listen() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield collector
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
