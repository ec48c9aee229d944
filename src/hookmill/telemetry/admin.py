"""The private port that every process has: /livez, /readyz, /metrics."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hookmill.telemetry.catalog import REGISTRY

Check = Callable[[], str | None]
"""None when all is well, else in a few words what is not."""
Exposition = Callable[[], Awaitable[bytes]]


async def own_metrics() -> bytes:
    """This process's metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)


class AdminServer:
    """Serves health and metrics on a port that only operators reach.

    `live` says whether the process makes progress, `ready` whether it can take work.
    """

    def __init__(self, *, live: Check, ready: Check, metrics: Exposition = own_metrics) -> None:
        self._checks = {"/livez": live, "/readyz": ready}
        self._metrics = metrics
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the address. Raises OSError if the port is taken."""
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound_host, bound_port = self._runner.addresses[0][:2]
        return f"http://{bound_host}:{bound_port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            async with asyncio.timeout(5):
                await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"allow": "GET"})
        if request.path == "/metrics":
            body = await self._metrics()
            return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})
        check = self._checks.get(request.path)
        if check is None:
            return web.Response(status=404)
        problem = check()
        body = msgspec.json.encode({"status": "ok" if problem is None else problem})
        status = 200 if problem is None else 503
        return web.Response(status=status, body=body, content_type="application/json")
