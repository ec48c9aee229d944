"""Kafka away, workers dying: what the provider is told, and that it heals by itself."""

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port
from support.program import Program, headers_of, yoco


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Program]:
    """The program with a broker of its own, which is not started."""
    port = free_port()
    program = Program(tmp_path, [f"127.0.0.1:{port}"], "own")
    program.environ["HOOKMILL_LOCAL__BROKER_PORT"] = str(port)
    yield program
    program.stop()
    program.run("broker", "stop")


def test_it_serves_without_a_broker_and_recovers_by_itself(alone: Program) -> None:
    """503 with Retry-After at once while there is none; 200 as soon as there is one."""
    alone.start("ingress")
    alone.until(lambda: alone.listens())
    status, said = alone.post(*yoco(1))
    assert (status, said) == (503, {"error": "broker_unavailable"})
    assert not alone.ready()
    alone.run("broker", "start")
    alone.run("topics", "apply")
    alone.until(alone.ready)

    assert alone.post(*yoco(1))[0] == 200


def test_up_starts_a_broker_that_died_again(alone: Program) -> None:
    """It says so, and deliveries are taken again, without anybody's help."""
    alone.config.write_text(alone.config.read_text().replace("bootstrap_servers", "# unset"))
    up = alone.start("up")
    alone.until(alone.ready)
    [node] = alone.json("broker", "status")
    os.kill(node["pid"], signal.SIGKILL)
    alone.until(lambda: alone.post(*yoco(1))[0] == 503)
    alone.until(lambda: alone.post(*yoco(1))[0] == 200, timeout_secs=90)
    up.terminate()

    assert up.wait(60) == 0
    assert "died; again in" in (alone.folder / "up-0.log").read_text()


def test_without_kafka_a_command_says_so_in_one_line(alone: Program) -> None:
    """Which servers were asked; no traceback."""
    for command in (("topics", "plan"), ("trace", "x"), ("tail", "webhooks-raw")):
        said = alone.fails(*command, status=1)
        assert f"Kafka at {alone.servers[0]}" in said
        assert "Traceback" not in said


def test_a_broker_that_dies_costs_no_acknowledged_delivery(alone: Program) -> None:
    """Killed and started again in the middle: what was answered 200 is there."""
    alone.run("broker", "start")
    alone.run("topics", "apply")
    alone.start("ingress")
    alone.until(alone.ready)
    [node] = alone.json("broker", "status")
    acknowledged, refused = [], 0
    for number in range(60):
        if number == 20:
            os.kill(node["pid"], signal.SIGKILL)
        if number == 40:
            alone.run("broker", "start")
            alone.until(alone.ready)
        status, said = alone.post(*yoco(number))
        if status == 200:
            acknowledged.append(said["delivery"])
        else:
            assert status == 503
            refused += 1

    kept = {headers_of(each)["hm-delivery"] for each in alone.read("webhooks-raw")}
    assert set(acknowledged) <= kept
    assert len(acknowledged) >= 39
    assert refused >= 1


@pytest.mark.broker
def test_a_worker_of_several_that_dies_is_replaced(program: Program) -> None:
    """Two share the port; one killed, deliveries go on, nothing acknowledged is lost, and the
    private port adds them up."""
    program.run("topics", "apply")
    parent = program.start("ingress", "--workers", "2")
    program.until(program.ready)
    acknowledged = [program.post(*yoco(number))[1]["delivery"] for number in range(20)]
    children = program.children_of(parent.pid)
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    program.until(lambda: len(set(program.children_of(parent.pid)) - {children[0]}) == 2)
    program.until(program.ready)
    acknowledged += [program.post(*yoco(number))[1]["delivery"] for number in range(20, 30)]
    with urllib.request.urlopen(f"http://127.0.0.1:{program.admin_port}/metrics") as page:
        metrics = page.read().decode()
    parent.terminate()

    assert parent.wait(30) == 0
    assert 'hookmill_ingress_requests_total{endpoint="shop",outcome="accepted"}' in metrics
    kept = {headers_of(each)["hm-delivery"] for each in program.read("webhooks-raw")}
    assert set(acknowledged) <= kept
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.broker
@pytest.mark.parametrize("command", [("stage", "dedup"), ("ingress",)])
def test_a_wrong_partition_count_refuses_to_start(
    program: Program, command: tuple[str, ...]
) -> None:
    """A subject's later events would lie elsewhere: say so, and what to do."""
    program.run("topics", "apply")
    program.environ["HOOKMILL_KAFKA__PARTITIONS"] = "5"

    said = program.fails(*command, status=1)
    assert "has 4" in said
    assert "Traceback" not in said


@pytest.mark.broker
def test_the_state_folder_of_another_process_is_never_touched(program: Program) -> None:
    """The same --instance twice on one machine is an error that says what to do."""
    program.run("topics", "apply")
    program.start("stage", "dedup", "--instance", "one")
    program.until(lambda: list((program.folder / "state").rglob("one/*/lock")) != [])

    said = program.fails("stage", "dedup", "--instance", "one", status=1)
    assert "choose another --instance" in said
