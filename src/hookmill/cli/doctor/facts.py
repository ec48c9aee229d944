"""What the doctor finds on this machine: plain facts, judged elsewhere."""

from typing import Literal

import msgspec

Owner = Literal["nobody", "hookmill", "another", "not ours to have"]


class SecretFact(msgspec.Struct, frozen=True):
    """A secret of the configuration; never its text. `mode` are a file's permission bits."""

    where: str
    source: str
    problem: str | None = None
    mode: int | None = None


class CertificateFact(msgspec.Struct, frozen=True):
    """A file with certificates; the time is when the first of them ends, in epoch seconds."""

    where: str
    path: str
    ends_secs: int | None
    problem: str | None = None


class DiskFact(msgspec.Struct, frozen=True):
    """The folder for state, or the nearest above it that is there."""

    path: str
    free_bytes: int
    total_bytes: int
    writable: bool


class OpenFilesFact(msgspec.Struct, frozen=True):
    """How many files a process started here may open; None: as many as it likes."""

    soft: int | None
    hard: int | None


class PortFact(msgspec.Struct, frozen=True):
    """A port that a process of ours listens on, and whose it is now."""

    where: str
    host: str
    port: int
    owner: Owner


class AddressFact(msgspec.Struct, frozen=True):
    """Where an `http` handler sends: the addresses of its name, and those it may connect to."""

    handler: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()
    problem: str | None = None
    """Why the name has no address, or none of them takes a connection."""


class LedgerFact(msgspec.Struct, frozen=True):
    """A ledger's database. `absent`: it answers, and its handler has not made the tables yet."""

    handler: str
    place: str
    state: Literal["ready", "absent", "unavailable", "unusable"]
    problem: str | None = None


class ToolFact(msgspec.Struct, frozen=True):
    """Java, or the jars of the local broker, which only that one needs."""

    name: str
    found: str | None
    problem: str | None = None
