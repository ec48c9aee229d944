"""Looks at this machine and at what it reaches, Kafka apart: gives facts, judges nothing."""

import asyncio
import errno
import os
import resource
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asyncpg
from cryptography import x509
from yarl import URL

from hookmill.cli.doctor.facts import (
    AddressFact,
    CertificateFact,
    DiskFact,
    LedgerFact,
    OpenFilesFact,
    Owner,
    PortFact,
    SecretFact,
    ToolFact,
)
from hookmill.cli.setup import Setup
from hookmill.config.options import Handler, SecretSource
from hookmill.config.secrets import read_once
from hookmill.core.errors import ConfigurationError, LedgerUnavailable
from hookmill.handlers.http_address import Guard
from hookmill.handlers.ledger.configured import ledger_place
from hookmill.handlers.ledger.place import File, reading
from hookmill.local.errors import BrokerError
from hookmill.local.jars import KAFKA_VERSION, find_java, jars_folder

CONNECT_TIMEOUT_SECS = 3.0
METRICS_BYTES_MAX = 64 * 1024


def secrets(setup: Setup) -> Iterator[SecretFact]:
    """Every secret of the configuration, endpoint by endpoint, then those of handlers and Kafka."""
    config = setup.config
    for name, options in config.endpoints.items():
        where = f"endpoints.{name}"
        texts = [_secret(f"{where}.secrets", each) for each in options.secrets]
        if all(each.problem is None for each in texts):
            problem = _problem(partial(setup.secrets, setup.endpoints[name]))
            yield from texts if problem is None else [SecretFact(where, "secrets", problem)]
        else:
            yield from texts
        if options.api_key is not None:
            yield _secret(f"{where}.api_key", options.api_key)
    for name, handler in config.handlers.items():
        for each in handler.secrets:
            yield _secret(f"handlers.{name}.secrets", each)
        if handler.password is not None:
            yield _secret(f"handlers.{name}.password", handler.password)
    if config.kafka.sasl_password is not None:
        yield _secret("kafka.sasl_password", config.kafka.sasl_password)


def _secret(where: str, source: SecretSource) -> SecretFact:
    problem = _problem(lambda: read_once(source, environ=os.environ))
    where = f"{where} '{source.name}'"
    if source.file is not None:
        try:
            mode: int | None = os.stat(source.file).st_mode & 0o777
        except OSError:
            mode = None
        return SecretFact(where, source.file, problem, mode)
    said = "the configuration file" if source.env is None else f"variable {source.env}"
    return SecretFact(where, said, problem)


def handlers(setup: Setup) -> dict[str, str]:
    """By handler, why it cannot be made; those that can are not in it."""
    found = {name: _problem(partial(setup.handler, name)) for name in setup.config.handlers}
    return {name: problem for name, problem in found.items() if problem is not None}


