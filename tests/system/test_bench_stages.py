"""The stages' benchmarks, small: they run as they are and say that the result is right."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.broker

LIMIT_SECS = 180


def bench(folder: Path, *arguments: str) -> Any:
    """What the benchmark prints as JSON, run in a folder of its own."""
    command = [sys.executable, "-m", "hookmill", "bench", *arguments, "--json", "--partitions", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=LIMIT_SECS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def test_dedup_is_measured_beside_a_bare_copy_and_sweeps_what_expired(tmp_path: Path) -> None:
    """The same records; earlier events in the state, some of them of a window that has passed."""
    found = bench(tmp_path, "dedup", "--records", "2000", "--keys", "1000", "--expired", "500")

    assert [each["good"] for each in found["checks"]] == [True, True]
    assert found["floor"]["work"] > 1_000
    assert found["rows"][0]["work"] > 1_000
    (kept,) = [each for each in found["figures"] if "expired" in each["name"]]
    assert kept["value"] < 250
    assert (tmp_path / ".hookmill" / "bench.json").exists()


@pytest.mark.parametrize("stage", ["normalize", "route"])
def test_a_stage_is_fed_with_real_bodies(stage: str, tmp_path: Path) -> None:
    """Each event comes out once and in order, wherever it must be."""
    found = bench(tmp_path, stage, "--records", "800")

    assert {each["good"] for each in found["checks"]} == {True}
    assert found["rows"][0]["work"] > 100


def test_restore_comes_back_with_and_without_its_disk(tmp_path: Path) -> None:
    """What was seen before does not go on, and what is new does."""
    found = bench(tmp_path, "restore", "--keys", "5000")

    assert [each["good"] for each in found["checks"]] == [True]
    assert [each["value"] > 0 for each in found["figures"]] == [True, True, True]
