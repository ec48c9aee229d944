"""On which line of a TOML file a key stands: tomllib does not tell, and an error must.

No parser for Python keeps it in public either (python-poetry/tomlkit#55). This one only finds keys
again in a text that tomllib has read, so it refuses nothing and makes no values.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable

Keys = tuple[str | int, ...]
"""The way to a value: keys of tables and numbers of list elements, `("routes", 0, "name")`."""

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class Lines:
    """The lines, from 1, of everything in a text that tomllib has read."""

    def __init__(self, text: str) -> None:
        self._known = _Scanner(text).run()

    def known(self) -> dict[Keys, int]:
        """The line of every table, key and list element."""
        return dict(self._known)

    def at(self, keys: Keys) -> int | None:
        """Where the keys lead, or as far on that way as the text goes; None if it begins not."""
        ways = (keys[:length] for length in range(len(keys), 0, -1))
        return next((self._known[way] for way in ways if way in self._known), None)

    def named(self, text: str) -> int | None:
        """Where that stands with whose dotted name (`routes[0].name`) the text begins."""
        begins = [way for way in self._known if names(text, dotted(way))]
        return self._known[max(begins, key=len)] if begins else None


def dotted(keys: Keys) -> str:
    """`endpoints.shop.secrets[0]`, as the errors name it."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).removeprefix(".")


def names(text: str, option: str) -> bool:
    """Whether the text begins with the option's name, and not with a longer word."""
    return re.match(re.escape(option) + r"(?![\w-])", text) is not None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[Keys, int] = {}
        self._counts: dict[Keys, int] = {}

    def run(self) -> dict[Keys, int]:
        table: Keys = ()
        self._take(_GAP)
        while self._at < len(self._text):
            if self._sees("["):
                table = self._header()
            else:
                self._entry(table)
            self._take(_GAP)
        return self._lines

    def _header(self) -> Keys:
        """`[a.b]` or `[[a.b]]`: the way that what follows is under, through lists' last tables."""
        line = self._line()
        several = self._skips("[[")
        if not several:
            self._skips("[")
        way: Keys = ()
        *above, last = self._key()
        for part in above:
            way = self._note((*way, part), line)
            way += (self._counts[way] - 1,) if way in self._counts else ()
        way = (*way, last)
        if several:
            self._note(way, line)
            self._counts[way] = self._counts.get(way, 0) + 1
            way += (self._counts[way] - 1,)
        self._lines[way] = line  # over what `[a.b]` above may have said of `a`
        self._skips("]]" if several else "]")
        return way

    def _entry(self, table: Keys) -> None:
        """`a.b = value`."""
        line, way = self._line(), table
        for part in self._key():
            way = self._note((*way, part), line)
        self._skips("=")
        self._take(_BLANK)
        self._value(way)

    def _value(self, way: Keys) -> None:
        if self._skips("["):
            self._elements("]", lambda number: self._value(self._note((*way, number))))
        elif self._skips("{"):
            self._elements("}", lambda number: self._entry(way))
        elif not self._take(_STRING):
            self._take(_SCALAR)

    def _elements(self, end: str, read: Callable[[int], None]) -> None:
        number = 0
        self._take(_GAP)
        while not self._skips(end):
            read(number)
            self._take(_GAP)
            self._skips(",")
            self._take(_GAP)
            number += 1

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._take(_BLANK)
            quoted = self._take(_STRING)
            parts.append(tomllib.loads(f"k = {quoted}")["k"] if quoted else self._take(_BARE))
            self._take(_BLANK)
            if not self._skips("."):
                return parts

    def _note(self, way: Keys, line: int | None = None) -> Keys:
        self._lines.setdefault(way, line or self._line())
        return way

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skips(self, text: str) -> bool:
        found = self._sees(text)
        self._at += len(text) if found else 0
        return found

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""
