"""A guide as a reader follows it: files are written where it says, commands typed as they stand."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^(?:## (?P<section>[^\n]+)|```(?P<kind>\w+)\n(?P<text>.*?)^```)$", re.M | re.S
)
_FILE = re.compile(r"# (\S+/\S+|\S+\.toml)\n")


class Block(NamedTuple):
    """A fenced block: the section it stands in, its language, its text."""

    section: str
    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the first line says it is; None for what is only shown."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def commands(self) -> list[list[str]]:
        """What is typed, word by word, without comments."""
        lines = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [shlex.split(line, comments=True) for line in lines]


def blocks(guide: str) -> list[Block]:
    """Every block in its order."""
    return list(_blocks((ROOT / guide).read_text()))


def _blocks(text: str) -> Iterator[Block]:
    section = ""
    for found in _BLOCK.finditer(text):
        if found["section"]:
            section = found["section"]
        else:
            yield Block(section, found["kind"], found["text"])


class Reader:
    """Someone who does what the guide says, in a folder and with an environment of their own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, **environ}

    def write(self, block: Block) -> None:
        """Make the file that the block is."""
        assert block.file is not None
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def program(self, words: list[str]) -> list[str]:
        """The command, by this interpreter."""
        assert words[0] in ("hookmill", "python"), words
        rest = ["-m", *words] if words[0] == "hookmill" else words[1:]
        return [sys.executable, *rest]

    def run(self, words: list[str]) -> str:
        """Type a command and wait for its end; what it printed."""
        if words[0] == "export":
            self.environ |= dict(word.split("=", 1) for word in words[1:])
            return ""
        done = subprocess.run(
            self.program(words), cwd=self.folder, env=self.environ, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout
