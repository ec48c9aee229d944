"""The folder of a local cluster: read as it is, or formatted, in one step, as it shall be.

The folder appears complete or not at all, so that an interrupted start leaves nothing to mend.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hookmill.local.errors import BrokerError
from hookmill.local.jars import ensure_jars, find_java
from hookmill.local.nodes import Cluster, NodeFiles, new_cluster
from hookmill.local.ports import port_is_free

FORMAT_CLASS = "kafka.tools.StorageTool"
FORMAT_TIMEOUT_SECS = 60.0


def read(folder: Path) -> Cluster | None:
    """Return the cluster of this folder, None if there is none yet.

    Raises BrokerError when its file cannot be read.
    """
    path = folder / "cluster.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise BrokerError(
            f"{path} cannot be read ({error}): put it back, or delete {folder} "
            "to begin anew without its records"
        ) from error


def read_or_format(folder: Path, port: int, count: int, tell: Callable[[str], None]) -> Cluster:
    """Return the cluster of this folder, formatted now if there is none yet.

    Raises BrokerError when it was formatted for another port or number of nodes, or when the
    folder holds anything else, the port is busy, or Java or the jars are missing.
    """
    cluster = read(folder)
    if cluster is None:
        return _format(folder, port, count, tell)
    asked, found = (count, port), (len(cluster.nodes), cluster.nodes[0].port)
    if asked != found:
        raise BrokerError(
            f"{folder} was formatted for {_described(*found)}, not for {_described(*asked)}: "
            "ask for what it is, choose another local.dir, or stop it and delete that folder "
            "to begin anew without its records"
        )
    return cluster


def _described(count: int, port: int) -> str:
    return f"{count} node{'s' if count > 1 else ''} from port {port} up"


def _format(folder: Path, port: int, count: int, tell: Callable[[str], None]) -> Cluster:
    if folder.exists() and any(folder.iterdir()):
        raise BrokerError(
            f"{folder} holds files but no cluster.json: move them away, or choose another local.dir"
        )
    if "," in str(folder):
        raise BrokerError(f"Kafka takes no comma in a path ({folder}): choose another local.dir")
    cluster = new_cluster(port, count, port_is_free)
    java, jars = find_java(), ensure_jars(tell)
    tell(f"formatting {_described(count, port)}")
    aside = folder.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    tool = [java, "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", FORMAT_CLASS, "format"]
    voters = ["--initial-controllers", cluster.initial_controllers]
    commands = []
    for node in cluster.nodes:
        files = NodeFiles(aside / f"node-{node.node_id}")
        files.write(cluster, node)
        config = ["--config", str(files.properties), "--cluster-id", cluster.cluster_id]
        commands.append([*tool, *config, *voters])
    _run_together(commands)
    readable = msgspec.json.format(msgspec.json.encode(cluster)) + b"\n"
    (aside / "cluster.json").write_bytes(readable)
    aside.rename(folder)
    return cluster


def _run_together(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands side by side; raises BrokerError with the output of one that failed."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            running.append(
                subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=subprocess.STDOUT)
            )
        for process in running:
            output, _ = process.communicate(timeout=FORMAT_TIMEOUT_SECS)
            if process.returncode != 0:
                text = output.decode(errors="replace").strip()
                raise BrokerError(f"formatting the broker's folder failed: {text}")
    except subprocess.TimeoutExpired as error:
        raise BrokerError(
            f"formatting the broker's folder took more than {FORMAT_TIMEOUT_SECS:g} s"
        ) from error
    finally:
        for process in running:
            process.kill()
            process.communicate()
