"""docs/guides/add-a-provider.md, followed step by step from outside: a provider without code."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "add-a-provider.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND_SECS_MAX = 120


def hookmill(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in that folder, without anything of our own environment's configuration."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HOOKMILL_")}
    return subprocess.run(
        [sys.executable, "-m", "hookmill", *arguments],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=COMMAND_SECS_MAX,
    )  # fmt: skip


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The guide, followed from its first block to its last: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("guide")
    said: dict[str, str] = {}
    for kind, path, text in BLOCK.findall(GUIDE):
        if kind == "console":
            for line in text.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                assert words[0] == "hookmill"
                done = hookmill(folder, *words[1:])
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                said[" ".join(words[1:])] = done.stdout
        else:
            assert path, "a block without its file"
            (folder / path).write_text(text)
    return folder, said


def test_the_kit_tries_the_pack(followed: tuple[Path, dict[str, str]]) -> None:
    """Thousands of cases from the stories, more with the fixture; no problem."""
    _, said = followed

    assert re.search(r"acme: [1-9]\d{3} cases, 0 problems", said["providers test packs/acme.toml"])
    assert "fixtures" in said["providers test packs/acme.toml --record"]


def test_the_fixture_becomes_what_the_provider_meant(
    followed: tuple[Path, dict[str, str]],
) -> None:
    """12.30 EUR, captured in test mode."""
    folder, _ = followed
    expected = json.loads((folder / "packs" / "acme" / "captured.expected.json").read_text())

    assert expected["item"] == {
        "event_id": "ev_1", "event_type": "charge.updated", "subject": "ch_9",
    }  # fmt: skip
    assert expected["draft"]["amount"] == {"minor": "1230", "currency": "EUR", "exponent": 2}
    assert expected["draft"]["mode"] == "test"
    assert f"{expected['draft']['kind']}.{expected['draft']['status']}" == "payment.succeeded"


def test_the_simulator_signs_for_it(followed: tuple[Path, dict[str, str]]) -> None:
    """With the configured secret, for the endpoint's address."""
    _, said = followed
    printed = said["send acme --count 3 --print"].splitlines()

    assert len(printed) == 3
    assert all("acme-signature: t=" in line for line in printed)
    assert all("/webhooks/acme-eu" in line for line in printed)


def test_pytest_runs_the_kit(followed: tuple[Path, dict[str, str]]) -> None:
    """The guide's last word on it; a broken pack fails."""
    folder, _ = followed
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
               "--hookmill-packs", "packs"]  # fmt: skip
    (folder / "pytest.ini").write_text("[pytest]\n")
    good = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    expected = folder / "packs" / "acme" / "captured.expected.json"
    text = expected.read_text()
    expected.write_text(text.replace("1230", "1231"))
    bad = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    expected.write_text(text)

    assert (good.returncode, bad.returncode) == (0, 1), good.stdout + good.stderr
    assert "1 passed" in good.stdout
    assert "captured: another draft" in bad.stdout


def test_a_mistake_is_told_by_line_and_nearest_word(
    followed: tuple[Path, dict[str, str]],
) -> None:
    """As the guide promises."""
    folder, _ = followed
    path = folder / "packs" / "acme.toml"
    text = path.read_text()
    path.write_text(text.replace('becomes = "payment.pending"', 'becomes = "payment.pendnig"'))
    done = hookmill(folder, "config", "check")
    path.write_text(text)
    line = text[: text.index('becomes = "payment.pending"')].count("\n") + 1

    assert done.returncode == 2
    assert f"packs/acme.toml:{line}: " in done.stderr
    assert "did you mean 'payment.pending'?" in done.stderr
