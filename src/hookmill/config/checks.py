"""What a configuration must satisfy beyond its types: names that exist, secrets that are said."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from hookmill.config.options import (
    Configuration,
    Endpoint,
    Handler,
    MetadataMatch,
    Route,
    SecretSource,
)
from hookmill.config.shape import nearest
from hookmill.core.event import STATUSES

BUILT_IN_HANDLERS = ("ledger", "log")
MODES = ("live", "test", "unknown")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_OWN_TOPIC = re.compile(r"-(dlq|state|retry-\d+)$")
_TYPES = [f"{kind}.{status}" for kind, several in STATUSES.items() for status in several]


def problems(config: Configuration) -> list[str]:
    """One line for each thing that is wrong; empty for a good configuration."""
    return [
        *_of_ingress(config),
        *_of_kafka(config),
        *(
            line
            for name, each in config.endpoints.items()
            for line in _of_endpoint(config, name, each)
        ),
        *(line for name, each in config.handlers.items() for line in _of_handler(name, each)),
        *_of_routes(config),
    ]


def _of_ingress(config: Configuration) -> Iterator[str]:
    options = config.ingress
    if (options.tls_cert_file is None) != (options.tls_key_file is None):
        yield "ingress.tls_cert_file and ingress.tls_key_file go together"
    for text in options.trusted_proxies:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"ingress.trusted_proxies: '{text}' is no address or network such as 10.0.0.0/8"
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


def _of_handler(name: str, handler: Handler) -> Iterator[str]:
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
    if handler.url is not None and handler.type != "ledger":
        yield f"handlers.{name}.url: only the ledger has one"


def _of_routes(config: Configuration) -> Iterator[str]:
    yield from _repeated("routes", (route.name for route in config.routes))
    for route in config.routes:
        yield from _of_route(config, route)


def _of_route(config: Configuration, route: Route) -> Iterator[str]:
    where = f"routes '{route.name}'"
    if not route.handlers:
        yield f"{where}: no handlers"
    for name in route.handlers:
        if name not in config.handlers:
            yield f"{where}: no handler is called '{name}'{nearest(name, list(config.handlers))}"
    match = route.match
    for pattern in _several(match.type):
        regex = re.compile(".*".join(map(re.escape, pattern.split("*"))))
        if not any(regex.fullmatch(each) for each in _TYPES):
            yield f"{where}: no event has the type '{pattern}'{nearest(pattern, _TYPES)}"
    for name in _several(match.endpoint):
        if name not in config.endpoints:
            yield f"{where}: no endpoint is called '{name}'{nearest(name, list(config.endpoints))}"
    for provider in _several(match.provider):
        known = sorted({each.provider for each in config.endpoints.values()})
        if provider not in known:
            yield f"{where}: no endpoint has the provider '{provider}'{nearest(provider, known)}"
    for mode in _several(match.mode):
        if mode not in MODES:
            yield f"{where}: mode '{mode}'{nearest(mode, list(MODES))}"
    for key, condition in match.metadata.items():
        if isinstance(condition, MetadataMatch):
            yield from _of_condition(f"{where}: metadata.{key}", condition)


def _of_condition(where: str, condition: MetadataMatch) -> Iterator[str]:
    said = [each for each in ("exists", "one_of", "file", "function")
            if getattr(condition, each) is not None]  # fmt: skip
    if len(said) != 1:
        yield f"{where} needs exactly one of exists, one_of, file, function"


def _several(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _repeated(where: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{where}: the name '{name}' is there {count} times"
