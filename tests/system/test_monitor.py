"""`hookmill monitor`: what no process can say of itself once it is dead, seen from outside."""

import base64
import hashlib
import hmac
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.ports import free_port
from support.program import ECHEZONA_SECRET, Program, yoco

Samples = dict[tuple[str, str], float]


class Watched:
    """The program, and a monitor that looks every second."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.port = free_port()

    def start(self) -> None:
        """Start the monitor."""
        self.program.start("monitor", "--interval", "1", "--admin-port", str(self.port))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def samples(self) -> Samples:
        """What it shows: value by metric and by its one label's value, namespaces taken off."""
        _, page = self.get("/metrics")
        prefix = f"{self.program.namespace}-"
        return {
            (
                sample.name.removeprefix("hookmill_"),
                "".join(sample.labels.values()).removeprefix(prefix),
            ): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def shows(self, **values: float) -> bool:
        """Whether it shows these values, of `metric__label`, hyphens written as underscores."""
        found = {re.sub("-", "_", "__".join(key)): value for key, value in self.samples().items()}
        return all(found.get(name) == value for name, value in values.items())

    def success_secs(self) -> float | None:
        """When it last came through, None as long as it did not."""
        return self.samples().get(("monitor_last_success_timestamp_seconds", ""))


@pytest.fixture
def watched(program: Program) -> Watched:
    """The topics are there; nothing is started yet."""
    program.run("topics", "apply")
    return Watched(program)


@pytest.mark.broker
def test_groups_are_seen_from_outside(watched: Watched) -> None:
    """While no stage runs: what waits, and for how long; then that nothing waits any more."""
    program = watched.program
    program.start("ingress")
    program.until(program.ready)
    began = time.time()
    for number in range(3):
        assert program.post(*yoco(number))[0] == 200
    watched.start()
    program.until(
        lambda: watched.shows(group_lag_records__hookmill_dedup=3, group_members__hookmill_dedup=0)
    )
    program.until(watched.success_secs)  # a round shows one group after another
    waited_secs = watched.samples()["group_lag_seconds", "hookmill-dedup"]

    assert 0 < waited_secs < time.time() - began + 1
    assert watched.shows(
        group_lag_records__hookmill_normalize=0,
        group_lag_seconds__hookmill_normalize=0,
        topic_offline_partitions__webhooks_raw=0,
        topic_under_replicated_partitions__webhooks_raw=0,
        topic_below_min_insync_partitions__webhooks_raw=0,
    )

    for stage in ("dedup", "normalize", "route"):
        program.start("stage", stage)
    program.until(
        lambda: watched.shows(
            group_lag_records__hookmill_dedup=0,
            group_lag_seconds__hookmill_dedup=0,
            group_members__hookmill_dedup=1,
            group_lag_records__hookmill_handler_ledger=3,
        )
    )

    assert watched.get("/readyz")[0] == 200


@pytest.mark.broker
def test_a_dead_letter_is_open_until_somebody_decides(watched: Watched) -> None:
    """One that no stage can read, and then is discarded."""
    program = watched.program
    watched.start()
    program.start("ingress")
    for stage in ("dedup", "normalize"):
        program.start("stage", stage)
    program.until(program.ready)
    assert program.post(*unreadable())[0] == 200
    program.until(lambda: watched.shows(dead_letters_open__normalize_dlq=1))
    assert watched.shows(dead_letters_open__dedup_dlq=0)
    program.run("dlq", "discard", "--all", "--why", "a test")

    program.until(lambda: watched.shows(dead_letters_open__normalize_dlq=0))


def test_a_cluster_that_is_away_is_asked_again(tmp_path: Path) -> None:
    """Before there is one, and when it went away: it says so, lives on, and sees it again."""
    port = free_port()
    program = Program(tmp_path, [f"127.0.0.1:{port}"], "own")
    program.environ["HOOKMILL_LOCAL__BROKER_PORT"] = str(port)
    watched = Watched(program)
    try:
        watched.start()
        program.until(lambda: "Kafka at" in watched.get("/readyz")[1])
        assert watched.success_secs() is None
        program.run("broker", "start")
        program.until(lambda: "topics missing" in watched.get("/readyz")[1])
        program.run("topics", "apply")
        program.until(lambda: watched.get("/readyz")[0] == 200)
        program.run("broker", "stop")
        program.until(lambda: watched.get("/readyz")[0] == 503, timeout_secs=90)
        last_secs = watched.success_secs()

        assert last_secs is not None
        assert time.time() - last_secs < 120
        assert watched.get("/livez")[0] == 200
        program.run("broker", "start")
        program.until(lambda: (watched.success_secs() or 0) > last_secs, timeout_secs=90)
    finally:
        program.stop()
        program.run("broker", "stop")


def unreadable() -> tuple[str, bytes, dict[str, str]]:
    """An authentic delivery that is no JSON."""
    body = b"no json"
    mac = hmac.new(ECHEZONA_SECRET.encode(), body, hashlib.sha256).digest()
    return "naira", body, {"x-sig": "v1=" + base64.b64encode(mac).decode()}
