"""`hookmill bench ingress`, run small: it starts its own broker, and says that all was right."""

import json
import shutil
import subprocess
import sys
from pathlib import Path


def test_a_small_run_is_right(tmp_path: Path) -> None:
    """Both servers answered everything, and all of it is in Kafka; times are not judged."""
    done = subprocess.run(
        [sys.executable, "-m", "hookmill", "bench", "ingress", "--requests", "200",
         "--connections", "8", "--connections", "16", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["checks"]) == 4
    assert all(each["good"] for each in found["checks"])
    assert [row["name"] for row in found["rows"]] == [
        "ingress, 8 connections", "plain program, 16 connections", "ingress, 16 connections",
    ]  # fmt: skip
    by_wrk = [each["name"] for each in found["figures"] if "wrk" in each["name"]]
    assert len(by_wrk) == (2 if shutil.which("wrk") else 0)
    assert bool(by_wrk) is not any("wrk is not installed" in note for note in found["notes"])
    assert (tmp_path / ".hookmill" / "bench.json").exists()
