"""Starts processes and keeps them running: a dead one comes back after a growing pause.

Children run in sessions of their own, so that Ctrl-C reaches them only through `stop`, in the
order in which they were given; if the supervisor itself is killed, the kernel ends them.
"""

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from hookmill.core.errors import ConfigurationError

PAUSE_SECS_FIRST = 0.1
"""Short: a process that worked and was killed is to work again within two seconds."""
PAUSE_SECS_MAX = 30.0
STEADY_SECS = 30.0
_PR_SET_PDEATHSIG = 1


class Child(msgspec.Struct, frozen=True):
    """A process to be kept: its name for people, its command line, what it has of its own in the
    environment."""

    name: str
    arguments: Sequence[str]
    environ: Mapping[str, str] = {}


Tell = Callable[[str, str], None]
"""Called with the child's name and a line for people."""


class Supervisor:
    """Keeps children running; their output goes to `{log_dir}/{name}.log`."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        log_dir: Path,
        environ: Mapping[str, str],
        tell: Tell,
        pause_secs_max: float = PAUSE_SECS_MAX,
    ) -> None:
        self._children = {child.name: child for child in children}
        self._pause_secs_max = pause_secs_max
        self._log_dir = log_dir
        self._environ = dict(environ)
        self._tell = tell
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._started: dict[str, asyncio.Event] = {each.name: asyncio.Event() for each in children}
        self.addresses: dict[str, dict[str, str]] = {}
        self.failed: str | None = None
        self._stopping: set[str] = set()

    async def start(self, *, timeout_secs: float) -> None:
        """Start all and wait until each said that it works.

        Raises TimeoutError, and ConfigurationError as soon as one says that it cannot start.
        """
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for child in self._children.values():
            self._tasks[child.name] = asyncio.ensure_future(self._keep(child))
        async with asyncio.timeout(timeout_secs):
            while not all(event.is_set() for event in self._started.values()):
                if self.failed is not None:
                    raise ConfigurationError(self.failed)
                await asyncio.sleep(0.05)

    async def stop(self, *, timeout_secs: float, at_once: bool = False) -> None:
        """Ask each to end, in order (or all at once), and wait for it; kill what takes longer."""
        names = list(self._children)
        self._stopping |= set(names)
        if at_once:
            await asyncio.gather(*(self.remove(each, timeout_secs=timeout_secs) for each in names))
            return
        for each in names:
            await self.remove(each, timeout_secs=timeout_secs)

    def add(self, child: Child) -> None:
        """Keep one more child, from now on."""
        self._children[child.name] = child
        self._stopping.discard(child.name)
        self._started[child.name] = asyncio.Event()
        self._tasks[child.name] = asyncio.ensure_future(self._keep(child))

    async def remove(self, name: str, *, timeout_secs: float) -> None:
        """Ask one child to end and wait for it; it is kept no longer, and killed if it lingers."""
        self._stopping.add(name)
        del self._children[name]
        process = self._processes.get(name)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), timeout_secs)
            except TimeoutError:
                self._tell(name, f"did not end within {timeout_secs:g} s: killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_started(self, name: str) -> None:
        """Wait until that child has said that it works."""
        await self._started[name].wait()

    def pid(self, name: str) -> int | None:
        """The process id of a child that runs."""
        process = self._processes.get(name)
        return process.pid if process is not None and process.returncode is None else None

    async def _keep(self, child: Child) -> None:
        pause_secs = PAUSE_SECS_FIRST
        loop = asyncio.get_running_loop()
        while child.name not in self._stopping:
            began = loop.time()
            status = await self._run_once(child)
            if child.name in self._stopping:
                return
            if loop.time() - began > STEADY_SECS:
                pause_secs = PAUSE_SECS_FIRST
            how = f"signal {-status}" if status < 0 else f"status {status}"
            log = self._log_dir / f"{child.name}.log"
            self._tell(child.name, f"died ({how}); again in {pause_secs:g} s; see {log}")
            if status == 2:
                self.failed = f"{child.name} cannot start: {_last_line(log)}"
                return
            await asyncio.sleep(pause_secs)
            pause_secs = min(self._pause_secs_max, pause_secs * 2)

    async def _run_once(self, child: Child) -> int:
        process = await asyncio.create_subprocess_exec(
            *child.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**self._environ, **child.environ, "HOOKMILL_LOG__FORMAT": "json"},
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            limit=1024 * 1024,
        )
        self._processes[child.name] = process
        with (self._log_dir / f"{child.name}.log").open("ab") as log:
            assert process.stderr is not None
            async for line in process.stderr:
                log.write(line)
                log.flush()
                self._listen(child.name, process.pid, line)
        return await process.wait()

    def _listen(self, name: str, pid: int, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line)
        except msgspec.MsgspecError:
            return
        if not isinstance(said, dict) or said.get("event") != "process_started":
            return
        where = {key: str(said[key]) for key in ("address", "private") if key in said}
        self.addresses[name] = where
        self._started[name].set()
        self._tell(
            name, f"pid {pid}  " + "  ".join(f"{key} {value}" for key, value in where.items())
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1][-500:] if lines else "it said nothing"


def _end_with_parent() -> None:
    """In the child, before exec: be sent SIGTERM when the parent is gone (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
