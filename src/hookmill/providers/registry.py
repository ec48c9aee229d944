"""The list of provider packs; a new one is one module and one line here."""

import difflib

from hookmill.core.errors import ConfigurationError
from hookmill.providers.echezona import Echezona
from hookmill.providers.pack import Pack
from hookmill.providers.pay3 import Pay3
from hookmill.providers.rehive import Rehive
from hookmill.providers.yoco import Yoco

PACKS: dict[str, Pack] = {pack.name: pack for pack in (Rehive(), Echezona(), Pay3(), Yoco())}


def pack_named(name: str) -> Pack:
    """The pack of that name; raises ConfigurationError that names the nearest one."""
    try:
        return PACKS[name]
    except KeyError:
        near = difflib.get_close_matches(name, PACKS, n=1)
        hint = f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(PACKS))}"
        raise ConfigurationError(f"no provider pack is called '{name}'{hint}") from None
