"""What the facts of this machine mean: pure checks, each giving findings."""

from collections.abc import Iterable, Iterator, Sequence

from hookmill.cli.doctor.facts import (
    AddressFact,
    CertificateFact,
    DiskFact,
    LedgerFact,
    OpenFilesFact,
    PortFact,
    SecretFact,
    ToolFact,
)
from hookmill.cli.doctor.finding import Finding, failure, ok, warning
from hookmill.config.options import Configuration
from hookmill.ingress.connections import SPARE_DESCRIPTORS

CERTIFICATE_WARNING_DAYS = 21
DAY_SECS = 86_400
FREE_BYTES_MIN = 512 << 20
FREE_BYTES_GOOD = 5 << 30
FREE_SHARE_GOOD = 10
"""In percent."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIB = 1 << 20
TOO_OPEN = 0o020 | 0o007
"""Bits of a secret's file that let others at it; a group that reads is how containers share."""


def secret(fact: SecretFact) -> Finding:
    """Readable, not empty, a key of its provider's form, and nobody else's to read."""
    if fact.problem is not None:
        return failure("secret", f"{fact.where}: {fact.problem}",
                       "put the secret there, readable by the user that runs hookmill; without "
                       "it the process does not start")  # fmt: skip
    if fact.source == "the configuration file":
        return warning("secret", f"{fact.where} stands in the configuration file",
                       "name it by `file` or `env` and remove allow_inline_secrets: that is for "
                       "trials")  # fmt: skip
    if fact.mode is not None and fact.mode & TOO_OPEN:
        who = "everybody on this machine" if fact.mode & 0o007 else "its group"
        may = "changed" if fact.mode & 0o022 else "read"
        return warning("secret", f"{fact.where}: {fact.source} may be {may} by {who} "
                       f"(mode {fact.mode:04o})", "chmod 0400, and owned by the user that runs "
                       "hookmill")  # fmt: skip
    return ok("secret", f"{fact.where}: {fact.source}")


def exposure(config: Configuration) -> Finding:
    """Providers must reach us by HTTPS; what travels readable can be read and sent again."""
    options = config.ingress
    if options.tls_cert_file:
        return ok("ingress.https", f"{options.host}:{options.port} speaks HTTPS itself")
    if options.host in LOOPBACK:
        return ok("ingress.https", f"{options.host}:{options.port} is reached from this machine "
                  "alone; HTTPS ends before it")  # fmt: skip
    if options.trusted_proxies:
        return ok("ingress.https", f"HTTPS ends at {', '.join(options.trusted_proxies)}")
    return warning("ingress.https", f"{options.host}:{options.port} is open and speaks plain HTTP",
                   "set ingress.tls_cert_file and tls_key_file, or let HTTPS end at a proxy and "
                   "name it in ingress.trusted_proxies")  # fmt: skip


def certificate(fact: CertificateFact, now_secs: int) -> Finding:
    """It can be read and will be good for a while."""
    check = "certificate"
    if fact.ends_secs is None:
        return failure(check, f"{fact.where}: {fact.path}: {fact.problem}",
                       "put a certificate in PEM form there")  # fmt: skip
    days = (fact.ends_secs - now_secs) // DAY_SECS
    renew = "renew it and write both files anew; ingress reads them again by itself"
    if fact.ends_secs <= now_secs:
        return failure(check, f"{fact.where}: {fact.path} has expired", renew)
    if days < CERTIFICATE_WARNING_DAYS:
        return warning(check, f"{fact.where}: {fact.path} expires in {days} days", renew)
    return ok(check, f"{fact.where}: {fact.path} is good for {days} days")


