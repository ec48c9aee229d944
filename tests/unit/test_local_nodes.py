"""The local broker without Java: ports, ids, settings, and what it says when something is wrong."""

import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from hookmill.local import jars, probe, process
from hookmill.local.broker import BrokerError, LocalBroker, NodeStatus
from hookmill.local.nodes import (
    Cluster,
    Node,
    NodeFiles,
    choose_ports,
    new_cluster,
    new_id,
    properties_text,
    server_settings,
)
from hookmill.local.waiting import exclusive

THREE = Cluster(
    "cluster",
    (Node(1, 9092, 9095, "one"), Node(2, 9093, 9096, "two"), Node(3, 9094, 9097, "three")),
)
ONE = Cluster("cluster", (Node(1, 9092, 9093, "one"),))


def every_port_is_free(port: int) -> bool:
    return True


def write_cluster(directory: Path, text: str) -> None:
    (directory / "broker").mkdir()
    (directory / "broker" / "cluster.json").write_text(text)


def test_further_ports_are_the_next_free_ones() -> None:
    """The first port is the one asked for; busy ports above it are passed over."""
    busy = {9093, 9095}

    chosen = choose_ports(9092, 4, lambda port: port not in busy)

    assert chosen == [9092, 9094, 9096, 9097]


def test_a_busy_first_port_is_an_error_that_names_it() -> None:
    """Nobody wants a broker on another port than the configured one."""
    with pytest.raises(BrokerError, match=r"port 9092 on 127\.0\.0\.1 is in use"):
        choose_ports(9092, 2, lambda port: port != 9092)


def test_too_few_ports_above_is_an_error() -> None:
    """Ports end at 65535."""
    with pytest.raises(BrokerError, match="only 2 of 6 ports from 65534 up are free"):
        choose_ports(65534, 6, every_port_is_free)


def test_nodes_take_their_ports_before_the_controllers() -> None:
    """Clients find three nodes side by side from the configured port up."""
    cluster = new_cluster(9092, 3, every_port_is_free)

    assert cluster.bootstrap_servers == ["127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"]
    assert cluster.controllers == "127.0.0.1:9095,127.0.0.1:9096,127.0.0.1:9097"
    assert len({cluster.cluster_id, *(node.directory_id for node in cluster.nodes)}) == 4


def test_an_id_is_16_bytes_and_never_looks_like_an_option() -> None:
    """Bytes whose text would begin with a minus sign are drawn again."""
    draws = iter([b"\xf8" + bytes(15), b"\xff" * 16])

    assert new_id(lambda size: next(draws)) == "_" * 21 + "w"


@pytest.mark.parametrize(("cluster", "copies", "in_sync"), [(ONE, "1", "1"), (THREE, "3", "2")])
def test_internal_topics_have_as_many_copies_as_there_are_nodes(
    cluster: Cluster, copies: str, in_sync: str
) -> None:
    """With fewer nodes than copies Kafka could not make its own topics."""
    settings = server_settings(cluster, cluster.nodes[0], Path("/data"))

    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert copies == settings[f"{topic}.replication.factor"]
    assert in_sync == settings["transaction.state.log.min.isr"]
    assert in_sync == settings["min.insync.replicas"]


def test_a_node_listens_on_loopback_only() -> None:
    """Every listener names the loopback address and the node's own two ports."""
    settings = server_settings(THREE, THREE.nodes[1], Path("/data"))

    expected = "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:9096"
    assert expected == settings["listeners"] == settings["advertised.listeners"]
    assert settings["node.id"] == "2"
    assert settings["auto.create.topics.enable"] == "false"


def test_voters_are_written_as_the_format_tool_takes_them() -> None:
    """Each voter is id, controller address and directory id."""
    expected = "1@127.0.0.1:9095:one,2@127.0.0.1:9096:two,3@127.0.0.1:9097:three"

    assert expected == THREE.initial_controllers


def test_settings_are_escaped_for_java() -> None:
    """A Java properties file is ASCII; backslashes and everything else are escaped."""
    text = properties_text({"log.dirs": "/home/José/a\\b/😀 c"})

    assert text == "log.dirs=/home/Jos\\u00e9/a\\\\b/\\ud83d\\ude00 c\n"


@pytest.mark.parametrize(
    ("port", "nodes", "message"),
    [(9092, 2, "1 or 3 nodes, not 2"), (0, 1, "0 is no port"), (65536, 1, "65536 is no port")],
)
def test_impossible_layouts_are_refused(
    tmp_path: Path, port: int, nodes: int, message: str
) -> None:
    """What cannot be started is refused before anything is written."""
    with pytest.raises(BrokerError, match=message):
        LocalBroker(tmp_path, port=port, nodes=nodes)


