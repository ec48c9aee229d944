"""Debian's Prometheus: `promtool`, and a server of a test's own."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.ports import free_port

NEEDED = "HOOKMILL_TESTS_NEED_PROMETHEUS"
"""Set where Prometheus must be there: its absence is a failure then."""
START_SECS_MAX = 60
STOP_SECS_MAX = 30


def find(command: str) -> str:
    """The path of `prometheus` or `promtool`. Where there is none: skipped, failed in CI."""
    path = shutil.which(command)
    if path is not None:
        return path
    missing = f"no {command} here: install Debian's package prometheus"
    if os.environ.get(NEEDED):
        pytest.fail(missing)
    pytest.skip(missing)


def hurried(rules: Path) -> str:
    """The same rules with little patience: evaluated each second, firing after five."""
    document = yaml.safe_load(rules.read_text())
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "5s"
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


class Prometheus:
    """Scrapes the given ports of this machine every two seconds, and has these rules."""

    def __init__(self, folder: Path, ports: Mapping[str, int], rules: str) -> None:
        self._folder = folder
        self.port = free_port()
        (folder / "rules.yml").write_text(rules)
        jobs = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"component": name}}
            for name, port in ports.items()
        ]
        config = {
            "global": {
                "scrape_interval": "2s",
                "scrape_timeout": "2s",
                "evaluation_interval": "1s",
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "hookmill", "static_configs": jobs}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            find("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + START_SECS_MAX
        while not self._answers():
            log = (self._folder / "log").read_text(errors="replace")
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its folder stays."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECS_MAX)

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer of its API. It must be an answer, not an error."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def over_time(self, expr: str, *, secs: int) -> list[Any]:
        """The series of an expression over the last so many seconds, as a graph draws them.

        One that holds no number yet is left out: a share of nothing is NaN, and draws nothing.
        """
        now = time.time()
        found = self.get("query_range", query=expr, start=now - secs, end=now, step=1)["result"]
        return [each for each in found if any(value != "NaN" for _, value in each["values"])]

    def up(self) -> set[str]:
        """The components that it scrapes with success."""
        targets = self.get("targets")["activeTargets"]
        return {each["labels"]["component"] for each in targets if each["health"] == "up"}

    def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire."""
        return [each for each in self.get("alerts")["alerts"] if each["state"] == "firing"]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as it is after its last evaluation."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def _answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/-/ready"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