def disk(fact: DiskFact) -> Finding:
    """Room for state: without it a stage stops, and nothing is lost; but it stops."""
    free = f"{fact.path}: {fact.free_bytes // MIB} MiB of {fact.total_bytes // MIB} free"
    more = "make room, or set local.dir to a disk that has some; what is in it can be rebuilt"
    if not fact.writable:
        return failure("disk", f"{fact.path} cannot be written",
                       "give it to the user that runs hookmill, or set local.dir")  # fmt: skip
    if fact.free_bytes < FREE_BYTES_MIN:
        return failure("disk", free, more)
    if fact.free_bytes < min(FREE_BYTES_GOOD, fact.total_bytes * FREE_SHARE_GOOD // 100):
        return warning("disk", free, more)
    return ok("disk", free)


def open_files(fact: OpenFilesFact, connections_max: int) -> Finding:
    """A connection is an open file. A process raises its own limit as far as the hard one."""
    wanted = connections_max + SPARE_DESCRIPTORS
    if fact.hard is not None and fact.hard < wanted:
        return warning(
            "open files",
            f"a process started here may have {fact.hard} at most; ingress.connections_max "
            f"{connections_max} needs {wanted}, so fewer connections are let in",
            f"raise the hard limit to {wanted} where the service is started (ulimit -Hn, systemd's "
            "LimitNOFILE, the container's nofile), or lower ingress.connections_max",
        )
    many = "as many as it likes" if fact.hard is None else f"{fact.hard}"
    return ok("open files", f"a process started here may have {many}; {wanted} are needed")


def port(fact: PortFact) -> Finding:
    """Free, or ours already."""
    at = f"{fact.where} {fact.host}:{fact.port}"
    match fact.owner:
        case "nobody":
            return ok("port", f"{at} is free")
        case "hookmill":
            return ok("port", f"{at} is served by hookmill")
        case "another":
            return warning("port", f"{at} is in use by another program",
                           f"end that program, or set {fact.where} to another port")  # fmt: skip
        case _:
            return failure("port", f"{at} cannot be listened on here",
                           "set the host to an address of this machine, and the port to one above "
                           "1023 or allow lower ones")  # fmt: skip


def address(fact: AddressFact) -> Finding:
    """The name of a service has addresses, and the handler may connect to one."""
    check, at = "handler.http", f"{fact.handler}: {fact.host}:{fact.port}"
    if not fact.addresses:
        return failure(check, f"{at}: {fact.problem}",
                       "mend the url of the handler, or the DNS of this machine")  # fmt: skip
    if not fact.admitted:
        return failure(check, f"{at} is {', '.join(fact.addresses)}, none of them public",
                       f"if that is where the service is, name its network in handlers."
                       f"{fact.handler}.allow_networks")  # fmt: skip
    if fact.problem is not None:
        return warning(check, f"{at} ({', '.join(fact.admitted)}) takes no connection now: "
                       f"{fact.problem}", "events wait for it and are retried; look after the "
                       "service, or a firewall between")  # fmt: skip
    return ok(check, f"{at} is {', '.join(fact.admitted)} and takes connections")


def ledger(fact: LedgerFact) -> Finding:
    """Its database answers."""
    check, at = "handler.ledger", f"{fact.handler}: {fact.place}"
    match fact.state:
        case "ready":
            return ok(check, f"{at} answers")
        case "absent":
            return ok(check, f"{at} has no tables yet; the handler makes them when it starts")
        case "unavailable":
            return failure(check, f"{at}: {fact.problem}",
                           "bring the database back; until then events wait in their "
                           "queue")  # fmt: skip
        case _:
            return failure(check, f"{at}: {fact.problem}",
                           f"mend handlers.{fact.handler}.url, its password or what its role may "
                           "do")  # fmt: skip


def tool(fact: ToolFact) -> Finding:
    """What only the local broker needs."""
    if fact.found is None:
        return failure("local broker", f"{fact.name}: {fact.problem}",
                       "install it, or set kafka.bootstrap_servers to a cluster")  # fmt: skip
    return ok("local broker", f"{fact.name}: {fact.found}")


def machine(
    config: Configuration,
    *,
    secrets: Iterable[SecretFact],
    certificates: Iterable[CertificateFact],
    disk_at: DiskFact,
    files: OpenFilesFact,
    ports: Sequence[PortFact],
    addresses: Iterable[AddressFact],
    ledgers: Iterable[LedgerFact],
    tools: Iterable[ToolFact],
    now_secs: int,
) -> Iterator[Finding]:
    """Every finding about this machine and what it reaches, but Kafka."""
    yield from map(secret, secrets)
    yield exposure(config)
    yield from (certificate(each, now_secs) for each in certificates)
    yield from map(port, ports)
    yield open_files(files, config.ingress.connections_max)
    yield disk(disk_at)
    yield from map(address, addresses)
    yield from map(ledger, ledgers)
    yield from map(tool, tools)
