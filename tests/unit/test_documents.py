"""Documents name only what is there: paths, make targets, commands."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for folder in (ROOT, ROOT / "docs", ROOT / "deploy", ROOT / "examples")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)
WITH_PATHS = [
    Path("CONTRIBUTING.md"), Path("SECURITY.md"), Path("docs/ARCHITECTURE.md"),
    Path("docs/GUARANTEES.md"), Path("docs/guides/read-events.md"),
]  # fmt: skip
TOP = (".ci", "deploy", "docs", "examples", "schemas", "src", "tests")
HELP_SECS_MAX = 60

FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FILE = re.compile(r"[\w-]+\.(?:lock|md|py|toml|yml)")
MAKE = re.compile(r"^\W*make ((?:[a-z][a-z-]*(?: |$))+)")
COMMAND = re.compile(r"(?<![\w/.=-])(?:\.venv/bin/)?hookmill ([a-z]+)(?: ([a-z]+))?(?![\w.=:/-])")
BREAKS = re.compile(r"[|&;#\n]")


def code(document: Path) -> list[str]:
    """What the document sets as code: lines of its blocks, and spans in its text."""
    text = (ROOT / document).read_text()
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    return [part for each in [*lines, *SPAN.findall(FENCED.sub("", text))]
            for part in BREAKS.split(each)]  # fmt: skip


def paths(document: Path) -> list[str]:
    """What the document names in the tree: paths from its top, plain file names, and its links."""
    words = [word.rstrip(".,:") for each in code(document) for word in each.split()]
    links = LINK.findall((ROOT / document).read_text())
    named = [word for word in words if word.split("/")[0] in TOP and "NAME" not in word]
    files = [word for word in words if FILE.fullmatch(word)]
    return named + files + [link for link in links if "://" not in link]


def is_there(path: str) -> bool:
    """Whether it is in the tree; a module may be named without its folder."""
    return (ROOT / path).exists() or (path.endswith(".py") and any((ROOT / "src").rglob(path)))


@cache
def targets() -> set[str]:
    """The targets that the Makefile has."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def help_of(command: str) -> str | None:
    """What `hookmill COMMAND --help` prints; None if there is no such command."""
    result = subprocess.run(
        [sys.executable, "-m", "hookmill", command, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"},
        timeout=HELP_SECS_MAX,
    )
    return result.stdout if result.returncode == 0 else None


def exists(command: str, sub: str | None) -> bool:
    """Whether hookmill has the command, and, where it is a group, the word after it."""
    text = help_of(command)
    if text is None:
        return False
    is_group = "COMMAND [ARGS]" in text
    return sub is None or not is_group or re.search(rf"^\W*{sub}\s", text, re.MULTILINE) is not None


@pytest.mark.parametrize("document", WITH_PATHS, ids=str)
def test_a_path_in_a_document_exists(document: Path) -> None:
    """Moving a file breaks the page that points at it."""
    found = paths(document)

    assert found, "the test has lost sight of the paths"
    assert [path for path in found if not is_there(path)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_a_make_target_in_a_document_exists(document: Path) -> None:
    """`make X` can be typed as it stands."""
    named = {word for each in code(document) for run in MAKE.findall(each) for word in run.split()}

    assert set() == named - targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_a_command_in_a_document_exists(document: Path) -> None:
    """`hookmill X` is a command, and `hookmill X Y` one of its group X."""
    named = {found for each in code(document) for found in COMMAND.findall(each)}

    assert [each for each in sorted(named) if not exists(each[0], each[1] or None)] == []


def test_the_table_of_the_tree_names_every_folder() -> None:
    """A new folder of the source or the tests must say what belongs there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = [
        path.relative_to(ROOT)
        for parent in (ROOT / "src/hookmill", ROOT / "tests")
        for path in parent.iterdir()
        if path.is_dir() and any(path.glob("*.*"))
    ]

    assert [str(each) for each in sorted(folders) if f"`{each}/`" not in text] == []
