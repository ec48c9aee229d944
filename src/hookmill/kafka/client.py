"""How every client of ours connects: servers, security, and the errors it may meet."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from hookmill.config.options import Kafka
from hookmill.core.errors import KafkaUnavailable

MEMBER_HEARTBEAT_MS = 3_000
REBALANCE_TIMEOUT_MS = 60_000
NETWORK_TIMEOUT_SECS = 30.0


class Connection(msgspec.Struct, frozen=True):
    """Where the cluster is and how to speak to it, as keyword arguments for aiokafka."""

    servers: tuple[str, ...]
    security: dict[str, Any]

    def arguments(self, client_id: str) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes."""
        return {
            "bootstrap_servers": list(self.servers),
            "client_id": client_id,
            **self.security,
        }


def connection(
    options: Kafka, servers: tuple[str, ...], password: Callable[[], str | None]
) -> Connection:
    """The connection that the configuration describes; reads certificates and the password."""
    security: dict[str, Any] = {"security_protocol": options.security_protocol}
    if options.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=options.ssl_cafile)
        if options.ssl_certfile:
            context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
        security["ssl_context"] = context
    if options.security_protocol.startswith("SASL"):
        security["sasl_mechanism"] = options.sasl_mechanism
        security["sasl_plain_username"] = options.sasl_username
        security["sasl_plain_password"] = password()
    return Connection(servers, security)


@contextlib.asynccontextmanager
async def reachable(connection: Connection) -> AsyncIterator[None]:
    """Turns what the client raises while it cannot work into KafkaUnavailable, for people."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        servers = ", ".join(connection.servers)
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise KafkaUnavailable(f"Kafka at {servers}: {why}") from None
