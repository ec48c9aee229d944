"""What a local cluster is made of: its nodes' ids and ports, and the files that say so.

`cluster.json` is written once, when the nodes are formatted; the files of a node are written
again at each start, so that they follow the program.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from hookmill.local.errors import BrokerError
from hookmill.local.ports import HOST, PORT_MAX

NODE_COUNTS = (1, 3)
INTERNAL_PARTITIONS = 4


class Node(msgspec.Struct, frozen=True):
    """One broker that is a controller too, and the two ports it listens on."""

    node_id: int
    port: int
    controller_port: int
    directory_id: str


class Cluster(msgspec.Struct, frozen=True):
    """The nodes as they were chosen when they were formatted."""

    cluster_id: str
    nodes: tuple[Node, ...]

    @property
    def bootstrap_servers(self) -> list[str]:
        return [f"{HOST}:{node.port}" for node in self.nodes]

    @property
    def controllers(self) -> str:
        return ",".join(f"{HOST}:{node.controller_port}" for node in self.nodes)

    @property
    def initial_controllers(self) -> str:
        """The voters as `StorageTool format --initial-controllers` takes them."""
        return ",".join(
            f"{node.node_id}@{HOST}:{node.controller_port}:{node.directory_id}"
            for node in self.nodes
        )

    def node(self, node_id: int) -> Node:
        """Return that node; raises BrokerError when there is none of this id."""
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        raise BrokerError(f"the local broker has no node {node_id}, only 1 to {len(self.nodes)}")


class NodeFiles:
    """The places of one node's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.properties = folder / "server.properties"
        self.logging = folder / "log4j2.properties"
        self.pid = folder / "pid"
        self.logs = folder / "logs"
        self.server_log = self.logs / "server.log"
        self.console_log = self.logs / "console.log"

    def write(self, cluster: Cluster, node: Node, *, advertised_port: int | None = None) -> None:
        """Write the node's settings, and make its folder of logs."""
        self.logs.mkdir(parents=True, exist_ok=True)
        settings = server_settings(cluster, node, self.data, advertised_port=advertised_port)
        self.properties.write_text(properties_text(settings), encoding="ascii")
        self.logging.write_text(LOGGING, encoding="ascii")


def check_layout(port: int, nodes: int) -> None:
    """Raise BrokerError unless there can be so many nodes, the first one on this port."""
    if nodes not in NODE_COUNTS:
        raise BrokerError(f"the local broker has 1 or 3 nodes, not {nodes}: set local.broker_nodes")
    if not 1 <= port <= PORT_MAX:
        raise BrokerError(f"{port} is no port (1 to {PORT_MAX}): set local.broker_port")


def new_cluster(port: int, nodes: int, is_free: Callable[[int], bool]) -> Cluster:
    """Choose ids and ports; raises BrokerError when the port is busy or no free ones are left."""
    ports = choose_ports(port, 2 * nodes, is_free)
    return Cluster(
        cluster_id=new_id(),
        nodes=tuple(
            Node(index + 1, ports[index], ports[nodes + index], new_id()) for index in range(nodes)
        ),
    )


def choose_ports(first: int, count: int, is_free: Callable[[int], bool]) -> list[int]:
    """Return the first port and the next free ones above it.

    Raises BrokerError when the first one is busy or fewer than that are left.
    """
    if not is_free(first):
        raise busy_port(first)
    chosen = [first]
    candidates = iter(range(first + 1, PORT_MAX + 1))
    while len(chosen) < count:
        candidate = next(candidates, None)
        if candidate is None:
            raise BrokerError(
                f"only {len(chosen)} of {count} ports from {first} up are free: "
                "set local.broker_port to a lower one"
            )
        if is_free(candidate):
            chosen.append(candidate)
    return chosen


def busy_port(port: int) -> BrokerError:
    """The error that names the port and says what to do."""
    return BrokerError(
        f"port {port} on {HOST} is in use by another program: "
        "end that program, or set local.broker_port (and another local.dir) for this broker"
    )


def new_id(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return an id as Kafka makes them: 16 random bytes in URL-safe base64.

    None begins with `-`, which Kafka's tools would take for an option.
    """
    while True:
        text = base64.urlsafe_b64encode(random_bytes(16)).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


def server_settings(
    cluster: Cluster, node: Node, data: Path, *, advertised_port: int | None = None
) -> dict[str, str]:
    """The settings of one node; what is not named here has Kafka's own default.

    With an advertised port clients and other nodes are told to come through that one.
    """
    copies = min(3, len(cluster.nodes))
    in_sync_min = max(1, copies - 1)
    listeners = f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}"
    advertised = listeners.replace(f":{node.port},", f":{advertised_port or node.port},", 1)
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.bootstrap.servers": cluster.controllers,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": listeners,
        "advertised.listeners": advertised,
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": str(in_sync_min),
        # Kafka's own 3 and 8 are for a machine of its own: here they take turns on few cores.
        "num.network.threads": "1",
        "num.io.threads": "2",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A node that was killed may come back only when its session is over.
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "1000",
        # A quarter of the default: the compacted topics of one machine are small.
        "log.cleaner.dedupe.buffer.size": str(32 << 20),
    }
    for internal in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        settings[f"{internal}.num.partitions"] = str(INTERNAL_PARTITIONS)
        settings[f"{internal}.replication.factor"] = str(copies)
    for internal in ("transaction.state.log", "share.coordinator.state.topic"):
        settings[f"{internal}.min.isr"] = str(in_sync_min)
    return settings


def properties_text(settings: Mapping[str, str]) -> str:
    """Write settings as a Java properties file, which is ASCII with escapes."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: str) -> str:
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[index : index + 2]) for index in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)


# Everything to a file that rolls; errors to the console too, whose log is that of one start.
LOGGING = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:hookmill.logs}/server.log
appender.file.filePattern = ${sys:hookmill.logs}/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 5
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n
appender.console.filter.threshold.type = ThresholdFilter
appender.console.filter.threshold.level = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
rootLogger.appenderRef.console.ref = console
"""
