"""What the demo and chaos run alike: sample endpoints of every provider, ports, an environment."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from hookmill.cli.setup import Setup
from hookmill.local.simulator import Target

ENDPOINTS = """\
[endpoints.shop-za]
provider = "yoco"
secrets = [{{ name = "2026-11", value = "whsec_{yoco}" }}]

[endpoints.invoices]
provider = "rehive"
secrets = [{{ value = "{rehive}" }}]

[endpoints.crypto]
provider = "pay3"
secrets = [{{ value = "{pay3}" }}]

[endpoints.naira]
provider = "echezona"
secrets = [{{ value = "{echezona}" }}]
options = {{ header = "x-echezona-signature", algorithm = "hmac-sha512", encoding = "hex" }}
"""


def endpoints() -> str:
    """The `[endpoints]` of a configuration, with secrets made for this run."""
    return ENDPOINTS.format(
        yoco=secrets.token_urlsafe(24).replace("-", "A").replace("_", "B"),
        rehive=secrets.token_urlsafe(32),
        pay3=secrets.token_urlsafe(48),
        echezona=secrets.token_urlsafe(32),
    )


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


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
