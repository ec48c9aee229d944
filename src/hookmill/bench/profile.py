"""A flame graph of a running process, by py-spy."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hookmill.core.errors import ConfigurationError, HookmillError

SAMPLES_PER_SEC = 200
WRITE_SECS_MAX = 60.0


@asynccontextmanager
async def profiled(pid: int, to: Path | None) -> AsyncIterator[None]:
    """Sample the process while the block runs, and write the graph; does nothing without a path.

    Raises ConfigurationError where py-spy is not installed, HookmillError if it fails.
    """
    if to is None:
        yield
        return
    here = Path(sys.executable).parent  # an environment that is not activated is not in PATH
    program = shutil.which("py-spy", path=str(here)) or shutil.which("py-spy")
    if program is None:
        raise ConfigurationError("--profile needs py-spy: `pip install py-spy`")
    to.parent.mkdir(parents=True, exist_ok=True)
    sampler = await asyncio.create_subprocess_exec(
        program, "record", "--pid", str(pid), "--output", str(to), "--rate", str(SAMPLES_PER_SEC),
        "--native", "--duration", "86400",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield
    finally:
        sampler.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(sampler.communicate(), WRITE_SECS_MAX)
        if sampler.returncode:
            raise HookmillError(f"py-spy wrote nothing: {said.decode(errors='replace')[-300:]}")
