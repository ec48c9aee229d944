"""`hookmill doctor`: gathers the facts, has them judged, prints the findings."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.cli.doctor import gather, machine
from hookmill.cli.doctor.acls import Need, commands, needs, roles
from hookmill.cli.doctor.cluster import cluster
from hookmill.cli.doctor.finding import Finding, State, count, failure, ok
from hookmill.cli.doctor.permissions import permissions
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, plain, print_json
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.core.errors import ConfigurationError, KafkaUnavailable
from hookmill.kafka.survey import survey
from hookmill.telemetry import logs

MARKS: dict[State, str] = {"ok": "ok", "warning": "warning", "failure": "FAILURE"}


def doctor(
    config: ConfigPath = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask Kafka for the permissions of this role alone: ingress, dedup, normalize, "
            "route, handler-NAME, or of people's tools: dlq, topics, look. May be repeated.",
            show_default=False,
        ),
    ] = None,
    acls: Annotated[
        str | None,
        typer.Option(
            metavar="PRINCIPAL", show_default=False,
            help="Look at nothing: print the kafka-acls.sh lines that allow this principal "
            "(User:hookmill) what the roles need.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Look at everything that hookmill stands on, and say what to do about it.

    Configuration, secrets, certificates, ports, open files, disk, ledgers and services; Kafka's
    version, brokers, topics and their settings, copies in sync, permissions, and its clock against
    this machine's. Nothing is changed and nothing written.

    Each finding is ok, a warning or a failure, with what to do. Status 1 if there is a failure, 2
    if the configuration cannot be read. Run it where the processes run, as their user.
    """
    if acls is not None:
        print_acls(config, acls, role or ())
    else:
        raise typer.Exit(run(config, wanted_roles=role or (), as_json=as_json))


def run(path: Path | None, *, wanted_roles: Sequence[str], as_json: bool) -> int:
    """Look at everything, print it, and return the exit status."""
    try:
        setup = load_setup(path)
    except ConfigurationError as error:
        _print([_unreadable(each) for each in str(error).splitlines()], as_json=as_json)
        return 2
    logs.configure(setup.config.log)
    findings = asyncio.run(_examine(setup, _chosen(setup, wanted_roles)))
    _print(findings, as_json=as_json)
    return 1 if count(findings, "failure") else 0


def print_acls(path: Path | None, principal: str, wanted_roles: Sequence[str]) -> None:
    """Print the lines of `kafka-acls.sh` for the principal; Kafka is not asked."""
    setup = load_setup(path)
    servers = ",".join(setup.config.bootstrap_servers)
    found = _chosen(setup, wanted_roles)
    for line in commands(found, servers=servers, principal=principal):
        typer.echo(line)


def _chosen(setup: Setup, wanted: Sequence[str]) -> list[Need]:
    """The needs of those roles, or of all; raises ConfigurationError for a role that is none."""
    every = needs(setup.config, setup.topics(), setup.names)
    known = roles(every)
    for each in wanted:
        if each not in known:
            raise ConfigurationError(f"no role is called '{each}': {', '.join(known)}")
    return [each for each in every if not wanted or each.role in wanted]


def _unreadable(problem: str) -> Finding:
    return failure("configuration", problem, "mend it; nothing else was looked at. "
                   "hookmill.example.toml shows every option")  # fmt: skip


async def _examine(setup: Setup, asked: Sequence[Need]) -> list[Finding]:
    config = setup.config
    found = [_readable(setup), *_handlers(setup)]
    found += machine.machine(
        config,
        secrets=gather.secrets(setup),
        certificates=gather.certificates(setup),
        disk_at=gather.disk(setup),
        files=gather.open_files(),
        ports=gather.ports(setup),
        addresses=await gather.addresses(setup),
        ledgers=await gather.ledgers(setup),
        tools=gather.tools(setup),
        now_secs=now_us() // 1_000_000,
    )
    return [*found, *await _kafka(setup, asked)]


def _readable(setup: Setup) -> Finding:
    return ok("configuration", f"{len(setup.endpoints)} endpoints, {len(setup.config.handlers)} "
              f"handlers, {len(setup.rules)} routes, {len(setup.topics())} topics")  # fmt: skip


def _handlers(setup: Setup) -> Iterator[Finding]:
    for name, problem in gather.handlers(setup).items():
        yield failure("handler", f"{name}: {problem}", "mend it; the handler does not start")


async def _kafka(setup: Setup, asked: Sequence[Need]) -> list[Finding]:
    """Everything about the cluster; one finding where it cannot be reached."""
    local = not setup.config.kafka.bootstrap_servers
    try:
        connection = setup.connection()
    except (ConfigurationError, OSError) as error:
        return [failure("kafka", f"how to connect: {error}",
                        "mend the files and secrets named in [kafka]")]  # fmt: skip
    wants = setup.wanted()
    try:
        seen = await survey(
            connection,
            topics=[each.name for each in wants],
            groups={each.name for each in asked if each.resource == "group"},
            transactional_ids=_transactional_ids(asked),
            now_ms=lambda: now_us() // 1000,
        )
    except KafkaUnavailable as error:
        start = "hookmill broker start" if local else "look after the brokers, the network between"
        also = "" if local else ", kafka.bootstrap_servers and its security options"
        return [failure("kafka", str(error), start + also)]
    judged = cluster(seen, wants, seen.found, local=local,
                     replication_factor=setup.config.kafka.replication_factor)  # fmt: skip
    return [*judged, *permissions(seen, asked, local=local)]


def _transactional_ids(asked: Iterable[Need]) -> set[str]:
    """One of each kind, to ask about: `0` stands for the rest of those that begin alike."""
    return {f"{each.name}0" if each.prefixed else each.name
            for each in asked if each.resource == "transactional-id"}  # fmt: skip


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    failures, warnings = count(findings, "failure"), count(findings, "warning")
    if as_json:
        print_json({"failures": failures, "warnings": warnings,
                    "findings": [msgspec.to_builtins(each) for each in findings]})  # fmt: skip
    else:
        width = max(len(each.check) for each in findings)
        for each in findings:
            typer.echo(f"{MARKS[each.state]:<8} {each.check:<{width}}  {plain(each.what)}")
            if each.do is not None:
                typer.echo(f"{'':<8} {'':<{width}}  → {plain(each.do)}")
    err.print(f"{len(findings)} findings: {failures} failures, {warnings} warnings")
