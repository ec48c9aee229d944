"""The last part of the guide for handler authors: its handler runs, and its commands are typed."""

import contextlib
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.guide import Reader, blocks
from support.ports import free_port

pytestmark = pytest.mark.broker

BLOCKS = blocks("docs/guides/write-a-handler.md")
WAIT_SECS = 60.0


def until(condition: Callable[[], object], up: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for it as long as `hookmill up` runs."""
    deadline = time.monotonic() + WAIT_SECS
    while not condition():
        assert up.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def booked(database: Path) -> int:
    """How many payments and refunds the handler has booked; none while there is no database."""
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as found,
    ):
        return int(found.execute("select count(*) from booked").fetchone()[0])
    return 0


def test_the_handler_of_the_guide_runs_and_can_be_looked_after(
    tmp_path: Path, broker_servers: list[str], namespace: str
) -> None:
    """With `hookmill up` in one terminal and all else in another; what was paid is booked."""
    reader = Reader(
        tmp_path,
        HOOKMILL_KAFKA__BOOTSTRAP_SERVERS=",".join(broker_servers),
        HOOKMILL_KAFKA__NAMESPACE=namespace,
        HOOKMILL_KAFKA__PARTITIONS="2",
        HOOKMILL_INGRESS__PORT=str(free_port()),
        HOOKMILL_INGRESS__ADMIN_PORT=str(free_port()),
    )
    for block in BLOCKS:
        if block.file is not None:
            reader.write(block)
    typed = [words for each in BLOCKS if each.kind == "console" for words in each.commands]
    beginning = typed.index(["hookmill", "up"])
    reader.run(typed[0])
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            reader.program(["hookmill", "up"]), cwd=tmp_path, env=reader.environ,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        until(lambda: re.search(r"^handler-orders ", log.read_text(), re.M), up, log)
        printed = {}
        tailed = ""
        for words in typed[beginning + 1 :]:
            if words[0] == "python":
                until(lambda: booked(tmp_path / "shop.db"), up, log)
            subject = re.search(r"shop\|(\S+)", tailed)
            words = [subject[1] if subject and word == "SUBJECT" else word for word in words]
            printed[words[1]] = reader.run(words)
            tailed = printed.get("tail", "")
        assert "handler-orders" in printed["trace"]
        assert int(printed["-c"]) > 0
    finally:
        up.terminate()
        assert up.wait(WAIT_SECS) == 0, log.read_text()
    assert {"send", "tail", "trace", "lag", "dlq"} < set(printed)
