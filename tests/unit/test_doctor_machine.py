"""The doctor's checks of this machine: each fact and what it means."""

import os
import socket
from pathlib import Path

import pytest
import trustme

from hookmill.cli.doctor import gather, machine
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
from hookmill.cli.doctor.finding import State
from hookmill.cli.setup import load_setup
from hookmill.config.options import Configuration, Ingress

GIB = 1 << 30
NOW_SECS = 1_795_000_000
DAY_SECS = 86_400
CONFIG = """
[ingress]
port = {port}
admin_port = {admin_port}

[endpoints.shop]
provider = "yoco"
secrets = [{{ name = "now", file = "{folder}/yoco" }}]

[endpoints.invoices]
provider = "rehive"
secrets = [{{ env = "T_DOCTOR_REHIVE" }}]

[handlers.ledger]
type = "ledger"
url = "sqlite:///{folder}/ledger.db"

[handlers.shop]
type = "http"
url = "http://127.0.0.1:{service}/events"
allow_plain_http = true
allow_networks = ["127.0.0.1"]
secrets = [{{ file = "{folder}/yoco" }}]

[[routes]]
name = "all"
handlers = ["ledger", "shop"]
"""


@pytest.mark.parametrize(
    ("expected", "fact"),
    [
        ("ok", SecretFact("endpoints.shop", "/run/yoco", mode=0o400)),
        ("ok", SecretFact("endpoints.shop", "/run/yoco", mode=0o440)),
        ("warning", SecretFact("endpoints.shop", "/run/yoco", mode=0o444)),
        ("warning", SecretFact("endpoints.shop", "/run/yoco", mode=0o460)),
        ("ok", SecretFact("endpoints.shop", "variable YOCO")),
        ("warning", SecretFact("endpoints.shop", "the configuration file")),
        ("failure", SecretFact("endpoints.shop", "/run/yoco", "cannot be read", 0o400)),
    ],
)
def test_a_secret_is_there_and_nobody_elses_to_read(expected: State, fact: SecretFact) -> None:
    """A group may read it: that is how containers share one."""
    assert machine.secret(fact).state == expected


def test_only_a_host_that_others_reach_needs_https() -> None:
    """By its own certificate, or at a proxy that is named."""
    tls = Ingress(host="0.0.0.0", tls_cert_file="c", tls_key_file="k")
    found = [
        machine.exposure(Configuration(ingress=each)).state
        for each in (Ingress(), Ingress(host="0.0.0.0"), tls,
                     Ingress(host="0.0.0.0", trusted_proxies=("10.0.0.0/8",)))
    ]  # fmt: skip

    assert found == ["ok", "warning", "ok", "ok"]


@pytest.mark.parametrize(
    ("expected", "days"), [("ok", 90), ("warning", 20), ("warning", 1), ("failure", 0)]
)
def test_a_certificate_is_good_for_a_while(expected: State, days: int) -> None:
    """It is told three weeks before it ends."""
    fact = CertificateFact("ingress.tls_cert_file", "c.pem", NOW_SECS + days * DAY_SECS)

    assert machine.certificate(fact, NOW_SECS).state == expected


def test_a_file_without_a_certificate_is_a_failure() -> None:
    """Ingress would not start."""
    fact = CertificateFact("ingress.tls_cert_file", "c.pem", None, "no certificate is in it")

    assert machine.certificate(fact, NOW_SECS).state == "failure"


