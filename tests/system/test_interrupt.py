"""An interrupted command leaves nothing behind: no process, no folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

PATIENCE_SECS = 60


def left_of(folder: Path) -> list[str]:
    """The command lines of all processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes()
        except OSError:
            continue
        if bytes(folder) in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    ("command", "until", "number"),
    [("demo", "posting to", signal.SIGINT), ("chaos", "is ready on", signal.SIGTERM)],
    ids=["the demo by Ctrl-C", "chaos by SIGTERM"],
)
def test_an_interrupted_run_stops_all_that_it_started(
    tmp_path: Path, command: str, until: str, number: signal.Signals
) -> None:
    """Brokers and processes end, what it wrote is removed, the status says why."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hookmill", command],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if until in line:
            break
    assert len(left_of(tmp_path)) > 1
    process.send_signal(number)
    process.stderr.read()
    process.stderr.close()

    assert process.wait(PATIENCE_SECS) == 130
    deadline = time.monotonic() + PATIENCE_SECS
    while left_of(tmp_path):
        assert time.monotonic() < deadline, left_of(tmp_path)
        time.sleep(0.1)
    assert list(tmp_path.glob("hookmill-*")) == []
