"""The short form of chaos: real brokers and processes are broken, and every promise holds."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.broker

LIMIT_SECS = 300


@pytest.mark.parametrize("seed", [1])
def test_every_promise_holds_while_everything_is_broken(seed: int) -> None:
    """Nothing lost, nothing twice, order kept; and it says what it did."""
    command = [sys.executable, "-m", "hookmill", "chaos", "--seed", str(seed), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)

    assert report["seed"] == seed
    assert set(report["faults"]) == {
        "kill", "refuse-writes", "zombie", "corrupt-state", "drop-answers", "full-disk",
        "delete-state", "no-quorum",
    }  # fmt: skip
    verdict = report["verdict"]
    assert (verdict["broken"], verdict["lost"], verdict["twice"]) == ([], 0, 0)
    assert verdict["acknowledged"] > verdict["events"] > 100
    for ends in verdict["ends"]:
        assert ends["read"] == ends["forwarded"] + ends["dropped"] + ends["dead_lettered"]
        assert ends["open"] == 0
    assert report["answers"]["503"] > 0, "no fault reached the ingress"
    assert report["answers"]["401"] > 0, "no forgery was tried"
    assert report["service_answers"]["425"] > 0, "the handler that forwards never had to wait"
    assert report["service_answers"]["204"] > 100
    assert report["untaken"] == 0