def _problem(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except ConfigurationError as error:
        return str(error)
    return None


def certificates(setup: Setup) -> Iterator[CertificateFact]:
    """Every file of certificates that the configuration names."""
    config = setup.config
    named = {
        "ingress.tls_cert_file": config.ingress.tls_cert_file,
        "kafka.ssl_cafile": config.kafka.ssl_cafile,
        "kafka.ssl_certfile": config.kafka.ssl_certfile,
        **{f"handlers.{name}.ca_file": each.ca_file for name, each in config.handlers.items()},
    }
    for where, path in named.items():
        if path is not None:
            yield _certificate(where, path)


def _certificate(where: str, path: str) -> CertificateFact:
    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        return CertificateFact(where, path, None, os.strerror(error.errno or 0))
    except ValueError:
        return CertificateFact(where, path, None, "no certificate in PEM form is in it")
    ends_secs = min(int(each.not_valid_after_utc.timestamp()) for each in found)
    return CertificateFact(where, path, ends_secs)


def disk(setup: Setup) -> DiskFact:
    """Where state is or will be."""
    folder = Path(setup.config.local.dir).resolve()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    writable = os.access(folder, os.W_OK | os.X_OK)
    return DiskFact(str(folder), usage.free, usage.total, writable)


def open_files() -> OpenFilesFact:
    """The limits of this process, which what is started here inherits."""
    soft, hard = (None if each == resource.RLIM_INFINITY else each
                  for each in resource.getrlimit(resource.RLIMIT_NOFILE))  # fmt: skip
    return OpenFilesFact(soft, hard)


def ports(setup: Setup) -> list[PortFact]:
    """The two ports of the ingress. That the private one is ours tells whose the public one is."""
    options = setup.config.ingress
    if not setup.endpoints:
        return []
    private = _owner(options.admin_host, options.admin_port)
    if private == "another" and _speaks_of_hookmill(options.admin_host, options.admin_port):
        private = "hookmill"
    public = _owner(options.host, options.port)
    if public == "another" and private == "hookmill":
        public = "hookmill"
    return [
        PortFact("ingress.port", options.host, options.port, public),
        PortFact("ingress.admin_port", options.admin_host, options.admin_port, private),
    ]


def _owner(host: str, port: int) -> Owner:
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return "not ours to have"
    with socket.socket(info[0], socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(info[4])
            trial.listen()
        except OSError as error:
            return "another" if error.errno == errno.EADDRINUSE else "not ours to have"
    return "nobody"


def _speaks_of_hookmill(host: str, port: int) -> bool:
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(
            f"http://{reached}:{port}/metrics", timeout=CONNECT_TIMEOUT_SECS
        ) as answer:
            return b"hookmill_" in answer.read(METRICS_BYTES_MAX)
    except (OSError, urllib.error.URLError, ValueError):
        return False


async def addresses(setup: Setup) -> list[AddressFact]:
    """Where the `http` handlers send."""
    wanted = {name: each for name, each in setup.config.handlers.items() if each.type == "http"}
    return list(await asyncio.gather(*(_address(name, each) for name, each in wanted.items())))


async def _address(name: str, options: Handler) -> AddressFact:
    url = URL(options.url or "")
    host, port = url.host or "", url.port or 443
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return AddressFact(name, host, port, problem=error.strerror or str(error))
    found = tuple(dict.fromkeys(str(each[4][0]) for each in infos))
    guard = Guard(options.allow_networks)
    admitted = tuple(each for each in found if guard.admits(each))
    problem = None
    for each in admitted:
        problem = await _connects(each, port)
        if problem is None:
            break
    return AddressFact(name, host, port, found, admitted, problem)


async def _connects(address: str, port: int) -> str | None:
    """Why no connection is taken there, None if one is; nothing is sent."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECS):
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        return f"no answer within {CONNECT_TIMEOUT_SECS:g} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


async def ledgers(setup: Setup) -> list[LedgerFact]:
    """Each ledger's database, asked for its tables; it is only read."""
    wanted = {name: each for name, each in setup.config.handlers.items() if each.type == "ledger"}
    return [await _ledger(setup, name, each) for name, each in wanted.items()]


async def _ledger(setup: Setup, name: str, options: Handler) -> LedgerFact:
    local_dir = Path(setup.config.local.dir)
    try:
        where = ledger_place(options, local_dir=local_dir, environ=os.environ)
    except ConfigurationError as error:
        return LedgerFact(name, "its database", "unusable", str(error))
    said = str(where.path) if isinstance(where, File) else where.name
    if isinstance(where, File) and not where.path.exists():
        return LedgerFact(name, said, "absent")
    try:
        async with reading(where):
            return LedgerFact(name, said, "ready")
    except LedgerUnavailable as error:
        no_tables = isinstance(error.__context__, asyncpg.UndefinedTableError)
        return LedgerFact(name, said, "absent" if no_tables else "unavailable", str(error))
    except ConfigurationError as error:
        return LedgerFact(name, said, "unusable", str(error))


def tools(setup: Setup) -> list[ToolFact]:
    """Java, and the jars or the Maven that gets them: only where the local broker is used."""
    if setup.config.kafka.bootstrap_servers:
        return []
    try:
        java = ToolFact("Java", find_java())
    except BrokerError as error:
        java = ToolFact("Java", None, str(error))
    if jars_folder().is_dir():
        return [java, ToolFact("jars", f"Apache Kafka {KAFKA_VERSION} is here")]
    maven = shutil.which("mvn")
    said = None if maven else "Apache Kafka's jars are not here, nor Maven (mvn) to fetch them"
    return [java, ToolFact("Maven", maven, said)]
