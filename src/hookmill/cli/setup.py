"""Joins the configuration with everything it names: endpoints, secrets, routes, the cluster."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hookmill import pipeline
from hookmill.config.load import load
from hookmill.config.options import Configuration, MetadataMatch, Route
from hookmill.config.references import id_file, import_function
from hookmill.config.secrets import SecretTexts, read_once
from hookmill.core.delivery import Secret
from hookmill.core.errors import ConfigurationError
from hookmill.kafka.client import Connection, connection
from hookmill.kafka.topics import Wanted, wanted
from hookmill.providers.endpoint import Endpoint, build_all, secrets_of
from hookmill.providers.registry import Packs, all_packs
from hookmill.stages.route import MODES_UNASKED, Condition, Rule, type_pattern
from hookmill.telemetry.logs import say


def now_us() -> int:
    """The machine's clock in epoch microseconds: read here and handed to whoever needs it."""
    return time.time_ns() // 1000


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration, checked and joined. Secrets are read only by who needs them."""

    config: Configuration
    packs: Packs
    endpoints: dict[str, Endpoint]
    rules: tuple[Rule, ...]
    names: pipeline.Names

    def secrets(self, endpoint: Endpoint) -> Callable[[], Sequence[Secret]]:
        """Reads the endpoint's live secrets, anew where their files change.

        Raises ConfigurationError now if any of them cannot be used.
        """
        texts = self._secret_texts(endpoint.name)
        known_texts: list[tuple[str, str]] = texts.read()
        known = secrets_of(endpoint, known_texts)

        def live() -> Sequence[Secret]:
            nonlocal known, known_texts
            latest = texts.read()
            if latest != known_texts:
                known_texts = latest
                try:
                    known = secrets_of(endpoint, latest)
                except ConfigurationError as error:  # the last good ones stay, as with a lost file
                    _tell_unreadable(str(error))
            return known

        return live

    def _secret_texts(self, endpoint: str) -> SecretTexts:
        return SecretTexts(
            self.config.endpoints[endpoint].secrets,
            environ=os.environ,
            clock=time.monotonic,
            tell=_tell_unreadable,
        )

    def signing_secret(self, endpoint: str) -> str:
        """The text of the endpoint's first secret, for the simulator to sign with."""
        return self._secret_texts(endpoint).read()[0][1]

    def connection(self) -> Connection:
        """How to reach the cluster."""
        kafka = self.config.kafka

        def password() -> str | None:
            if kafka.sasl_password is None:
                return None
            return read_once(kafka.sasl_password, environ=os.environ)

        return connection(kafka, self.config.bootstrap_servers, password)

    def topics(self) -> list[pipeline.Topic]:
        """Every topic of the map, for this configuration."""
        return pipeline.topics(self.config, self.endpoints)

    def wanted(self) -> list[Wanted]:
        """Every topic as it must be in the cluster."""
        kafka = self.config.kafka
        return [
            wanted(
                topic,
                self.names,
                partitions=kafka.partitions,
                replication_factor=kafka.replication_factor,
            )
            for topic in self.topics()
        ]


def _tell_unreadable(problem: str) -> None:
    say("file_unreadable", error=problem)


def load_packs(path: Path | None) -> Packs:
    """The built-in packs and the configuration's own; raises ConfigurationError for a bad one."""
    return packs_of(load(path, os.environ))


def packs_of(config: Configuration) -> Packs:
    """The packs that endpoints of this configuration can have."""
    return all_packs(Path(config.providers.dir) if config.providers.dir else None)


def load_setup(path: Path | None) -> Setup:
    """Read and check the configuration; raises ConfigurationError that says what to mend."""
    config = load(path, os.environ)
    packs = packs_of(config)
    return Setup(
        config=config,
        packs=packs,
        endpoints=build_all(config.endpoints, packs),
        rules=tuple(_rule(route) for route in config.routes),
        names=pipeline.Names(config.kafka.namespace),
    )


def _rule(route: Route) -> Rule:
    match = route.match
    return Rule(
        name=route.name,
        handlers=route.handlers,
        types=tuple(type_pattern(text) for text in _several(match.type)),
        providers=frozenset(_several(match.provider)),
        endpoints=frozenset(_several(match.endpoint)),
        modes=frozenset(_several(match.mode)) or MODES_UNASKED,
        metadata={key: _condition(value) for key, value in match.metadata.items()},
    )


def _several(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _condition(match: str | MetadataMatch) -> Condition:
    if isinstance(match, str):
        return lambda value: value == match
    if match.exists is not None:
        wanted_there = match.exists
        return lambda value: (value is not None) is wanted_there
    if match.one_of is not None:
        allowed = frozenset(match.one_of)
        return lambda value: value in allowed
    if match.file is not None:
        listed = id_file(Path(match.file), clock=time.monotonic, tell=_tell_unreadable)
        return lambda value: value is not None and listed(value)
    if match.function is not None:
        function = import_function(match.function)
        return lambda value: value is not None and bool(function(value))
    raise ConfigurationError("a metadata match needs exists, one_of, file or function")
