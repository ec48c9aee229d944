"""The guide to routes runs: its files are written, its commands print what it shows."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookmill.cli.main import main

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "route-events.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+)\n")
BLOCKS = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))


def commands(block: str) -> Iterator[tuple[list[str], str]]:
    """Each command of a console block, and what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield shlex.split(line), output


def columns(text: str) -> list[list[str]]:
    """Lines as their words: how wide a table's columns are is not what the guide is about."""
    return [line.split() for line in text.splitlines() if line.strip()]


def test_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From top to bottom, in one folder."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.upper().startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)
    ran = 0
    for language, block in BLOCKS:
        if language != "console":
            named = FILE.match(block)
            assert named is not None, block
            Path(named[1]).write_text(block, encoding="utf-8")
            continue
        for words, shown in commands(block):
            if words[0] == "cat":
                Path(words[1]).write_text(shown, encoding="utf-8")
                continue
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit):
                main()
            printed = capsys.readouterr()
            assert columns(printed.err + printed.out) == columns(shown)
            ran += 1

    assert ran == 4
