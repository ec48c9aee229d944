"""`hookmill ingress`: serves at once, connects to Kafka in the background, drains on SIGTERM."""

import asyncio
import contextlib
from typing import Any

from aiohttp import web

from hookmill.cli.garbage import settle
from hookmill.cli.process import private_port, until_kafka_answers
from hookmill.cli.setup import Setup, now_us
from hookmill.cli.telemetry import show_secret_ages
from hookmill.core.errors import ConfigurationError
from hookmill.ingress.door import Door
from hookmill.ingress.protocol import Server
from hookmill.ingress.server import Ingress
from hookmill.ingress.tls import certificate, keep_fresh
from hookmill.kafka.appender import Appender
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.pipeline import DELIVERIES, RAW, REJECTED
from hookmill.telemetry.logs import say
from hookmill.telemetry.traces import Tracer

LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def serve(setup: Setup, stopping: asyncio.Event, *, share_port: bool = False) -> None:
    """Serve until `stopping` is set, then drain. Raises UnsafeCluster if Kafka may lose."""
    with setup.tracing("ingress") as tracer:
        await _serve(setup, stopping, tracer, share_port=share_port)


async def _serve(
    setup: Setup, stopping: asyncio.Event, tracer: Tracer | None, *, share_port: bool
) -> None:
    options = setup.config.ingress
    if not setup.endpoints:
        raise ConfigurationError("no [endpoints.…] are configured: there is nothing to receive")
    appender = Appender(
        setup.connection(),
        topics=[setup.names.topic(name) for name in (RAW, DELIVERIES, REJECTED)],
        partitions=setup.config.kafka.partitions,
    )
    doors = {
        name: Door(endpoint, setup.secrets(endpoint), options)
        for name, endpoint in setup.endpoints.items()
    }
    show_secret_ages(setup.config.endpoints)
    ingress = Ingress(options, doors, appender, names=setup.names, now_us=now_us, tracer=tracer)
    connecting = asyncio.ensure_future(_connect(setup, appender, stopping))

    def ready() -> str | None:
        if ingress.draining:
            return "draining"
        return None if appender.available else "Kafka is out"

    async with (
        _public_port(setup, ingress, stopping, share_port=share_port) as address,
        private_port(
            options.admin_host, options.admin_port, live=lambda: None, ready=ready
        ) as private,
    ):
        settle()
        say("process_started", address=address, private=private)
        asked = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({asked, connecting}, return_when="FIRST_COMPLETED")
        if connecting.done():
            connecting.result()
        await asked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.drain_timeout_secs):
                await ingress.finish()
    connecting.cancel()
    await appender.close(timeout_secs=options.drain_timeout_secs)


async def _connect(setup: Setup, appender: Appender, stopping: asyncio.Event) -> None:
    """Try until the cluster answers and has the topics; refuse one that is weaker than promised."""

    async def attempt() -> None:
        await _check_topics(setup)
        await appender.connect()
        say("kafka_connected")

    await until_kafka_answers(attempt, stopping)


async def _check_topics(setup: Setup) -> None:
    ours = {setup.names.topic(name) for name in (RAW, DELIVERIES, REJECTED)}
    wants = [want for want in setup.wanted() if want.name in ours]
    async with admin(setup.connection()) as client:
        found = await client.find(ours)
    check_safety(wants, found)
    check_present(ours, found)


@contextlib.asynccontextmanager
async def _public_port(
    setup: Setup, ingress: Ingress, stopping: asyncio.Event, *, share_port: bool
) -> Any:
    options = setup.config.ingress
    tls = certificate(options)
    if tls is None and options.host not in LOOPBACK and not options.trusted_proxies:
        say("plain_http_exposed", host=options.host)
    server = Server(ingress, options)
    runner = web.ServerRunner(
        server, shutdown_timeout=options.drain_timeout_secs, handle_signals=False
    )
    await runner.setup()
    listening = await server.listen(options.host, options.port, tls=tls, share_port=share_port)
    watching = asyncio.ensure_future(keep_fresh(options, tls)) if tls else None
    host, port = listening[0].sockets[0].getsockname()[:2]
    try:
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        if watching:
            watching.cancel()
        for each in listening:
            each.close()
        await runner.cleanup()
