"""Java and the jars of Apache Kafka: found on this machine, the jars fetched once with Maven."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hookmill.local.errors import BrokerError
from hookmill.local.waiting import exclusive

KAFKA_VERSION = "4.3.1"
JAVA_VERSION_MIN = 17
FETCH_TIMEOUT_SECS = 540.0
JAVA_ANSWER_TIMEOUT_SECS = 20.0
POM = Path(__file__).with_name("pom.xml")


def jars_folder() -> Path:
    """Where the jars of this pom.xml belong, in the user's cache, whether they are there or not."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    fingerprint = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    return root / "hookmill" / f"kafka-{KAFKA_VERSION}-{fingerprint}"


def ensure_jars(progress: Callable[[str], None] = lambda message: None) -> Path:
    """Return the folder of the jars, after fetching them if they are not there yet.

    Raises BrokerError when Maven is missing or cannot fetch them.
    """
    folder = jars_folder()
    if folder.is_dir():
        return folder
    lock = folder.with_name(folder.name + ".lock")
    with exclusive(lock, timeout_secs=FETCH_TIMEOUT_SECS, purpose="fetching the broker's jars"):
        if not folder.is_dir():
            _fetch(folder, progress)
    return folder


def find_java() -> str:
    """Return the path of a Java that can run the broker: JAVA_HOME's, else the one on the PATH.

    Raises BrokerError when there is none or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise BrokerError(f"no java {where}: the local broker needs Java {_HOW_TO_GET_JAVA}")
    try:
        answer = subprocess.run(
            [java, "-version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=JAVA_ANSWER_TIMEOUT_SECS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{java} does not run: {error}") from error
    version = java_version(answer.stderr + answer.stdout)
    if version is None or version < JAVA_VERSION_MIN:
        found = "unknown" if version is None else str(version)
        raise BrokerError(f"{java} is version {found}: needed is Java {_HOW_TO_GET_JAVA}")
    return java


def java_version(answer: str) -> int | None:
    """Read the major version from what `java -version` prints; None if it cannot be read."""
    match = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(match.group(1)) if match else None


_HOW_TO_GET_JAVA = f"{JAVA_VERSION_MIN} or newer (Debian: apt install openjdk-17-jre-headless)"


def _fetch(folder: Path, progress: Callable[[str], None]) -> None:
    """Fetch into a sibling and rename, so that the folder is there only when it is complete."""
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            "no mvn on the PATH: Maven fetches the broker's jars once (Debian: apt install maven)"
        )
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    progress(f"fetching Apache Kafka {KAFKA_VERSION} with Maven, once, about 54 MB")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    options = ["-q", "-B", "-Dstyle.color=never", "-f", str(POM)]
    try:
        result = subprocess.run(
            [maven, *options, *goal],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=FETCH_TIMEOUT_SECS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"Maven did not fetch the broker's jars: {error}") from error
    if result.returncode != 0 or not any(partial.glob("kafka_*.jar")):
        raise BrokerError(
            f"Maven did not fetch the broker's jars (status {result.returncode}): "
            f"{maven_reason(result.stdout)}"
        )
    partial.rename(folder)


def maven_reason(output: str) -> str:
    """Pick the line that says why from what Maven printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("[ERROR]")]
    return (errors or lines or ["it said nothing"])[0].removeprefix("[ERROR] ")


def _main() -> int:
    """`python -m hookmill.local.jars`: fetch what is missing; used by `make setup`."""
    try:
        find_java()
        ensure_jars(lambda text: print(text, file=sys.stderr))
    except BrokerError as error:
        print(f"hookmill: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
