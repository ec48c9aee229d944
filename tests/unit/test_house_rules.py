"""The rules of this house, held by a test: sizes, docstrings, clocks, and no float near money."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "hookmill"
MODULES = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
NEAR_MONEY = [
    name
    for name in MODULES
    if name == "core/money.py" or name.startswith(("providers/", "stages/"))
]

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SUMMARY_CHARS_MAX = 100

MAY_READ_THE_CLOCK = {
    "bench/floor_ingress.py",  # a program of its own, plain on purpose
    "cli/setup.py",  # `now_us`, which is handed to whoever needs the time
    "kafka/member.py",  # the age of a record, for the lag
}
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today",
          "date.today", "time.gmtime", "time.localtime"}  # fmt: skip

SKIPPED_FOLDERS = {
    ".git", ".venv", ".hookmill", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache",
    ".import_linter_cache", "__pycache__", "dist", "node_modules",
}  # fmt: skip
OUTSIDE = ["/" + "work/", "sha" + "red/"]
"""Folders of the machine that this was written on; put together, so that this file has neither."""
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "XX" + "X:"]


def files_of_the_repository() -> Iterator[Path]:
    """Every file that is not made by a tool."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS and not name.endswith(".egg-info")
        ]
        yield from (Path(folder) / name for name in names if not name.endswith(".pyc"))


def mentions(*texts: str, under: Path = ROOT) -> list[str]:
    """Where any of the texts stands, as `path:line`."""
    found = []
    for path in files_of_the_repository():
        if not path.is_relative_to(under) or not path.is_file():
            continue
        content = path.read_bytes()
        if not any(text.encode() in content for text in texts):
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
            if any(text in line for text in texts):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    return found


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_source_is_found() -> None:
    """Else every rule would hold of nothing."""
    assert {"pipeline.py", "core/money.py", "stages/dedup.py"} <= set(MODULES)
    assert len(NEAR_MONEY) > 10


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_in_one_line_what_it_is(name: str) -> None:
    """The first line of its docstring is a whole sentence that fits on a line."""
    summary = (ast.get_docstring(TREES[name]) or "").partition("\n")[0]

    assert summary, "no docstring"
    assert summary[-1] in ".!?:", summary
    assert len(summary) <= SUMMARY_CHARS_MAX


def test_public_things_have_docstrings() -> None:
    """Modules are read from the outside first; what starts with an underscore is inside."""
    bare = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]

    assert bare == []


def test_no_module_is_too_long() -> None:
    """What is longer has two subjects."""
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}

    assert {name: count for name, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    """A function fits on a screen."""
    lines = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in TREES.items()
        for node in functions(tree)
    }

    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("name", NEAR_MONEY)
def test_no_float_comes_near_money(name: str) -> None:
    """No call of float, no literal but seconds of a deadline, no true division, no rounding."""
    tree = TREES[name]
    secs = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        .lower()
        .endswith("_secs")
        for part in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="float" | "round")):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.Constant(value=float()) if id(node) not in secs:
                found.append(f"{node.lineno}: {node.value}")
            case ast.BinOp(op=ast.Div()):
                found.append(f"{node.lineno}: {ast.unparse(node)}")

    assert found == []


def test_the_clock_is_read_in_few_places() -> None:
    """Everything else is handed the time, so that tests can move it."""
    readers = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS)
        or (isinstance(node, ast.Attribute) and ast.unparse(node).endswith("datetime.now"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and {each.name for each in node.names} & {"time", "time_ns", "gmtime", "localtime"}
        )
    }

    assert readers == MAY_READ_THE_CLOCK


def test_no_error_is_passed_over_in_silence() -> None:
    """An `except` that only passes hides what nobody thought of; `suppress` names what it is."""
    silent = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or all(isinstance(each, ast.Pass) for each in node.body))
    ]

    assert silent == []


def test_nothing_is_left_for_later() -> None:
    """What is not done is in an issue or not planned."""
    assert mentions(*UNFINISHED, under=ROOT / "src") == []
    assert mentions(*UNFINISHED, under=ROOT / "tests") == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """The repository stands for itself wherever it is."""
    assert mentions(*OUTSIDE) == []
