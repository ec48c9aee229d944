"""docker-compose.yml as docker compose itself reads it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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


def config(
    compose: list[str], folder: Path, *words: str, options: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    """What `config` says; the empty folder's `.env` keeps out the one of a developer."""
    (folder / ".env").touch()
    inherited = {name: text for name, text in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        [*compose, "--project-directory", str(ROOT), "--env-file", str(folder / ".env"),
         "--file", str(ROOT / "docker-compose.yml"), *options, "config",
         *(words or ("--quiet",))],
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


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ((), set()),
        (("--profile", "three-brokers"), {"kafka-2", "kafka-3"}),
        (("--profile", "observability"), {"prometheus", "grafana"}),
        (("--env-file", str(ROOT / "deploy/compose/three-brokers.env")), {"kafka-2", "kafka-3"}),
    ],
    ids=["alone", "three-brokers", "observability", "file"],
)
def test_a_profile_brings_its_services(
    compose: list[str], tmp_path: Path, options: tuple[str, ...], more: set[str]
) -> None:
    """By its name, or by the file that chooses it; all others are there always."""
    secrets = dict.fromkeys(SECRETS, "for-this-test-only")
    every = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])

    found = config(compose, tmp_path, "--services", options=options, **secrets)

    assert found.returncode == 0, found.stderr
    assert set(found.stdout.split()) == every - {"kafka-2", "kafka-3"} | more


def test_three_brokers_are_told_of_each_other(compose: list[str], tmp_path: Path) -> None:
    """The file gives all three a vote, and every record three copies."""
    secrets = dict.fromkeys(SECRETS, "for-this-test-only")
    options = ("--env-file", str(ROOT / "deploy/compose/three-brokers.env"))

    found = config(compose, tmp_path, "--format", "json", options=options, **secrets)
    services = json.loads(found.stdout)["services"]

    for name in ("kafka", "kafka-2", "kafka-3"):
        environ = services[name]["environment"]
        assert environ["KAFKA_PROCESS_ROLES"] == "broker,controller"
        assert environ["KAFKA_CONTROLLER_QUORUM_VOTERS"].count("@") == 3
        assert environ["KAFKA_LISTENERS"].startswith("CONTROLLER://:29093,INSIDE://")
    assert services["dedup"]["environment"]["HOOKMILL_KAFKA__REPLICATION_FACTOR"] == "3"