def test_a_broker_never_started_is_no_error(tmp_path: Path) -> None:
    """Asking and stopping are fine and leave no trace; only its nodes cannot be named."""
    broker = LocalBroker(tmp_path / "new", port=9999)

    assert broker.bootstrap_servers == ["127.0.0.1:9999"]
    assert broker.status() == []
    assert not broker.stop()
    assert not (tmp_path / "new").exists()
    with pytest.raises(BrokerError, match="start it first"):
        broker.kill_node(1)


ONE_NODE_ON_7001 = (
    '{"cluster_id":"c","nodes":[{"node_id":1,"port":7001,"controller_port":7002,'
    '"directory_id":"d"}]}'
)


def test_another_layout_than_formatted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is there, what was asked, and what to do."""
    monkeypatch.setattr("hookmill.local.broker.ensure_jars", lambda tell: tmp_path)
    write_cluster(tmp_path, ONE_NODE_ON_7001)

    with pytest.raises(BrokerError, match="1 node from port 7001 up, not for 3 nodes from") as info:
        LocalBroker(tmp_path, port=9092, nodes=3).start()
    assert "delete that folder" in str(info.value)


def test_status_speaks_of_what_is_there_not_of_what_was_asked(tmp_path: Path) -> None:
    """`broker status` tells the truth whatever the configuration says by now."""
    write_cluster(tmp_path, ONE_NODE_ON_7001)

    status = LocalBroker(tmp_path, port=9092, nodes=3).status()

    assert [NodeStatus(1, "127.0.0.1", 7001, None, running=False, ready=False)] == status


def test_a_node_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Node ids count from 1."""
    write_cluster(tmp_path, ONE_NODE_ON_7001)

    with pytest.raises(BrokerError, match="no node 2"):
        LocalBroker(tmp_path).kill_node(2)


def test_a_broken_cluster_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Guessing ports would orphan the data."""
    write_cluster(tmp_path, "{")

    with pytest.raises(BrokerError, match=r"cluster\.json cannot be read"):
        LocalBroker(tmp_path).status()


def test_files_without_a_cluster_file_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that we did not format is never formatted over."""
    monkeypatch.setattr("hookmill.local.broker.ensure_jars", lambda tell: tmp_path)
    (tmp_path / "broker" / "precious").mkdir(parents=True)

    with pytest.raises(BrokerError, match=r"holds files but no cluster\.json"):
        LocalBroker(tmp_path).start()
    assert (tmp_path / "broker" / "precious").exists()


def test_a_pid_that_belongs_to_another_program_is_not_believed(tmp_path: Path) -> None:
    """A number that was given out again is neither reported nor sent a signal."""
    files = NodeFiles(tmp_path)
    files.pid.write_text(str(os.getpid()))

    assert process.running_pid(files) is None
    assert process.send_signal(files, signal.SIGKILL) is None
    assert process.has_ended(os.getpid(), files)


@pytest.mark.parametrize("text", ["", "nonsense", "999999999"])
def test_a_pid_file_of_nobody_means_not_running(tmp_path: Path, text: str) -> None:
    """Empty, unreadable or out of date: the node does not run."""
    files = NodeFiles(tmp_path)
    files.pid.write_text(text)

    assert process.running_pid(files) is None


def test_a_node_is_known_by_its_own_settings_file(tmp_path: Path) -> None:
    """Another node's process, or an editor of the settings file, is not this node."""
    files = NodeFiles(tmp_path / "node-1")

    assert process.is_node(f"java -cp x/* kafka.Kafka {tmp_path}/node-1/server.properties", files)
    assert not process.is_node(f"java kafka.Kafka {tmp_path}/node-2/server.properties", files)
    assert not process.is_node(f"vi {tmp_path}/node-1/server.properties", files)


def test_last_words_are_its_errors_without_stack_frames(tmp_path: Path) -> None:
    """The reason stands in the lines between the frames; the file is named."""
    files = NodeFiles(tmp_path)
    files.logs.mkdir()
    files.server_log.write_text("INFO all is well\n")
    files.console_log.write_text("ERROR no\n\tat x.y\nCaused by: this\n\t... 9 more\n")

    expected = f"the last lines of {files.console_log}:\n  ERROR no\n  Caused by: this"
    assert expected == process.last_words(files)


