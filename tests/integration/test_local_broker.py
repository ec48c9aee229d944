"""The local broker as it is: real Apache Kafka, one node and three."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hookmill.local import probe, process
from hookmill.local.broker import BrokerError, LocalBroker
from hookmill.local.nodes import NodeFiles
from hookmill.local.ports import port_is_free
from hookmill.local.waiting import wait_until
from support.ports import free_port

MakeBroker = Callable[[int], LocalBroker]


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[MakeBroker]:
    """Brokers in the test's folder, with a space and an accent in its path; stopped at the end."""
    made: list[LocalBroker] = []

    def make(nodes: int) -> LocalBroker:
        made.append(LocalBroker(tmp_path / "héllo dir", port=free_port(), nodes=nodes))
        return made[-1]

    yield make
    for broker in made:
        broker.stop(timeout_secs=10.0)


def files_of(tmp_path: Path, node_id: int) -> NodeFiles:
    return NodeFiles(tmp_path / "héllo dir" / "broker" / f"node-{node_id}")


def test_one_node_lives_through_its_day(make_broker: MakeBroker, tmp_path: Path) -> None:
    """It starts once however many ask, serves, stops without a trace, and comes back as it was."""
    broker = make_broker(1)
    said: list[str] = []

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(broker.start, progress=said.append) for _ in range(2)]
        servers = [each.result() for each in asked]

    assert len(set(servers)) == 1
    assert [servers[0]] == broker.bootstrap_servers
    assert sum(message.startswith("starting node") for message in said) == 1
    (status,) = broker.status()
    assert (
        status.node_id,
        status.host,
        status.running,
        status.ready,
    ) == (1, "127.0.0.1", True, True)
    before = probe.ask(status.host, status.port)
    assert before is not None
    assert {1} == before.broker_ids

    broker.start()
    assert [status] == broker.status()

    assert broker.stop()
    assert not broker.stop()
    assert status.pid is not None
    assert process.has_ended(status.pid, files_of(tmp_path, 1))
    assert not broker.status()[0].running
    assert port_is_free(status.port)

    broker.start()
    assert before == probe.ask(status.host, status.port)
    assert broker.status()[0].pid != status.pid


def test_a_busy_port_is_named_and_nothing_is_left(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The broker takes its own port or none."""
    broker = make_broker(1)
    port = int(broker.bootstrap_servers[0].rpartition(":")[2])

    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(BrokerError, match=f"port {port} on 127.0.0.1 is in use"),
    ):
        broker.start()

    assert not (tmp_path / "héllo dir" / "broker").exists()


def test_a_node_that_dies_at_its_start_says_why(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The error quotes the reason that Kafka gave and names the log; nothing is left running."""
    broker = make_broker(1)
    broker.start()
    broker.stop()
    (files_of(tmp_path, 1).data / "meta.properties").write_text("version=1\nnode.id=7\n")

    with pytest.raises(BrokerError, match=r"(?s)node 1 .* ended while it started") as info:
        broker.start()

    assert "No readable meta.properties" in str(info.value)
    assert str(files_of(tmp_path, 1).console_log) in str(info.value)
    assert not broker.status()[0].running


def test_three_nodes_live_through_a_killed_one(make_broker: MakeBroker) -> None:
    """The other two go on without it, and it finds its way back."""
    broker = make_broker(3)
    assert broker.start().count(",") == 2
    assert [node.ready for node in broker.status()] == [True] * 3
    first = broker.status()[0]

    broker.kill_node(2)

    def survivors() -> frozenset[int]:
        view = probe.ask(first.host, first.port)
        return view.broker_ids if view else frozenset()

    assert [node.ready for node in broker.status()] == [True, False, True]
    assert wait_until(lambda: survivors() == {1, 3}, timeout_secs=15.0)

    broker.start_node(2)

    assert [node.ready for node in broker.status()] == [True] * 3
    assert broker.stop()
    assert [node.running for node in broker.status()] == [False] * 3
