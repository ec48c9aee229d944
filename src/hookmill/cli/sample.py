"""What the demo and chaos run alike: sample endpoints of every provider, ports, an environment."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from hookmill.cli.setup import Setup
from hookmill.local.simulator import Target
from hookmill.providers.pack import Pack
from hookmill.providers.registry import PACKS

CALLED = {"yoco": "shop-za", "rehive": "invoices", "pay3": "crypto", "echezona": "naira"}
"""Endpoints that have a name of their own; any other is called as its provider."""
SECRET = "2026-11"


def endpoints() -> str:
    """The `[endpoints]` of a configuration, one for each pack, with secrets made for this run."""
    return "\n".join(_endpoint(PACKS[name]) for name in sorted(PACKS))


def _endpoint(pack: Pack) -> str:
    """An endpoint's table; JSON's strings and lists are TOML's too."""
    options = dict(pack.example_options)
    text = pack.example_secret(
        secrets.token_hex(16), msgspec.convert(options, pack.options, strict=False)
    )
    secret = msgspec.json.encode(text).decode()
    lines = [
        f"[endpoints.{CALLED.get(pack.name, pack.name)}]",
        f'provider = "{pack.name}"',
        f'secrets = [{{ name = "{SECRET}", value = {secret} }}]',
    ]
    if options:
        pairs = (f"{key} = {msgspec.json.encode(each).decode()}" for key, each in options.items())
        lines.append(f"options = {{ {', '.join(pairs)} }}")
    return "\n".join(lines) + "\n"


def targets(setup: Setup, url: str) -> dict[str, Target]:
    """Where the simulator posts to, endpoint by endpoint, and with what it signs."""
    return {
        name: Target(
            url=f"{url}/webhooks/{name}",
            endpoint=name,
            pack=endpoint.pack,
            options=endpoint.options,
            secret=setup.signing_secret(name),
        )
        for name, endpoint in setup.endpoints.items()
    }


@contextmanager
def own_environment(*kept: str) -> Iterator[None]:
    """What runs here has its own configuration: of the environment's only those prefixes count."""
    foreign = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("HOOKMILL_") and not name.upper().startswith(kept or ("\0",))
    }
    for name in foreign:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(foreign)
