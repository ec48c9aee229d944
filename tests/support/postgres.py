"""A private PostgreSQL of the run: its own folder, its own port, passwords asked for."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from support.ports import free_port

USER, PASSWORD = "ledger_owner", "pg-hunter2"
START_SECS_MAX = 60
Result = TypeVar("Result")
NEEDED = "HOOKMILL_TESTS_NEED_POSTGRES"
"""Set where PostgreSQL must be there: its absence is a failure then."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["Postgres"]:
    """A real PostgreSQL that the whole run shares. Where there is none: skipped, failed in CI."""
    binaries = find_binaries()
    if binaries is None:
        missing = "no PostgreSQL here: install Debian's package postgresql, or put initdb in PATH"
        if os.environ.get(NEEDED):
            pytest.fail(missing)
        pytest.skip(missing)
    server = Postgres(binaries)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture
def postgres(postgres_server: "Postgres") -> "Postgres":
    """The server, running, whatever an earlier test did to it."""
    if not postgres_server.running:
        postgres_server.start()
    return postgres_server


def find_binaries() -> Path | None:
    """The folder of initdb and postgres: of the newest Debian package, or in PATH."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda each: [int(part) for part in each.parent.name.split(".") if part.isdigit()],
        reverse=True,
    )
    found = shutil.which("initdb")
    folders += [Path(found).resolve().parent] if found else []
    return next((each for each in folders if (each / "initdb").exists()
                 and (each / "postgres").exists()), None)  # fmt: skip


class Postgres:
    """A cluster in a folder of its own. As root it runs as a user that may not do much."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="hookmill-postgres-"))
        self._log = self._folder / "log"
        self._as: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        if os.geteuid() == 0:
            user = _unprivileged()
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)

    def make(self) -> None:
        """Make the cluster."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # in a folder that nobody else may enter
        command = [
            str(self._binaries / "initdb"), "--pgdata", str(self._data), "--username", USER,
            "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8",
            "--locale", "C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, **self._as)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it and wait until it answers. After a SIGKILL it recovers first."""
        command = [
            str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            "-c", "fsync=off",  # nobody pulls the plug of this machine; processes are killed
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd="/", stdout=log, stderr=log, start_new_session=True, **self._as
            )
        deadline = time.monotonic() + START_SECS_MAX
        while not _elsewhere(self._answers):
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, self._log.read_text(errors="replace")
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to all of its processes at once, as when the machine's memory runs out."""
        assert self._process is not None
        several = self._processes()
        for each in several:
            os.kill(each, signal.SIGKILL)
        self._process.wait(START_SECS_MAX)
        deadline = time.monotonic() + START_SECS_MAX
        while any(Path(f"/proc/{each}").exists() for each in several):
            assert time.monotonic() < deadline, "its processes do not end"
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop every process where it is: connections stay open and nobody answers."""
        self._frozen = self._processes()
        for each in self._frozen:
            os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for each in self._frozen:
            os.kill(each, signal.SIGCONT)

    def stop(self) -> None:
        """End it at once: its folder goes too, so nothing need be written for a next start."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(START_SECS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()

    def remove(self) -> None:
        """Delete what it left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self) -> str:
        """A database of the test's own; returns its name."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, *, password: str | None = PASSWORD) -> str:
        """Where that database is."""
        user = USER if password is None else f"{USER}:{password}"
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, database: str, query: str) -> list[Any]:
        """Run it on a connection and in a loop of its own; returns the rows."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.url(database), ssl=False)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return _elsewhere(run)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _processes(self) -> list[int]:
        assert self._process is not None
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url("postgres"), ssl=False, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True


def _elsewhere(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run it in another thread's loop, so that tests with a loop of their own may ask too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("initdb refuses to run as root, and there is no user postgres or nobody")
