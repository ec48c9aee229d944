"""docs/PROVIDERS.md is held to the packs: each has its section, each configuration works."""

import re
from pathlib import Path

import pytest

from hookmill.config.load import load
from hookmill.providers.endpoint import build
from hookmill.providers.registry import PACKS

PAGE = (Path(__file__).parents[2] / "docs" / "PROVIDERS.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_every_pack_has_its_section() -> None:
    """And no section is about a pack that is not there."""
    assert sorted(SECTIONS) == sorted(PACKS)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_configuration_to_paste_works(name: str, tmp_path: Path) -> None:
    """It loads, and the pack takes its options."""
    [toml] = re.findall(r"```toml\n(.*?)```", SECTIONS[name], re.DOTALL)
    path = tmp_path / "hookmill.toml"
    path.write_text(toml)
    [(endpoint, configured)] = load(path, {}).endpoints.items()

    assert build(endpoint, configured).pack.name == name
