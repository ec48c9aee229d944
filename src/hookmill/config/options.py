"""Every option there is, its default and its unit: the one place that lists them."""

from typing import Annotated, Any, Literal

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
WholeSeconds = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the configuration file; an unknown key in it is an error."""


class SecretSource(Section, frozen=True, kw_only=True):
    """Where a secret's text comes from: exactly one of `env`, `file`, `value`.

    A file is read again when it changes. `value` needs `allow_inline_secrets = true`.
    """

    name: str = "main"
    env: str | None = None
    file: str | None = None
    value: str | None = None

    def __repr__(self) -> str:
        return f"SecretSource(name={self.name!r}, env={self.env!r}, file={self.file!r}, value=…)"


class Kafka(Section, frozen=True, kw_only=True):
    """The cluster, and how hookmill's topics lie in it."""

    bootstrap_servers: tuple[str, ...] = ()
    """Left out: 127.0.0.1 and `local.broker_port`."""
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 12
    """Of every topic; chosen once, never changed in place."""
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=32767)] = 1
    namespace: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,60}$")] = ""
    """Prefix of every topic, group and transactional id, joined by a hyphen."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretSource | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    session_timeout_secs: Annotated[float, msgspec.Meta(ge=6, le=1800)] = 10.0
    """After this long without a heartbeat a member's partitions go to others."""


class Local(Section, frozen=True, kw_only=True):
    """The local broker and the folder for state on this machine."""

    dir: str = ".hookmill"
    broker_port: Port = 9092
    broker_nodes: Literal[1, 3] = 1


class Ingress(Section, frozen=True, kw_only=True):
    """The HTTP front."""

    host: str = "127.0.0.1"
    port: Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9090
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    body_bytes_max: Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)] = 1_048_576
    answer_deadline_secs: Seconds = 10.0
    """A ceiling; a provider's own shorter deadline applies where it has one."""
    requests_in_flight_max: Count = 2000
    """In all; beyond it a delivery waits for a place."""
    endpoint_requests_in_flight_max: Count = 1000
    """Of one endpoint."""
    bytes_in_flight_max: Count = 256 * 1024 * 1024
    """Of bodies being read or waiting for Kafka, in all."""
    admission_timeout_secs: Seconds = 1.0
    """How long it waits for that, half of the answer's deadline at most; then it hears 429."""
    connections_max: Count = 10_000
    """Of one worker; beyond it the connection that has been idle longest is closed."""
    header_timeout_secs: Seconds = 10.0
    """How long a request's headers may take, from the connection's beginning or, later, from their
    first byte; how long a TLS handshake may take, and a client that does not read our answers."""
    body_timeout_secs: Seconds = 10.0
    """How long a client may take to send its body."""
    drain_timeout_secs: Seconds = 20.0
    """How long SIGTERM waits for what is in flight."""
    rejected_per_sec_max: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """How many refused deliveries an endpoint may leave in `webhooks-rejected` a second."""
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR) whose X-Forwarded-For is believed."""


class Endpoint(Section, frozen=True, kw_only=True):
    """One registration at a provider: POST /webhooks/{its name}."""

    provider: str
    secrets: tuple[SecretSource, ...] = ()
    tolerance_secs: WholeSeconds | None = None
    """Only where the provider signs a time; default from the provider pack."""
    dedup_window_secs: WholeSeconds | None = None
    """Default from the provider pack."""
    mode: Literal["live", "test"] | None = None
    """What events are that do not say it themselves; left out: `unknown`."""
    options: dict[str, Any] = {}
    """What this provider pack lets one choose."""
    api_key: SecretSource | None = None
    """The provider's API key, for `hookmill providers register` alone; no process needs it."""


class Providers(Section, frozen=True, kw_only=True):
    """Provider packs of one's own."""

    dir: str | None = None
    """A folder of their TOML files; `hookmill providers new` begins one."""