@pytest.mark.parametrize(
    ("expected", "fact"),
    [
        ("ok", DiskFact("/state", 50 * GIB, 100 * GIB, True)),
        ("ok", DiskFact("/state", 2 * GIB, 4 * GIB, True)),
        ("warning", DiskFact("/state", 2 * GIB, 100 * GIB, True)),
        ("failure", DiskFact("/state", GIB // 4, 100 * GIB, True)),
        ("failure", DiskFact("/state", 50 * GIB, 100 * GIB, False)),
    ],
)
def test_the_disk_has_room(expected: State, fact: DiskFact) -> None:
    """Little of a large disk is too little; half of a small one is not."""
    assert machine.disk(fact).state == expected


@pytest.mark.parametrize(
    ("expected", "fact"),
    [
        ("ok", OpenFilesFact(1024, None)),
        ("ok", OpenFilesFact(1024, 10_256)),
        ("warning", OpenFilesFact(1024, 10_255)),
    ],
)
def test_open_files_suffice_for_the_connections(expected: State, fact: OpenFilesFact) -> None:
    """The hard limit counts: a process raises its soft one itself."""
    assert machine.open_files(fact, 10_000).state == expected


@pytest.mark.parametrize(
    ("expected", "owner"),
    [("ok", "nobody"), ("ok", "hookmill"), ("warning", "another"), ("failure", "not ours to have")],
)
def test_a_port_is_free_or_ours(expected: State, owner: Owner) -> None:
    """Another program's is only a warning: it may be what is to be replaced."""
    assert machine.port(PortFact("ingress.port", "127.0.0.1", 8080, owner)).state == expected


@pytest.mark.parametrize(
    ("expected", "fact"),
    [
        ("ok", AddressFact("shop", "shop.example", 443, ("1.1.1.1",), ("1.1.1.1",))),
        ("warning", AddressFact("shop", "shop.example", 443, ("1.1.1.1",), ("1.1.1.1",), "no")),
        ("failure", AddressFact("shop", "shop.example", 443, ("10.0.0.1",))),
        ("failure", AddressFact("shop", "shop.example", 443, problem="no such name")),
    ],
)
def test_a_service_has_an_address_that_may_be_used(expected: State, fact: AddressFact) -> None:
    """That it takes no connection now is a warning: events wait for it."""
    assert machine.address(fact).state == expected


@pytest.mark.parametrize(
    ("expected", "fact"),
    [
        ("ok", LedgerFact("ledger", "db", "ready")),
        ("ok", LedgerFact("ledger", "db", "absent")),
        ("failure", LedgerFact("ledger", "db", "unavailable", "refused")),
        ("failure", LedgerFact("ledger", "db", "unusable", "wrong password")),
    ],
)
def test_a_ledgers_database_answers(expected: State, fact: LedgerFact) -> None:
    """One without tables yet is well: the handler makes them."""
    assert machine.ledger(fact).state == expected


def test_only_what_is_found_runs_the_local_broker() -> None:
    """Java is there or not."""
    found = machine.tool(ToolFact("Java", "/usr/bin/java"))
    lost = machine.tool(ToolFact("Java", None, "no java on the PATH"))

    assert (found.state, lost.state) == ("ok", "failure")


@pytest.fixture
def silent() -> socket.socket:
    """A port that takes connections and says nothing, as another program may."""
    listening = socket.create_server(("127.0.0.1", 0))
    yield listening  # type: ignore[misc]
    listening.close()


def write_config(folder: Path, port: int, admin_port: int, service: int) -> Path:
    """The configuration, its secret file readable by everybody."""
    path = folder / "hookmill.toml"
    path.write_text(CONFIG.format(folder=folder, port=port, admin_port=admin_port, service=service))
    (folder / "yoco").write_text("whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==\n")
    (folder / "yoco").chmod(0o644)
    return path


async def test_the_facts_of_this_machine_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: socket.socket
) -> None:
    """Secrets without their texts, ports with their owners, the service's address."""
    port = silent.getsockname()[1]
    setup = load_setup(write_config(tmp_path, port=port, admin_port=0, service=port))
    monkeypatch.delenv("T_DOCTOR_REHIVE", raising=False)

    secrets = list(gather.secrets(setup))
    (address,) = await gather.addresses(setup)
    (ledger,) = await gather.ledgers(setup)

    assert [(each.where, each.mode, each.problem is None) for each in secrets] == [
        ("endpoints.shop.secrets 'now'", 0o644, True),
        ("endpoints.invoices.secrets 'main'", None, False),
        ("handlers.shop.secrets 'main'", 0o644, True),
    ]
    assert "hunter" not in repr(secrets)
    assert [each.owner for each in gather.ports(setup)] == ["another", "nobody"]
    assert (address.admitted, address.problem) == (("127.0.0.1",), None)
    assert ledger.state == "absent"


async def test_a_ledger_that_is_none_is_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: socket.socket
) -> None:
    """A file that holds something else."""
    port = silent.getsockname()[1]
    setup = load_setup(write_config(tmp_path, port=port, admin_port=0, service=port))
    (tmp_path / "ledger.db").write_text("an old shopping list, and no database at all\n" * 40)

    (ledger,) = await gather.ledgers(setup)

    assert ledger.state in ("unusable", "unavailable")
    assert ledger.problem


def test_a_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    """The first of several to end counts."""
    authority = trustme.CA()
    issued = authority.issue_cert("hooks.example.com")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    (tmp_path / "none.pem").write_text("nothing")

    found = gather._certificate("ingress.tls_cert_file", str(chain))

    assert found.ends_secs is not None
    assert found.ends_secs > NOW_SECS
    assert gather._certificate("x", str(tmp_path / "none.pem")).problem
    assert gather._certificate("x", str(tmp_path / "absent.pem")).problem == os.strerror(2)
