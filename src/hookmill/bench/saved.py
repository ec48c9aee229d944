"""The last results, kept in a file, so that a run can be held against an earlier one."""

import os
import platform
from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from hookmill import __version__
from hookmill.bench.figures import Result
from hookmill.core.errors import ConfigurationError

FORMAT: Final = 1


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. Of Python the build counts too: one without profile-guided
    optimization costs an eighth more CPU."""

    cores: int
    memory_gib: int
    processor: str
    python: str
    hookmill: str = __version__

    def __str__(self) -> str:
        return f"{self.cores} cores, {self.processor}, {self.memory_gib} GiB, Python {self.python}"


class Saved(msgspec.Struct, frozen=True):
    """A file of results: each benchmark's last, and the machine. `at` is ISO 8601, UTC."""

    machine: Machine
    at: str
    results: dict[str, Result]
    format: Literal[1] = FORMAT


def this_machine() -> Machine:
    """The machine that runs this."""
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        processor=_processor(),
        python=f"{platform.python_version()} ({platform.python_build()[1]})",
    )


def read(path: Path) -> Saved | None:
    """The results in that file, None if there is no such file.

    Raises ConfigurationError for one that holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Saved)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} holds no results of a benchmark: {error}") from None


def keep(path: Path, result: Result, *, at: str) -> None:
    """Put this result in place of the benchmark's earlier one."""
    earlier = read(path)
    results = {**(earlier.results if earlier else {}), result.bench: result}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(Saved(this_machine(), at, results))))
    fresh.replace(path)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
