"""The guide for handler authors is true: its files are written, its tests and commands are run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hookmill.handlers import DeadLetter, Retry
from hookmill.telemetry import catalog
from hookmill.testing import event_from
from support.guide import ROOT, Block, Reader, blocks

GUIDE = "docs/guides/write-a-handler.md"
TEXT = (ROOT / GUIDE).read_text()
BLOCKS = blocks(GUIDE)
NEEDS_A_BROKER = {"Run it", "Look after it"}
"""What stands there is run by the system tests."""


def test_the_guide_can_be_followed(tmp_path: Path) -> None:
    """From an empty folder to a handler with tests that pass, in the order of the page."""
    reader = Reader(tmp_path)
    printed = []
    for block in BLOCKS:
        if block.file is not None:
            reader.write(block)
        elif block.kind == "console" and block.section not in NEEDS_A_BROKER:
            printed += [reader.run(words) for words in block.commands]

    assert re.search(r"^(\d+) passed", printed[-1], re.M), printed
    assert {path.name for path in tmp_path.rglob("*.*") if path.is_file()} >= {
        "orders.py", "hookmill.toml", "test_orders.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return found.rowcount == 1", "return True"),
        ("int(row[0]) < minor:", "(minor := minor + int(row[0])):"),
    ],
)
def test_the_tests_of_the_guide_can_fail(tmp_path: Path, right: str, wrong: str) -> None:
    """A handler that forgets the key, or adds amounts up, is found out."""
    reader = Reader(tmp_path)
    for block in BLOCKS:
        if block.file is not None:
            reader.write(block)
    module = tmp_path / "shop" / "orders.py"
    source = module.read_text()
    assert right in source
    module.write_text(source.replace(right, wrong))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"], cwd=tmp_path, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    assert " failed" in done.stdout


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.kind == "json"])
def test_the_event_it_shows_is_one(block: Block) -> None:
    """By the same decoder that handlers' events go through."""
    assert event_from(block.text).type == "payment.succeeded"


def test_the_answers_it_shows_are_answers() -> None:
    """What is only shown, and is no file, runs too."""
    shown = [each for each in BLOCKS if each.kind == "python" and each.file is None]
    names: dict[str, object] = {}
    for block in shown:
        exec(block.text, names)

    assert len(shown) == 1
    assert names["done"] is None
    assert names["everyone"] == Retry("database_away", in_place=True)
    assert names["hopeless"] == DeadLetter("unknown_order", "order o-17 is not ours")


def test_what_it_says_to_look_at_is_there() -> None:
    """Metrics and log lines by the names that the catalog has."""
    metrics = set(re.findall(r"`(hookmill_\w+)`", TEXT))
    exposed = {each.name for each in catalog.REGISTRY.collect()}
    table = TEXT.partition("| log line |")[2].partition("\n\n")[0]
    said = set(re.findall(r"^\| `(\w+)`", table, re.M))

    assert len(metrics) > 4
    assert {each.removesuffix("_total") for each in metrics} <= exposed
    assert len(said) > 2
    assert said <= set(catalog.EVENTS)
