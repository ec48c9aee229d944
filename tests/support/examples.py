"""Builds and runs the programs in `examples/consumers/`, wherever their toolchains are."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "consumers"
BUILT = ROOT / ".hookmill" / "examples"
BUILD_SECS_MAX = 540
MADE_BY_TOOLS = shutil.ignore_patterns("node_modules", "dist", "target", "__pycache__", "*.db")

BUILDS = {
    "java": [["mvn", "-q", "-B", "-Dstyle.color=never", "package"]],
    "go": [["go", "vet", "."], ["go", "build", "-o", "billing", "."]],
    "typescript": [["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]],
}
STARTS = {
    "java": ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
             "target/billing-1.jar:target/dependency/*", "billing.Billing"],
    "go": ["./billing"],
    "typescript": ["node", "dist/consumer.js"],
    "python": [sys.executable, "consumer.py"],
}  # fmt: skip
LANGUAGES = tuple(STARTS)


def built(language: str) -> Path:
    """The folder where that example is ready to run; skips the test where it cannot be built.

    It is built once for what its files are: with the ordinary client of its language, from the
    versions that its lock file names.
    """
    if language == "python":
        return EXAMPLES / language
    skip_without_toolchain(language)
    files = sorted(each for each in sources(language) if each.is_file())
    content = b"".join(str(each).encode() + each.read_bytes() for each in files)
    folder = BUILT / f"{language}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not folder.is_dir():
        BUILT.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=BUILT)) / language
        shutil.copytree(EXAMPLES / language, partial, ignore=MADE_BY_TOOLS)
        for command in BUILDS[language]:
            done = subprocess.run(
                command, cwd=partial, env={**os.environ, "GOTOOLCHAIN": "local"}, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=BUILD_SECS_MAX, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        partial.rename(folder)
        partial.parent.rmdir()
    return folder


def sources(language: str) -> list[Path]:
    """What the example consists of, without what its tools made."""
    tools = {"node_modules", "dist", "target"}
    return [
        each
        for each in (EXAMPLES / language).rglob("*")
        if not tools & set(each.relative_to(EXAMPLES).parts)
    ]


def skip_without_toolchain(language: str) -> None:
    """Skip the test, and say what would have to be there."""
    match language:
        case "java":
            wants, reason = ["javac", "mvn"], "a JDK 17 or newer and Maven"
            enough = all(map(shutil.which, wants)) and version("javac", "-version") >= (17,)
        case "go":
            [least] = re.findall(r"^go (\S+)$", (EXAMPLES / "go/go.mod").read_text(), re.MULTILINE)
            reason = f"Go {least} or newer"
            enough = shutil.which("go") is not None and version("go", "version") >= numbers(least)
        case _:
            reason = "Node 20 or newer and npm"
            enough = all(map(shutil.which, ["node", "npm"])) and version("node", "-v") >= (20,)
    if not enough:
        pytest.skip(f"the example in {language} needs {reason}")


def version(*command: str) -> tuple[int, ...]:
    """The version that a tool says it has."""
    environ = {**os.environ, "GOTOOLCHAIN": "local"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return numbers(said.stdout + said.stderr)


def numbers(text: str) -> tuple[int, ...]:
    """The first dotted number in a text."""
    found = re.search(r"\d+(\.\d+)*", text)
    assert found, text
    return tuple(int(each) for each in found[0].split("."))


def start(language: str, folder: Path, output: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Start the example."""
    return run(STARTS[language], folder, output, **settings)


def run(command: list[str], folder: Path, output: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Start a program; what it says goes to `output` with `.out` and `.err` at the end.

    It can be interrupted, also where a shell has put the tests into the background.
    """
    with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
