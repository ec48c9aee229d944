"""docs/providers/ is made from the packs: each has its page, each configuration works."""

import re
from pathlib import Path

import pytest

from hookmill.config.load import load
from hookmill.providers.endpoint import build
from hookmill.providers.page import duration, page
from hookmill.providers.registry import PACKS

FOLDER = Path(__file__).parents[2] / "docs" / "providers"


def test_every_pack_has_its_page() -> None:
    """And no page is about a pack that is not there."""
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(PACKS)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_a_page_is_what_the_pack_says(name: str) -> None:
    """`hookmill providers show NAME --markdown > docs/providers/NAME.md` makes it anew."""
    assert (FOLDER / f"{name}.md").read_text() == page(PACKS[name])


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_configuration_to_paste_works(name: str, tmp_path: Path) -> None:
    """It loads, and the pack takes its options."""
    [toml] = re.findall(r"```toml\n(.*?)```", page(PACKS[name]), re.DOTALL)
    path = tmp_path / "hookmill.toml"
    path.write_text(toml)
    [(endpoint, configured)] = load(path, {}).endpoints.items()

    assert build(endpoint, configured).pack.name == name


@pytest.mark.parametrize(
    ("secs", "text"),
    [(0, "0 s"), (45, "45 s"), (300, "5 min"), (99_300, "1 d 3 h 35 min"), (172_800, "2 d")],
)
def test_a_duration_is_said_as_people_say_it(secs: int, text: str) -> None:
    """The units that are not nothing."""
    assert duration(secs) == text
