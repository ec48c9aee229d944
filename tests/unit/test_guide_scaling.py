"""docs/guides/scaling.md typed as it stands: what it shows is what the command says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hookmill.cli.main import application
from support.guide import ROOT, Block, blocks

GUIDE = "docs/guides/scaling.md"
BLOCKS = blocks(GUIDE)
TYPED = [each for each in BLOCKS if each.kind == "console"]
DAY = ["scaling", "--shape", "day", "--peak", "150000"]
ROWS = re.findall(
    r"^\| .+: `([^`]+)` \| (\d+) s \| (\d+) s \| (\d+) \| ([\d.]+) \|$",
    (ROOT / GUIDE).read_text(),
    re.MULTILINE,
)
TOLD = re.compile(
    r"oldest (\d+) s, above 30 s for (\d+) s; .* replicas, ([\d.]+) replica-hours, (\d+) rebalances"
)


def run(arguments: list[str]) -> tuple[str, str]:
    """What the command prints, as data and beside it, without blanks at the ends of lines."""
    done = CliRunner().invoke(application(), arguments)
    assert done.exception is None, done.exception
    out, err = (
        "\n".join(map(str.rstrip, text.splitlines())) for text in (done.stdout, done.stderr)
    )
    return out, err


@pytest.mark.parametrize("block", TYPED, ids=lambda block: block.text.splitlines()[0][2:])
def test_each_command_says_what_the_guide_shows(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its summary to the figure, its table where one is shown, and its picture byte for byte."""
    monkeypatch.chdir(tmp_path)
    (curve,) = (each.text for each in BLOCKS if each.kind == "csv")
    Path("curve.csv").write_text(curve)
    typed, *shown = block.text.splitlines()
    words = shlex.split(typed)

    out, err = run(words[2:])

    assert words[:2] == ["$", "hookmill"]
    assert shown[-1] == err
    assert shown[:-1] in ([], out.splitlines())
    for picture in tmp_path.glob("*.svg"):
        kept = ROOT / "docs/guides/images" / picture.name
        assert picture.read_bytes() == kept.read_bytes()


def test_the_table_of_other_rules_is_theirs() -> None:
    """Each row names its options: the same day, and what comes of it."""
    assert len(ROWS) == 4
    for options, *figures in ROWS:
        _, err = run([*DAY, *shlex.split(options)])
        found = TOLD.match(err)

        assert found is not None
        oldest, above, hours, rebalances = found.groups()
        assert figures == [oldest, above, rebalances, hours], options


def test_every_picture_is_shown() -> None:
    """None lies there for nothing, none is missing."""
    shown = set(re.findall(r"\]\(images/([^)]+)\)", (ROOT / GUIDE).read_text()))

    assert shown == {path.name for path in (ROOT / "docs/guides/images").glob("scaling-*")}
