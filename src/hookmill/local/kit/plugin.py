"""A pytest plugin: `pytest --hookmill-packs FOLDER` holds every pack in the folder to the kit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OPTION = "--hookmill-packs"
PROBLEMS_SHOWN = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """The folder of one's own packs."""
    parser.addoption(OPTION, default=None, metavar="FOLDER",
                     help="test every hookmill provider pack (*.toml) in this folder")  # fmt: skip


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each pack of the folder."""
    folder = config.getoption(OPTION)
    if folder is None:
        return
    paths = sorted(Path(folder).glob("*.toml"))
    if not paths:
        raise pytest.UsageError(f"{OPTION}: no packs (*.toml) in {folder}")
    items.extend(_tests(session, paths))


class PackTest(pytest.Item):
    """One pack, held to the kit; its fixtures lie in the folder beside it that is called as it."""

    pack_path: Path

    def runtest(self) -> None:
        """Fails with what went otherwise than it must."""
        # Imported here: pytest loads a plugin wherever hookmill is installed, for any tests.
        from hookmill.local.conformance import examine
        from hookmill.providers.registry import own_pack

        path = self.pack_path
        beside = path.with_suffix("")
        found = examine(own_pack(path), fixtures=beside if beside.is_dir() else None)
        if found.problems:
            pytest.fail("\n".join(found.problems[:PROBLEMS_SHOWN]), pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is told to be."""
        return self.pack_path, None, f"pack {self.name}"


def _tests(session: pytest.Session, paths: list[Path]) -> Iterator[PackTest]:
    for path in paths:
        made: Any = PackTest.from_parent(session, name=path.stem)
        made.pack_path = path
        yield made
