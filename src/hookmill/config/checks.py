"""What a configuration must satisfy beyond its types; `route_checks.py` says it of the routes."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from hookmill.config.destination import url_problem
from hookmill.config.options import (
    Configuration,
    Endpoint,
    Handler,
    SecretSource,
)
from hookmill.config.shape import nearest

BUILT_IN_HANDLERS = ("http", "ledger", "log")
OF_HTTP_ONLY = {
    "secrets": (),
    "allow_networks": (),
    "allow_plain_http": False,
    "ca_file": None,
    "requests_in_flight_max": None,
}
"""Handler options that only the forwarder has, and what they are where nothing is said."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_COLLECTOR = re.compile(r"https?://[^/\s@]+(/[^\s]*)?(?<!/v1/traces)(?<!/v1/traces/)")
_OWN_TOPIC = re.compile(r"-(dlq|state|retry-\d+)$")


def problems(config: Configuration) -> list[str]:
    """One line for each thing that is wrong but in the routes; empty for a good configuration."""
    return [
        *_of_ingress(config),
        *_of_kafka(config),
        *_of_telemetry(config),
        *(
            line
            for name, each in config.endpoints.items()
            for line in _of_endpoint(config, name, each)
        ),
        *(
            line
            for name, each in config.handlers.items()
            for line in _of_handler(config, name, each)
        ),
        *(
            line
            for name, each in config.handlers.items()
            if each.type == "http"
            for line in _of_forwarder(config, f"handlers.{name}", each)
        ),
    ]


def _of_ingress(config: Configuration) -> Iterator[str]:
    options = config.ingress
    if (options.tls_cert_file is None) != (options.tls_key_file is None):
        yield "ingress.tls_cert_file and ingress.tls_key_file go together"
    yield from _of_networks("ingress.trusted_proxies", options.trusted_proxies)
    if options.bytes_in_flight_max < options.body_bytes_max:
        yield "ingress.bytes_in_flight_max is below ingress.body_bytes_max: nothing would get in"
    if options.port and options.port == options.admin_port:
        yield "ingress.port and ingress.admin_port are the same"


def _of_kafka(config: Configuration) -> Iterator[str]:
    kafka = config.kafka
    if kafka.security_protocol.startswith("SASL"):
        if not kafka.sasl_username or kafka.sasl_password is None:
            yield (
                f"kafka.security_protocol {kafka.security_protocol} needs kafka.sasl_username and "
                "kafka.sasl_password"
            )
    elif kafka.sasl_username or kafka.sasl_password:
        yield "kafka.sasl_username and sasl_password need security_protocol SASL_SSL"
    if kafka.sasl_password is not None:
        yield from _of_secret(config, "kafka.sasl_password", kafka.sasl_password)
    if kafka.ssl_keyfile and not kafka.ssl_certfile:
        yield "kafka.ssl_keyfile needs kafka.ssl_certfile"


def _of_telemetry(config: Configuration) -> Iterator[str]:
    endpoint = config.telemetry.otlp_endpoint
    if endpoint is not None and not _COLLECTOR.fullmatch(endpoint):
        yield (
            "telemetry.otlp_endpoint: an address such as http://127.0.0.1:4318 is needed, without "
            "the path /v1/traces, which is added"
        )


def _of_endpoint(config: Configuration, name: str, endpoint: Endpoint) -> Iterator[str]:
    where = f"endpoints.{name}"
    if not endpoint.secrets:
        yield f"{where}.secrets: at least one is needed, or nothing proves the sender"
    for secret in endpoint.secrets:
        yield from _of_secret(config, f"{where}.secrets", secret)
    yield from _repeated(f"{where}.secrets", (each.name for each in endpoint.secrets))
    if endpoint.api_key is not None:
        yield from _of_secret(config, f"{where}.api_key", endpoint.api_key)


def _of_secret(config: Configuration, where: str, secret: SecretSource) -> Iterator[str]:
    said = [key for key in ("env", "file", "value") if getattr(secret, key) is not None]
    if len(said) != 1:
        yield f"{where}: secret '{secret.name}' needs exactly one of env, file, value"
    elif said == ["value"] and not config.allow_inline_secrets:
        yield (
            f"{where}: secret '{secret.name}' stands in the file; name it by env or file, or for a "
            "trial set allow_inline_secrets = true"
        )


def _of_networks(where: str, networks: Iterable[str]) -> Iterator[str]:
    for text in networks:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"{where}: '{text}' is no address or network such as 10.0.0.0/8"


def _of_handler(config: Configuration, name: str, handler: Handler) -> Iterator[str]:
    if handler.type not in BUILT_IN_HANDLERS and not _FUNCTION.fullmatch(handler.type):
        hint = nearest(handler.type, list(BUILT_IN_HANDLERS))
        yield f"handlers.{name}.type: '{handler.type}' is not built in, nor module:function{hint}"
    if _OWN_TOPIC.search(name):
        yield (
            f"handlers.{name}: its topics would be those of another handler; not at the end of a "
            "name: -dlq, -state, -retry-N"
        )
    delays = handler.retry_delays_secs
    if any(later <= earlier for earlier, later in pairwise(delays)):
        yield f"handlers.{name}.retry_delays_secs: each must be longer than the one before"
    if handler.url is not None and handler.type not in ("http", "ledger"):
        yield f"handlers.{name}.url: only the types http and ledger have one"
    if handler.password is not None:
        if handler.type != "ledger":
            yield f"handlers.{name}.password: only the ledger has one"
        yield from _of_secret(config, f"handlers.{name}.password", handler.password)
    if handler.type != "http":
        for option, unsaid in OF_HTTP_ONLY.items():
            if getattr(handler, option) != unsaid:
                yield f"handlers.{name}.{option}: only the type http has it"


def _of_forwarder(config: Configuration, where: str, handler: Handler) -> Iterator[str]:
    problem = url_problem(handler.url, plain_http=handler.allow_plain_http)
    if problem is not None:
        yield f"{where}.url: {problem}"
    if not handler.secrets:
        yield f"{where}.secrets: at least one is needed, or the service cannot tell who sends"
    for secret in handler.secrets:
        yield from _of_secret(config, f"{where}.secrets", secret)
    yield from _repeated(f"{where}.secrets", (each.name for each in handler.secrets))
    yield from _of_networks(f"{where}.allow_networks", handler.allow_networks)
    if (handler.requests_in_flight_max or 0) > handler.concurrency:
        yield (
            f"{where}.requests_in_flight_max is above {where}.concurrency: there are never so many"
        )


def _repeated(where: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{where}: the name '{name}' is there {count} times"
