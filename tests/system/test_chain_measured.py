"""The chain's benchmark, small: it runs as it is and says that the result is right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

LIMIT_SECS = 180
DELIVERIES = 30


def test_the_chain_is_measured_part_by_part(tmp_path: Path) -> None:
    """Real processes; every delivery is found in every topic and in the handler, once."""
    command = [
        sys.executable, "-m", "hookmill", "bench", "chain", "--rate", str(DELIVERIES),
        "--seconds", "1", "--warm-up", "0.1", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT_SECS)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(done.stdout)
    assert {each["good"] for each in found["checks"]} == {True}
    rows = {each["name"]: each for each in found["rows"]}
    assert rows["whole chain"]["work"] == DELIVERIES
    assert all(rows[part]["latency"]["p50_ms"] >= 0 for part in ("ingress", "dedup", "handler"))
    assert (tmp_path / ".hookmill" / "bench.json").exists()