def test_without_errors_the_end_of_the_log_is_quoted(tmp_path: Path) -> None:
    """At most a screen of it."""
    files = NodeFiles(tmp_path)
    files.logs.mkdir()
    files.server_log.write_text("".join(f"line {number}\n" for number in range(99)))

    words = process.last_words(files).splitlines()

    assert len(words) == process.QUOTED_LINES_MAX + 1
    assert words[-1] == "  line 98"


def test_the_probe_asks_for_no_topics() -> None:
    """The request is Metadata v4: length, header with client id, no topics, create none."""
    size, key, version, _correlation, name_size = struct.unpack_from(">ihhih", probe.request())

    assert len(probe.request()) - 4 == size
    assert (key, version) == (3, 4)
    assert b"hookmill-probe" + bytes(5) == probe.request()[-name_size - 5 :]


ANSWER = (
    struct.pack(">iii", 1, 0, 2)
    + struct.pack(">ih1sih", 1, 1, b"h", 9092, -1)
    + struct.pack(">ih1sih2s", 3, 1, b"h", 9094, 2, b"r1")
    + struct.pack(">h3si", 3, b"abc", 3)
    + struct.pack(">i", 0)
)


def test_the_probe_reads_cluster_and_brokers() -> None:
    """An answer of two brokers, one with a rack."""
    assert probe.ClusterView("abc", 3, frozenset({1, 3})) == probe.parse(ANSWER)


@pytest.mark.parametrize("size", range(0, len(ANSWER) - 4, 3))
def test_a_cut_answer_is_no_answer(size: int) -> None:
    """However it is cut, it is an error and not a wrong view."""
    with pytest.raises((struct.error, ValueError)):
        probe.parse(ANSWER[:size])


def test_an_open_port_alone_is_not_an_answer() -> None:
    """A server that accepts and says nothing is not ready."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        assert probe.ask("127.0.0.1", port, timeout_secs=0.05) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ("Unable to locate a Java Runtime", None),
    ],
)
def test_java_versions_are_read(answer: str, expected: int | None) -> None:
    """Old and new schemes, and no Java at all."""
    assert expected == jars.java_version(answer)


def test_java_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the package's name."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BrokerError, match=r"^no java on the PATH.* openjdk-17-jre-headless\)$"):
        jars.find_java()


def test_java_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME goes before the PATH, even when its Java is of no use."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    with pytest.raises(BrokerError, match="is version 11: needed is Java 17 or newer"):
        jars.find_java()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without jars and a PATH without Maven."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def fake_maven(folder: Path, script: str) -> None:
    maven = folder / "bin" / "mvn"
    maven.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    maven.chmod(0o755)


def test_maven_missing_says_how_to_get_it(empty_cache: Path) -> None:
    """Maven is asked for only when the jars are missing."""
    with pytest.raises(BrokerError, match=r"^no mvn on the PATH.* apt install maven\)$"):
        jars.ensure_jars()

    jars.jars_folder().mkdir()
    assert jars.jars_folder() == jars.ensure_jars()


def test_jars_appear_only_when_complete(empty_cache: Path) -> None:
    """A failed fetch leaves no folder that looks complete, and its reason is told."""
    take_target = 'for a; do case $a in -DoutputDirectory=*) t=${a#*=};; esac; done; mkdir -p "$t"'
    fake_maven(empty_cache, f"{take_target}; echo '[ERROR] no route'; exit 1")
    with pytest.raises(BrokerError, match=r"\(status 1\): no route$"):
        jars.ensure_jars()
    assert not jars.jars_folder().exists()

    fake_maven(empty_cache, f'{take_target}; touch "$t/kafka_2.13.jar"')
    assert [jar.name for jar in jars.ensure_jars().iterdir()] == ["kafka_2.13.jar"]


def test_the_folder_of_jars_follows_the_pom() -> None:
    """The version in the folder's name is the one that is fetched."""
    assert f"<kafka.version>{jars.KAFKA_VERSION}</kafka.version>" in jars.POM.read_text()
    assert jars.jars_folder().name.startswith(f"kafka-{jars.KAFKA_VERSION}-")


def test_a_lock_held_elsewhere_is_an_error_with_a_limit(tmp_path: Path) -> None:
    """It says who is waited for, and is free again afterwards."""
    lock = tmp_path / "lock"
    with (
        exclusive(lock, timeout_secs=0, purpose="testing"),
        pytest.raises(BrokerError, match="another process has been testing for more than 0 s"),
        exclusive(lock, timeout_secs=0, purpose="testing"),
    ):
        raise AssertionError("the lock was given twice")

    with exclusive(lock, timeout_secs=0, purpose="testing"):
        assert lock.exists()
