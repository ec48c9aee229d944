"""`hookmill send`: signs and posts realistic deliveries as a provider would."""

import asyncio
import random
import shlex
from collections import Counter
from collections.abc import Iterator

import msgspec
from rich.progress import Progress

from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, now_us
from hookmill.core.errors import ConfigurationError
from hookmill.local.simulator import (
    Result,
    Simulator,
    Target,
    addressed,
    session,
    signed,
    stories_of,
)
from hookmill.local.stories.story import Step
from hookmill.providers.registry import pack_named


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what to send; shares lie between 0 and 1, `rate` is events a second."""

    count: int
    rate: float
    duplicates: float
    forged: float
    out_of_order: float
    seed: int
    time_scale: float


def target(setup: Setup, provider: str, endpoint: str | None, url: str | None) -> Target:
    """Where to post; raises ConfigurationError where that is not clear."""
    pack = pack_named(provider, setup.packs)
    named = [name for name, each in setup.endpoints.items() if each.pack.name == provider]
    if endpoint is None:
        if len(named) != 1:
            have = ", ".join(named) or "none"
            raise ConfigurationError(
                f"--endpoint is needed: endpoints of {provider} in the configuration: {have}"
            )
        endpoint = named[0]
    if endpoint not in named:
        raise ConfigurationError(f"no endpoint '{endpoint}' of {provider} is configured")
    found = setup.endpoints[endpoint]
    return Target(
        url=url or f"{_base(setup)}/webhooks/{endpoint}",
        endpoint=endpoint,
        pack=pack,
        options=found.options,
        secret=setup.signing_secret(endpoint),
    )


def print_curl(target: Target, plan: Plan) -> None:
    """Each signed request as a curl command on standard output."""
    for step in _steps(target, plan):
        request = signed(target, step, at_us=now_us())
        headers = [
            f"-H {shlex.quote(f'{name}: {value}')}" for name, value in request.headers.items()
        ]
        body = shlex.quote(request.body.decode())
        url = shlex.quote(str(addressed(target.url, request)))
        print(f"curl -sS {' '.join(headers)} --data-binary {body} {url}")


async def run(target: Target, plan: Plan, *, as_json: bool) -> bool:
    """Send; False if anything that was signed well was not accepted."""
    chance = random.Random(plan.seed + 1)
    results: list[tuple[str, Result]] = []
    async with session() as client, asyncio.TaskGroup() as group:
        simulator = Simulator(target, client, now_us=now_us, time_scale=plan.time_scale)

        async def one(kind: str, step: Step) -> None:
            forged = kind == "forged"
            result = await (simulator.forge(step) if forged else simulator.deliver(step))
            results.append((kind, result))
            if as_json:
                print_json({"kind": kind, **msgspec.to_builtins(result)})

        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            for step in progress.track(list(_steps(target, plan)), description=target.endpoint):
                kinds = ["forged"] if chance.random() < plan.forged else ["genuine"]
                if kinds == ["genuine"] and chance.random() < plan.duplicates:
                    kinds.append("redelivered")
                for kind in kinds:
                    group.create_task(one(kind, step))
                await asyncio.sleep(1 / plan.rate)
    if not as_json:
        _print(results)
    return all(result.accepted for kind, result in results if kind != "forged")


def _steps(target: Target, plan: Plan) -> Iterator[Step]:
    chance = random.Random(plan.seed)
    stories = stories_of(target.pack)
    steps: list[Step] = []
    while len(steps) < plan.count:
        steps += stories(chance, now_us())
    steps = steps[: plan.count]
    for index in range(len(steps) - 1):
        if chance.random() < plan.out_of_order:
            steps[index], steps[index + 1] = steps[index + 1], steps[index]
    return iter(steps)


def _print(results: list[tuple[str, Result]]) -> None:
    counts = Counter((kind, r.status, r.error or "accepted") for kind, r in results)
    rows = [(kind, status, said, count) for (kind, status, said), count in sorted(counts.items())]
    print_table(("sent", "status", "answer", "count"), rows)


def _base(setup: Setup) -> str:
    options = setup.config.ingress
    scheme = "https" if options.tls_cert_file else "http"
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options.port}"
