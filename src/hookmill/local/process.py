"""One node's Java process: started detached, recognised for certain, and ended.

A pid file is only a hint, because the system gives numbers out again. A process counts as ours
when its command line is that of Kafka with this very node's settings file.
"""

import os
import signal
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path

from hookmill.local.nodes import NodeFiles
from hookmill.local.waiting import wait_until

HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
QUIET = ("-Djava.awt.headless=true", "-XX:-UsePerfData")
MAIN_CLASS = "kafka.Kafka"
RECOGNISED_TIMEOUT_SECS = 5.0
QUOTED_LINES_MAX = 12

# Children of this very process by pid, with their settings file: known without a look at the
# system, their number is not given out again before we have waited for them.
_children: dict[int, Path] = {}


def start_java(java: str, jars: Path, files: NodeFiles) -> int:
    """Start the node in a session of its own, write its pid file, and return its pid."""
    command = [
        java,
        *HEAP,
        *QUIET,
        f"-XX:ErrorFile={files.logs}/java_error.log",
        f"-Dhookmill.logs={files.logs}",
        f"-Dlog4j2.configurationFile={files.logging.as_uri()}",
        "-cp",
        f"{jars}/*",
        MAIN_CLASS,
        str(files.properties),
    ]
    if files.console_log.exists():
        files.console_log.replace(files.console_log.with_suffix(".previous.log"))
    console = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        java,
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(files.console_log), console, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
    )
    _children[pid] = files.properties
    # Others go by the command line, which the system shows only a moment after the start.
    wait_until(
        lambda: is_node(_command_line(pid), files) or not _is_child(pid, files),
        timeout_secs=RECOGNISED_TIMEOUT_SECS,
    )
    files.pid.write_text(f"{pid}\n", encoding="ascii")
    return pid


def running_pid(files: NodeFiles) -> int | None:
    """Return the pid of the node's process if it runs, None if it does not."""
    try:
        pid = int(files.pid.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if _is_child(pid, files) or is_node(_command_line(pid), files) else None


def has_ended(pid: int, files: NodeFiles) -> bool:
    """Say whether the node's process that had this pid is wholly gone, its ports with it.

    A dying process loses its command line first, and its ports only with its last thread.
    """
    if _is_child(pid, files):
        return False
    line = _command_line(pid)
    if line:
        return not is_node(line, files)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return True
    state, threads = fields[0], int(fields[17])
    return state == "Z" and threads <= 1


def send_signal(files: NodeFiles, number: signal.Signals) -> int | None:
    """Send the signal to the node's process, and to no other; return its pid if it runs."""
    pid = running_pid(files)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return pid


def is_node(command_line: str, files: NodeFiles) -> bool:
    """Say whether this is the command line of the node whose files these are."""
    return command_line.endswith(f" {MAIN_CLASS} {files.properties}")


def last_words(files: NodeFiles) -> str:
    """What the node said last, and where: its errors, or else the end of its log."""
    for log in (files.console_log, files.server_log):
        lines = _last_lines(log)
        if lines:
            return f"the last lines of {log}:\n" + "\n".join(f"  {line}" for line in lines)
    return f"it left nothing in {files.logs}"


def _last_lines(log: Path) -> list[str]:
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            telling = (line.rstrip() for line in lines if not _is_stack_frame(line))
            return list(deque(telling, maxlen=QUOTED_LINES_MAX))
    except OSError:
        return []


def _is_stack_frame(line: str) -> bool:
    return line.lstrip().startswith(("at ", "... "))


def _is_child(pid: int, files: NodeFiles) -> bool:
    """Say whether this is our own child for the node, still alive; takes its status if it ended."""
    if _children.get(pid) != files.properties:
        return False
    try:
        alive = os.waitpid(pid, os.WNOHANG)[0] != pid
    except ChildProcessError:
        alive = False
    if not alive:
        _children.pop(pid, None)
    return alive


def _command_line(pid: int) -> str:
    """The process's arguments with spaces between them; empty if it is gone or not to be seen."""
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return os.fsdecode(raw.rstrip(b"\0").replace(b"\0", b" "))
    try:
        shown = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False
        )
    except OSError:
        return ""
    return os.fsdecode(shown.stdout).rstrip("\n")
