"""Alerts and dashboards on a real Prometheus that scrapes a real hookmill."""

import base64
import hashlib
import hmac
import json
import signal
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dashboards import FILES, queries
from support.dashboards import program as script
from support.ports import free_port
from support.program import ECHEZONA_SECRET, Program
from support.prometheus import Prometheus, hurried

pytestmark = pytest.mark.broker

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
STAGES = ("dedup", "normalize", "route")
SEEN_SECS = 60
WITH_DATA = {
    ("overview", "Accepted"), ("overview", "Answered 503"), ("overview", "Oldest unprocessed"),
    ("overview", "Handled"), ("overview", "Dead letters open"), ("overview", "Alerts"),
    ("overview", "Accepted, by endpoint"), ("overview", "Events, by kind"),
    ("overview", "Oldest unprocessed, by group"), ("overview", "From receipt to handled"),
    ("ingress", "By outcome"), ("ingress", "Answer, by endpoint (p99)"),
    ("ingress", "Kafka's acknowledgement"), ("ingress", "Connections"),
    ("ingress", "Age of secrets"),
    ("stages", "Records, by stage and outcome"), ("stages", "Time of a transaction (p99)"),
    ("stages", "Records of a transaction"), ("stages", "Oldest unprocessed"),
    ("stages", "Duplicates, by endpoint"), ("stages", "Events, by rule"),
    ("handlers", "By handler and outcome"), ("handlers", "Time in the handler (p99)"),
    ("handlers", "Oldest unprocessed"), ("kafka", "Members"), ("kafka", "Partitions owned"),
    ("kafka", "Dead letters open"), ("kafka", "Since the monitor's last round"),
}  # fmt: skip


class Watched:
    """Every process of the program with a port of its own, and who watches them."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.ports = {name: free_port() for name in (*STAGES, "handler-ledger", "monitor")}
        self.ports["ingress"] = program.admin_port
        self.ingress = program.start("ingress")
        for name in STAGES:
            self._start(name, "stage", name)
        self._start("handler-ledger", "handle", "ledger")
        self._start("monitor", "monitor", "--interval", "1")
        self.prometheus = Prometheus(folder, self.ports, hurried(RULES))

    def _start(self, name: str, *arguments: str) -> None:
        self.program.start(*arguments, "--admin-port", str(self.ports[name]))

    def alerts(self) -> set[str]:
        """The names of those that fire."""
        return {each["labels"]["alertname"] for each in self.prometheus.firing()}

    def shown(self) -> set[tuple[str, str]]:
        """The panels that show something. None of the others' queries fails."""
        return {
            (each.dashboard, each.panel)
            for each in queries()
            if self.prometheus.over_time(each.expr, secs=SEEN_SECS)
        }


@pytest.fixture
def watched(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Running, scraped, and quiet."""
    program.run("topics", "apply")
    watched = Watched(program, tmp_path_factory.mktemp("prometheus"))
    try:
        watched.prometheus.wait()
        program.until(lambda: watched.prometheus.up() == set(watched.ports))
        program.until(
            lambda: watched.prometheus.over_time("hookmill_group_lag_seconds", secs=5) != []
        )
        program.until(lambda: watched.alerts() == set())
        yield watched
    finally:
        watched.prometheus.stop()


def test_what_is_watched_is_seen(watched: Watched) -> None:
    """Dashboards show the traffic, each fault fires its alert and no other, no rule fails."""
    program, prometheus = watched.program, watched.prometheus
    program.run("send", "yoco", "--count", "20", "--rate", "20", "--duplicates", "0.2")
    program.until(lambda: not WITH_DATA - watched.shown())
    program.until(lambda: watched.alerts() == set())
    assert "no data" not in drawn("overview", prometheus).split("Endpoints against")[0]

    program.run("send", "yoco", "--count", "10", "--rate", "20", "--forged", "1")
    program.until(lambda: watched.alerts() == {"HookmillVerificationFailuresJump"})

    assert program.post(*unparseable())[0] == 200
    both = {"HookmillVerificationFailuresJump", "HookmillDeadLettersGrowing"}
    program.until(lambda: watched.alerts() == both)

    watched.ingress.send_signal(signal.SIGTERM)
    watched.ingress.wait(30)
    everything = {*both, "HookmillRefusing"}
    program.until(lambda: watched.alerts() == everything)

    assert [each["name"] for each in prometheus.rules() if each["health"] != "ok"] == []
    for alert in prometheus.firing():
        assert all(
            "error" not in each and "{{" not in each for each in alert["annotations"].values()
        )
        assert not any("<no value>" in each for each in alert["annotations"].values())


def drawn(name: str, prometheus: Prometheus) -> str:
    """A dashboard as a picture of the last minute; it is well-formed."""
    [path] = [each for each in FILES if each.stem == name]
    dashboard = json.loads(path.read_text())
    url, now = f"http://127.0.0.1:{prometheus.port}", time.time()
    picture: str = script("draw").draw(dashboard, url, now - SEEN_SECS, now)
    ElementTree.fromstring(picture)
    return picture


def unparseable() -> tuple[str, bytes, dict[str, str]]:
    """An authentic delivery whose body is no JSON object."""
    body = b"[1, 2]"
    mac = hmac.new(ECHEZONA_SECRET.encode(), body, hashlib.sha256).digest()
    return "naira", body, {"x-sig": "v1=" + base64.b64encode(mac).decode()}
