"""Joins the configuration with everything it names: endpoints, secrets, routes, the cluster."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import msgspec

from hookmill import pipeline
from hookmill.cli.rules import build_rules
from hookmill.config.load import load
from hookmill.config.options import Configuration
from hookmill.config.secrets import SecretTexts, live_keys, read_once
from hookmill.core.delivery import Secret
from hookmill.handlers.api import Handler
from hookmill.handlers.registry import make
from hookmill.kafka.client import Connection, connection
from hookmill.kafka.topics import Wanted, wanted
from hookmill.providers.endpoint import Endpoint, build_all, modes_of, secrets_of
from hookmill.providers.registry import Packs, all_packs
from hookmill.stages.route import Rule
from hookmill.telemetry import logs
from hookmill.telemetry.logs import say
from hookmill.telemetry.traces import Tracer, tracing


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
        return live_keys(texts, partial(secrets_of, endpoint), _tell_unreadable)

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

    def handler(self, name: str) -> Handler:
        """The handler of that name, not started; raises ConfigurationError if it cannot be made."""
        return make(
            self.config.handlers[name],
            name=name,
            local_dir=Path(self.config.local.dir),
            environ=os.environ,
            now_us=now_us,
        )

    def connection(self) -> Connection:
        """How to reach the cluster."""
        kafka = self.config.kafka

        def password() -> str | None:
            if kafka.sasl_password is None:
                return None
            return read_once(kafka.sasl_password, environ=os.environ)

        return connection(kafka, self.config.bootstrap_servers, password)

    def tracing(
        self, part: str, instance: str | None = None
    ) -> AbstractContextManager[Tracer | None]:
        """The tracer of a process, None where traces are off."""
        return tracing(
            self.config.telemetry,
            os.environ,
            part=part,
            instance=instance,
            namespace=self.config.kafka.namespace,
        )

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
    config = load(path, os.environ, modes_of=modes_of)
    packs = packs_of(config)
    return Setup(
        config=config,
        packs=packs,
        endpoints=build_all(config.endpoints, packs),
        rules=build_rules(config, tell=_tell_unreadable),
        names=pipeline.Names(config.kafka.namespace),
    )


def setup_of(path: Path | None) -> Setup:
    """The same for a command that is no part of the pipeline: its log lines are set up too."""
    setup = load_setup(path)
    logs.configure(setup.config.log)
    return setup
