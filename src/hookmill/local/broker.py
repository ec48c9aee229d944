"""The local broker: one or three nodes of Apache Kafka on this machine, started and stopped.

`{directory}/broker` holds everything: `cluster.json` and a folder per node with its data, its
settings, its pid file and its logs. `{directory}/broker.lock` lets one process at a time start
or stop nodes.
"""

import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hookmill.local import nodes, probe, process, storage
from hookmill.local.errors import BrokerError
from hookmill.local.jars import ensure_jars, find_java
from hookmill.local.nodes import Cluster, Node, NodeFiles, check_layout
from hookmill.local.ports import HOST, port_is_free
from hookmill.local.waiting import exclusive, wait_until

__all__ = ["BrokerError", "LocalBroker", "NodeStatus"]

KILL_TIMEOUT_SECS = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class NodeStatus:
    """One node: `running` means that its process is there, `ready` that it serves its cluster."""

    node_id: int
    host: str
    port: int
    pid: int | None
    running: bool
    ready: bool


class LocalBroker:
    """The local broker of one folder; any number of these, in any process, may share a folder."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 9092,
        nodes: int = 1,
        advertised_port: Callable[[int], int] | None = None,
    ) -> None:
        """Take the port of the first node and the number of nodes, 1 or 3; starts nothing.

        `advertised_port` gives the port, from a node's own one, that clients are told to use: of
        a proxy before it. Raises BrokerError for any other number, or a port that is none.
        """
        self._advertised_port = advertised_port
        check_layout(port, nodes)
        self._port = port
        self._count = nodes
        self._folder = directory.resolve() / "broker"

    @property
    def bootstrap_servers(self) -> list[str]:
        """`host:port` of every node; before the first start, of the first node alone."""
        cluster = storage.read(self._folder)
        return cluster.bootstrap_servers if cluster else [f"{HOST}:{self._port}"]

    def start(self, *, timeout_secs: float = 60.0, progress: Progress | None = None) -> str:
        """Start every node that does not run, and return the bootstrap servers when all serve.

        The limit is for the nodes alone; fetching the jars, the first time, has its own.
        Raises BrokerError when a port is busy, the folder was formatted otherwise, Java or the
        jars are missing, or a node ends or does not serve in time; what this call started is
        then ended again.
        """
        tell = progress or (lambda message: None)
        started: list[Node] = []
        known = storage.read(self._folder)
        if known is None or not all(map(self._running, known.nodes)):
            ensure_jars(tell)  # may take minutes: not under the lock
        try:
            with self._locked(timeout_secs):
                cluster = storage.read_or_format(self._folder, self._port, self._count, tell)
                self._start_processes(cluster, cluster.nodes, started, tell)
            self._wait_until_ready(cluster, cluster.nodes, timeout_secs)
        except BaseException:
            for node in started:
                self._kill(node.node_id)
            raise
        tell(f"the local broker is ready on {', '.join(cluster.bootstrap_servers)}")
        return ",".join(cluster.bootstrap_servers)

    def stop(self, *, timeout_secs: float = 20.0) -> bool:
        """Ask every node to end, end by force what still runs after the limit.

        Returns True if something was running. Raises BrokerError when another process keeps
        the folder locked, or a node outlives even force.
        """
        cluster = storage.read(self._folder)
        if cluster is None:
            return False
        with self._locked(timeout_secs):
            asked = [
                (files, pid)
                for files in map(self._files, range(1, len(cluster.nodes) + 1))
                if (pid := process.send_signal(files, signal.SIGTERM)) is not None
            ]
            wait_until(
                lambda: all(process.has_ended(pid, files) for files, pid in asked),
                timeout_secs=timeout_secs,
            )
            for node in cluster.nodes:
                self._kill(node.node_id)
        return bool(asked)

    def status(self) -> list[NodeStatus]:
        """Every node as it is now, each asked over the network; none before the first start."""
        cluster = storage.read(self._folder)
        return [self._node_status(cluster, node) for node in cluster.nodes] if cluster else []

    def kill_node(self, node_id: int) -> None:
        """End this node by SIGKILL, as a crash would, and return when it is gone.

        Raises BrokerError when there is no such node.
        """
        self._known_cluster().node(node_id)
        self._kill(node_id)

    def pid(self, node_id: int) -> int | None:
        """The process id of this node, None while it does not run."""
        return process.running_pid(self._files(node_id))

    def start_node(self, node_id: int, *, timeout_secs: float = 60.0, wait: bool = True) -> None:
        """Start this node if it does not run, and wait until it serves.

        A node of three serves only while a second one runs; without `wait` this returns at once.
        Raises BrokerError as `start` does, but leaves the node running if it is only late.
        """
        cluster = self._known_cluster()
        node = cluster.node(node_id)
        started: list[Node] = []
        with self._locked(timeout_secs):
            self._start_processes(cluster, [node], started, lambda message: None)
        if wait:
            self._wait_until_ready(cluster, [node], timeout_secs)

    def _files(self, node_id: int) -> NodeFiles:
        return NodeFiles(self._folder / f"node-{node_id}")

    def _running(self, node: Node) -> bool:
        return process.running_pid(self._files(node.node_id)) is not None

    def _locked(self, timeout_secs: float) -> AbstractContextManager[None]:
        return exclusive(
            self._folder.with_suffix(".lock"),
            timeout_secs=timeout_secs,
            purpose="starting or stopping the local broker",
        )

    def _known_cluster(self) -> Cluster:
        cluster = storage.read(self._folder)
        if cluster is None:
            raise BrokerError(f"there is no broker in {self._folder}: start it first")
        return cluster

    def _start_processes(
        self, cluster: Cluster, wanted: Sequence[Node], started: list[Node], tell: Progress
    ) -> None:
        """Start those that do not run, adding each to `started`."""
        missing = [node for node in wanted if not self._running(node)]
        for node in missing:
            for port in (node.port, node.controller_port):
                if not port_is_free(port):
                    raise nodes.busy_port(port)
        if not missing:
            return
        java, jars = find_java(), ensure_jars(tell)
        for node in missing:
            tell(f"starting node {node.node_id} on {HOST}:{node.port}")
            files = self._files(node.node_id)
            advertised = self._advertised_port(node.port) if self._advertised_port else None
            files.write(cluster, node, advertised_port=advertised)
            started.append(node)
            process.start_java(java, jars, files)

    def _wait_until_ready(
        self, cluster: Cluster, wanted: Sequence[Node], timeout_secs: float
    ) -> None:
        """Wait until each of these serves, and knows that all of them do."""
        ids = {node.node_id for node in wanted}
        waiting = list(wanted)

        def all_ready() -> bool:
            for node in wanted:
                if not self._running(node):
                    raise self._failure(node, "ended while it started")
            waiting[:] = [node for node in waiting if not self._serves(cluster, node, ids)]
            return not waiting

        if not wait_until(all_ready, timeout_secs=timeout_secs):
            raise self._failure(waiting[0], f"did not serve within {timeout_secs:g} s")

    def _serves(self, cluster: Cluster, node: Node, ids: set[int]) -> bool:
        view = probe.ask(HOST, node.port)
        return view is not None and view.cluster_id == cluster.cluster_id and ids <= view.broker_ids

    def _failure(self, node: Node, what: str) -> BrokerError:
        words = process.last_words(self._files(node.node_id))
        return BrokerError(f"node {node.node_id} of the local broker {what}; {words}")

    def _node_status(self, cluster: Cluster, node: Node) -> NodeStatus:
        pid = process.running_pid(self._files(node.node_id))
        ready = pid is not None and self._serves(cluster, node, {node.node_id})
        return NodeStatus(node.node_id, HOST, node.port, pid, pid is not None, ready)

    def _kill(self, node_id: int) -> None:
        files = self._files(node_id)
        pid = process.send_signal(files, signal.SIGKILL)
        if pid is not None and not wait_until(
            lambda: process.has_ended(pid, files), timeout_secs=KILL_TIMEOUT_SECS
        ):
            raise BrokerError(f"node {node_id} of the local broker does not end; see {files.logs}")
        files.pid.unlink(missing_ok=True)
