"""Finds the provider packs: those that hookmill brings, and a team's own in a folder of theirs.

A built-in pack is a file in `packs/`: `NAME.toml`, or `NAME.py` with `PACK`, which may read the
TOML file beside it. Nothing else lists them. They are read when one is asked for the first time.
"""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from hookmill.core.errors import ConfigurationError
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.echezona import Echezona
from hookmill.providers.loading import read
from hookmill.providers.pack import Pack
from hookmill.providers.pay3 import Pay3
from hookmill.providers.rehive import Rehive

FOLDER = Path(__file__).with_name("packs")


class Packs(Mapping[str, Pack]):
    """Packs by name; the built-in ones are read when they are first looked at."""

    def __init__(self, own: Mapping[str, Pack] | None = None, folder: Path | None = None) -> None:
        self._own = own or {}
        self.folder = folder

    def __getitem__(self, name: str) -> Pack:
        return self._own[name] if name in self._own else _built_in()[name]

    def __iter__(self) -> Iterator[str]:
        yield from _built_in()
        yield from self._own

    def __len__(self) -> int:
        return len(_built_in()) + len(self._own)


PACKS = Packs()
"""The packs that hookmill brings."""


def all_packs(folder: Path | None) -> Packs:
    """The built-in packs and those of a folder; raises ConfigurationError for one that is broken,
    or called as another."""
    if folder is None:
        return PACKS
    if not folder.is_dir():
        raise ConfigurationError(f"providers.dir: there is no folder {folder}")
    own: dict[str, Pack] = {}
    for path in sorted(folder.glob("*.toml")):
        pack = own_pack(path)
        if pack.name in PACKS or pack.name in own:
            whose = "hookmill's own" if pack.name in PACKS else "another file's"
            raise ConfigurationError(
                f"{path}: name: '{pack.name}' is {whose} pack; choose another name"
            )
        own[pack.name] = pack
    return Packs(own, folder)


def own_pack(path: Path) -> Pack:
    """The pack in a team's own file; raises ConfigurationError that says what to mend."""
    return DeclaredPack(read(path))


def pack_named(name: str, packs: Mapping[str, Pack] = PACKS) -> Pack:
    """The pack of that name; raises ConfigurationError that names the nearest one."""
    try:
        return packs[name]
    except KeyError:
        near = difflib.get_close_matches(name, packs, n=1)
        hint = f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(packs))}"
        raise ConfigurationError(f"no provider pack is called '{name}'{hint}") from None


@cache
def _built_in() -> dict[str, Pack]:
    found: dict[str, Pack] = {each.name: each for each in (Rehive(), Echezona(), Pay3())}
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    for name in sorted(modules):
        pack = import_module(f"hookmill.providers.packs.{name}").PACK
        found[pack.name] = pack
    for path in sorted(FOLDER.glob("*.toml")):
        if path.stem not in modules:
            pack = own_pack(path)
            found[pack.name] = pack
    return found
