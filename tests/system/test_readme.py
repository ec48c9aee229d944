"""The README is true: its commands are run, and the output it shows is what the demo prints."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def hookmill(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "hookmill", *arguments],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def report_in(text: str) -> list[str]:
    """The demo's report without what differs from run to run: ids, addresses, times."""
    lines = [line.rstrip() for line in text.splitlines()]
    begin = lines.index("What came in")
    end = next(n for n, line in enumerate(lines) if line.startswith("everything is as it must be"))
    return lines[begin:end]


def test_the_demo_succeeds_and_prints_what_the_readme_shows() -> None:
    """Same seed, same business, same totals."""
    done = hookmill("demo")

    assert done.returncode == 0, done.stdout + done.stderr
    assert report_in(done.stdout) == report_in(README)


def test_the_demo_works_in_a_namespace_of_a_cluster_of_ones_own(broker_servers: list[str]) -> None:
    """It leaves nothing behind in that cluster, and speaks JSON."""
    environ = {**os.environ, "HOOKMILL_KAFKA__BOOTSTRAP_SERVERS": ",".join(broker_servers)}
    done = hookmill("demo", "--json", "--seed", "3", env=environ)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["wrong"] == []
    from confluent_kafka.admin import AdminClient

    topics = AdminClient({"bootstrap.servers": ",".join(broker_servers)}).list_topics(timeout=10)
    assert [name for name in topics.topics if name.startswith("demo-")] == []


def test_five_minutes_with_ones_own_endpoints(tmp_path: Path) -> None:
    """The README's configuration and commands, as they stand there."""
    section = README.partition("## Your own endpoints")[2].partition("\n## ")[0]
    [toml] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    consoles = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    commands = [line[2:] for block in consoles for line in block.splitlines() if line]
    (tmp_path / "hookmill.toml").write_text(toml)
    environ = {
        **os.environ,
        "HOOKMILL_INGRESS__PORT": str(free_port()),
        "HOOKMILL_INGRESS__ADMIN_PORT": str(free_port()),
        "HOOKMILL_LOCAL__BROKER_PORT": str(free_port()),
    }
    up, printed = None, ""
    try:
        for command in commands:
            words = shlex.split(command, comments=True)
            if words[0] == "export":
                environ |= dict(word.split("=", 1) for word in words[1:])
            elif words[:2] == ["hookmill", "up"]:
                up = start_up(tmp_path, environ)
            else:
                words = [subject_in(printed) if word == "SUBJECT" else word for word in words]
                done = hookmill(*words[1:], cwd=tmp_path, env=environ)
                assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
                printed = done.stdout
    finally:
        if up is not None:
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 0
    assert up is not None
    assert "webhooks-raw" in printed
    assert "events-payment" in printed


def subject_in(tailed: str) -> str:
    """The subject of the first record that `tail` printed."""
    found = re.search(r"shop\|(\S+)", tailed)
    assert found is not None, tailed
    return found[1]


def start_up(folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """`hookmill up`, once every process said that it works."""
    log = folder / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "hookmill", "up"],
            cwd=folder, env=environ, stdout=output, stderr=output,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while not all(
        f"\n{name} " in "\n" + log.read_text() for name in ("ingress", "route", "handler-ledger")
    ):
        assert up.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return up
