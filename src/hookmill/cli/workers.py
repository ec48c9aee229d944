"""`hookmill ingress --workers N`: processes that share the port, added up in one place."""

import asyncio
import operator
import os
import sys
from collections import defaultdict
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from hookmill.cli import ingress
from hookmill.cli.process import private_port
from hookmill.cli.setup import Setup
from hookmill.local.supervisor import Child, Supervisor
from hookmill.telemetry.logs import say

START_TIMEOUT_SECS = 60.0
SCRAPE_TIMEOUT_SECS = 2.0
MOMENT = "_timestamp_seconds"


async def serve_one(setup: Setup, stopping: asyncio.Event) -> None:
    """One of several workers: shares the public port, any free private port."""
    await ingress.serve(setup, stopping, share_port=True)


async def serve_all(setup: Setup, config: Path | None, count: int, stopping: asyncio.Event) -> None:
    """Keep `count` workers running until `stopping` is set; /metrics adds them up."""
    options = ["--config", str(config)] if config is not None else []
    program = [sys.executable, "-m", "hookmill", "ingress", *options]
    children = [
        Child(f"ingress-{number}", [*program, "--worker-of", str(os.getpid())])
        for number in range(count)
    ]
    supervisor = Supervisor(
        children,
        log_dir=Path(setup.config.local.dir) / "logs",
        environ={**os.environ, "HOOKMILL_INGRESS__ADMIN_PORT": "0"},
        tell=lambda name, line: say("child_reported", child=name, line=line),
    )
    pool = _Pool(supervisor, count)
    host, port = setup.config.ingress.admin_host, setup.config.ingress.admin_port
    watching = asyncio.ensure_future(pool.watch())
    try:
        await supervisor.start(timeout_secs=START_TIMEOUT_SECS)
        async with private_port(
            host, port, live=lambda: supervisor.failed, ready=pool.ready, metrics=pool.metrics
        ) as private:
            address = next(iter(supervisor.addresses.values()))["address"]
            say("process_started", address=address, private=private, workers=count)
            await stopping.wait()
    finally:
        watching.cancel()
        await supervisor.stop(timeout_secs=setup.config.ingress.drain_timeout_secs + 5)


class _Pool:
    """What the workers say, as one."""

    def __init__(self, supervisor: Supervisor, count: int) -> None:
        self._supervisor = supervisor
        self._count = count
        self._ready = 0

    def ready(self) -> str | None:
        """Ready as long as one worker can take deliveries."""
        return None if self._ready else "no worker is ready"

    async def watch(self) -> None:
        """For ever: ask each worker whether it is ready."""
        while True:
            answers = await asyncio.gather(
                *(self._get(each["private"] + "/readyz") for each in self._addresses())
            )
            self._ready = sum(answer is not None for answer in answers)
            await asyncio.sleep(1)

    async def metrics(self) -> bytes:
        """Every worker's samples, added up."""
        pages = await asyncio.gather(
            *(self._get(each["private"] + "/metrics") for each in self._addresses())
        )
        return add_up([page for page in pages if page is not None]).encode()

    def _addresses(self) -> list[dict[str, str]]:
        return list(self._supervisor.addresses.values())

    async def _get(self, url: str) -> str | None:
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_SECS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as found:
                return await found.text() if found.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None


def add_up(pages: list[str]) -> str:
    """Several pages of the Prometheus text format as one: samples of one name and labels summed.

    Of a moment (`…_timestamp_seconds`) the earliest is shown: the secret written longest ago, the
    certificate that expires first.
    """
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    heads: dict[str, tuple[str, str]] = {}
    order: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], None]] = defaultdict(dict)
    for page in pages:
        for family in text_string_to_metric_families(page):
            heads[family.name] = (family.type, family.documentation)
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                join = min if sample.name.endswith(MOMENT) else operator.add
                sums[key] = join(sums[key], sample.value) if key in sums else sample.value
                order[family.name][key] = None
    lines = []
    for name, (kind, documentation) in heads.items():
        shown = f"{name}_total" if kind == "counter" else name
        lines += [f"# HELP {shown} {_escaped_help(documentation)}", f"# TYPE {shown} {kind}"]
        lines += [_line(Sample(key[0], dict(key[1]), sums[key])) for key in order[name]]
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
    return (
        f"{sample.name}{{{labels}}} {sample.value}" if labels else f"{sample.name} {sample.value}"
    )


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