class Handler(Section, frozen=True, kw_only=True):
    """What finally does something with an event, under a name."""

    type: str
    """Built in: `http`, `ledger`, `log`; or `package.module:function`."""
    url: str | None = None
    """The ledger's database: sqlite:///path (default: `ledger.db` in `local.dir`), or
    postgresql://user@host/database; or the service that `http` forwards to: https://…"""
    password: SecretSource | None = None
    """Of the ledger's PostgreSQL role; read again for each new connection."""
    secrets: tuple[SecretSource, ...] = ()
    """What `http` signs with, each `whsec_…`: a signature of each, so that one can be rotated."""
    allow_networks: tuple[str, ...] = ()
    """Networks (CIDR) that `http` may connect to beside public addresses."""
    allow_plain_http: bool = False
    """Whether the url of `http` may be http://…, readable on its way."""
    ca_file: str | None = None
    """Who may have signed the certificate of an `http` service; left out: the machine's list."""
    requests_in_flight_max: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """How many requests of `http` at once in one process, at most `concurrency`, its default."""
    timeout_secs: Seconds = 30.0
    """How long one event may take."""
    retry_delays_secs: tuple[WholeSeconds, ...] = (30, 300, 3600)
    """How long a failed event waits before the next attempt, each longer than the one before; one
    that fails after the last of them is a dead letter."""
    ordered: bool = True
    """Whether a later event of a subject waits behind an earlier one that waits for a retry."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    """How many events at once in one process; those of one subject one after another, always."""
    parked_max: Count = 10_000
    """How many events of one partition may be parked behind others; beyond it the queue waits."""

    def __repr__(self) -> str:
        return f"Handler(type={self.type!r}, url=…, password={self.password!r})"


class MetadataMatch(Section, frozen=True, kw_only=True):
    """A condition on one metadata value: exactly one of these."""

    exists: bool | None = None
    one_of: tuple[str, ...] | None = None
    file: str | None = None
    """A file of values, one a line; read again when it changes."""
    function: str | None = None
    """`package.module:name`, called with the value; true means that it matches."""


Minor = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^-?[0-9]{1,38}$"})] | int


class AmountMatch(Section, frozen=True, kw_only=True):
    """A range of amounts in one currency, both ends in it. An event without an amount is in none.

    The ends are whole minor units (cents): digits as text, or an integer.
    """

    currency: str
    """As events have it, `ZAR`: figures of different currencies cannot be compared."""
    min: Minor | None = None
    max: Minor | None = None
    exponent: Annotated[int, msgspec.Meta(ge=0, le=38)] | None = None
    """How many digits of `min` and `max` are decimals: an amount with another number of them is
    compared at its true size, one that does not say is in no range. Left out: minor units are
    compared as they are."""


class Match(Section, frozen=True, kw_only=True):
    """Which events a route takes. What is left out takes all, except that test events must be
    asked for: without `mode`, `live` and `unknown` are taken."""

    type: tuple[str, ...] | str = ()
    """Event types; `*` stands for any part: `payment.*`."""
    provider: tuple[str, ...] | str = ()
    endpoint: tuple[str, ...] | str = ()
    mode: tuple[str, ...] | str = ()
    kind: tuple[str, ...] | str = ()
    amount: AmountMatch | None = None
    """The event's own amount: a refund's for a refund."""
    metadata: dict[str, str | MetadataMatch] = {}


class Route(Section, frozen=True, kw_only=True):
    """A named rule: events that match go to the queue of each of its handlers."""

    name: str
    handlers: tuple[str, ...]
    match: Match = Match()


class Log(Section, frozen=True, kw_only=True):
    """What the processes write to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: for people on a terminal, one JSON line an event elsewhere."""


class Telemetry(Section, frozen=True, kw_only=True):
    """Traces by OpenTelemetry; they need the extra `otel`. The variables OTEL_… hold where nothing
    is said here."""

    otlp_endpoint: str | None = None
    """Where traces go by OTLP over HTTP; left out: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
    OTEL_EXPORTER_OTLP_ENDPOINT, and without either there are no traces."""
    trace_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Which share of the deliveries is traced; left out: OTEL_TRACES_SAMPLER, or 0.01."""


class Configuration(Section, frozen=True, kw_only=True):
    """The whole of hookmill.toml."""

    kafka: Kafka = Kafka()
    local: Local = Local()
    ingress: Ingress = Ingress()
    providers: Providers = Providers()
    endpoints: dict[Name, Endpoint] = {}
    handlers: dict[Name, Handler] = {}
    routes: tuple[Route, ...] = ()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()
    allow_inline_secrets: bool = False
    """Secrets as text in the file: for trying things out only."""

    @property
    def bootstrap_servers(self) -> tuple[str, ...]:
        """The servers to ask: the configured ones, else the local broker's."""
        return self.kafka.bootstrap_servers or (f"127.0.0.1:{self.local.broker_port}",)
