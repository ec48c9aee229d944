"""`hookmill send`: signs and posts realistic deliveries as a provider would."""

import asyncio
import os
import shlex
from collections import Counter
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, now_us
from hookmill.config.options import SecretSource
from hookmill.config.secrets import read_once
from hookmill.core.errors import ConfigurationError
from hookmill.core.times import rfc3339_epoch_us
from hookmill.local.simulated import Plan, Planned, planned
from hookmill.local.simulator import (
    FORGER,
    Result,
    Simulator,
    Target,
    addressed,
    session,
    signed,
    stories_of,
)
from hookmill.providers.registry import pack_named

Skip = Annotated[
    float, typer.Option(min=0, max=1, help="Share of statuses that never come; a last one does.")
]
Burst = Annotated[
    int, typer.Option(min=1, help="How many come at once; on average it is --rate still.")
]
RotateTo = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="Sign later events with this: the name of a secret of the endpoint, env:NAME or "
        "file:PATH.",
        show_default=False,
    ),
]
RotateAfter = Annotated[
    int | None,
    typer.Option(min=0, help="How many before --rotate-to. Default: half.", show_default=False),
]
SignWith = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="Default: the endpoint's first secret. Else as --rotate-to; a provider with a "
        "private key is simulated with one of yours.",
        show_default=False,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        help="With --print: the time of it all, such as 2026-11-23T09:00:00Z, for the same bytes "
        "every time. Default: now.",
        show_default=False,
    ),
]


def target(
    setup: Setup,
    provider: str,
    endpoint: str | None,
    url: str | None,
    sign_with: str | None = None,
) -> Target:
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
        secret=secret_text(setup, endpoint, sign_with)
        if sign_with
        else setup.signing_secret(endpoint),
    )


def secret_text(setup: Setup, endpoint: str, which: str) -> str:
    """The text of a secret of the endpoint by its name, or of `env:NAME`, `file:PATH`."""
    kind, colon, place = which.partition(":")
    if colon and kind in ("env", "file"):
        return read_once(SecretSource(**{"name": which, kind: place}), environ=os.environ)
    sources = {each.name: each for each in setup.config.endpoints[endpoint].secrets}
    if which not in sources:
        raise ConfigurationError(
            f"endpoints.{endpoint} has no secret '{which}'; it has: {', '.join(sources)}; or say "
            "env:NAME or file:PATH"
        )
    return read_once(sources[which], environ=os.environ)


def moment_us(at: str | None, *, print_only: bool) -> int | None:
    """The time that `--at` says; raises ConfigurationError where it cannot be meant."""
    if at is None:
        return None
    found = rfc3339_epoch_us(at)
    if found is None or not print_only:
        raise ConfigurationError(
            f"--at {at}: a time such as 2026-11-23T09:00:00Z, and only with --print"
        )
    return found


def print_curl(target: Target, plan: Plan, rotate_to: str | None, at_us: int | None) -> None:
    """Each signed request as a curl command on standard output."""
    moment = now_us() if at_us is None else at_us
    for each in planned(stories_of(target.pack), plan, moment):
        secret = _secret(target, each, rotate_to)
        request = signed(target, each.step, at_us=moment, secret=secret)
        headers = [
            f"-H {shlex.quote(f'{name}: {value}')}" for name, value in request.headers.items()
        ]
        body = shlex.quote(request.body.decode())
        url = shlex.quote(str(addressed(target.url, request)))
        print(f"curl -sS {' '.join(headers)} --data-binary {body} {url}")


async def run(
    target: Target, plan: Plan, rotate_to: str | None, *, time_scale: float, as_json: bool
) -> bool:
    """Send; False if anything that was signed well was not accepted.

    Raises ConfigurationError, before anything is sent, for a secret that cannot sign.
    """
    sent = list(planned(stories_of(target.pack), plan, now_us()))
    for secret in (target.secret, rotate_to):
        signed(target, sent[0].step, at_us=now_us(), secret=secret)
    results: list[tuple[str, Result]] = []
    async with session() as client, asyncio.TaskGroup() as group:
        simulator = Simulator(target, client, now_us=now_us, time_scale=time_scale)

        async def one(each: Planned) -> None:
            if each.kind == "forged":
                result = await simulator.forge(each.step)
            else:
                secret = rotate_to if each.rotated else None
                result = await simulator.deliver(each.step, secret=secret)
            results.append((each.kind, result))
            if as_json:
                print_json(
                    {"kind": each.kind, "rotated": each.rotated, **msgspec.to_builtins(result)}
                )

        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            for each in progress.track(sent, description=target.endpoint):
                if each.wait_secs:
                    await asyncio.sleep(each.wait_secs)
                group.create_task(one(each))
    if not as_json:
        _print(results)
    return all(result.accepted for kind, result in results if kind != "forged")


def _secret(target: Target, each: Planned, rotate_to: str | None) -> str | None:
    """What it is signed with; None: the target's secret."""
    if each.kind == "forged":
        return target.pack.example_secret(FORGER, target.options)
    return rotate_to if each.rotated else None


def _print(results: list[tuple[str, Result]]) -> None:
    counts = Counter((kind, r.status, r.error or "accepted") for kind, r in results)
    rows = [(kind, status, said, count) for (kind, status, said), count in sorted(counts.items())]
    print_table(("sent", "status", "answer", "count"), rows)


def _base(setup: Setup) -> str:
    options = setup.config.ingress
    scheme = "https" if options.tls_cert_file else "http"
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options.port}"
