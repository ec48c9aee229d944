"""docker-compose.yml as docker compose itself reads it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECRETS = ("YOCO_SECRET", "REHIVE_SECRET", "PAY3_SECRET", "ECHEZONA_SECRET")
ANSWER_SECS_MAX = 30


def answers(command: list[str]) -> bool:
    """Whether this program is there and knows compose."""
    if shutil.which(command[0]) is None:
        return False
    asked = [*command, "version"]
    return subprocess.run(asked, capture_output=True, timeout=ANSWER_SECS_MAX).returncode == 0


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command, as the plugin or as a program of its own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if answers(command):
            return command
    pytest.skip("neither `docker compose` nor `docker-compose` answers on this machine")


def config(compose: list[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What `config` says; the empty folder's `.env` keeps out the one of a developer."""
    (folder / ".env").touch()
    inherited = {name: text for name, text in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        [*compose, "--project-directory", str(ROOT), "--env-file", str(folder / ".env"),
         "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        env={**inherited, **environ},
        timeout=ANSWER_SECS_MAX,
    )  # fmt: skip


def test_compose_takes_the_file(compose: list[str], tmp_path: Path) -> None:
    """With every secret given it is good, without a warning."""
    result = config(compose, tmp_path, **dict.fromkeys(SECRETS, "for-this-test-only"))

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_run_without_a_secret(
    compose: list[str], tmp_path: Path, missing: str
) -> None:
    """It says which one is missing; an empty one is missing too."""
    given = {name: "for-this-test-only" for name in SECRETS if name != missing}

    for environ in (given, {**given, missing: ""}):
        result = config(compose, tmp_path, **environ)

        assert result.returncode != 0
        assert f"set {missing} to" in result.stderr
