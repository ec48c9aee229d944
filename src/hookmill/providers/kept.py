"""The headers that are kept with a delivery, found when one is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


class Kept(Mapping[str, Sequence[str]]):
    """What `find(*given)` gives. To find them takes 1 µs, and most events are read without."""

    __slots__ = ("_find", "_found", "_given")

    def __init__(self, find: Callable[..., Mapping[str, Sequence[str]]], *given: Any) -> None:
        self._find, self._given = find, given
        self._found: Mapping[str, Sequence[str]] | None = None

    def __getitem__(self, name: str) -> Sequence[str]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Sequence[str]]:
        if self._found is None:
            self._found = self._find(*self._given)
        return self._found
