"""Which rules of the route table can add nothing, decided over what each of them can take.

A rule is idle when another takes every event that it takes and names all its handlers. Only what
is certain counts: a file or a function that is asked of metadata may say anything, and an event
may come from an endpoint that is configured no more.
"""

from collections.abc import Iterable, Mapping
from itertools import permutations, product

import msgspec

from hookmill.config.options import AmountMatch, Match, MetadataMatch, Route
from hookmill.core.event import MODES_UNASKED, STATUSES, TYPES, type_pattern

Place = tuple[str, str]
"""An endpoint and its provider."""
_OTHER = ""
"""What no rule can name."""


def idle_rules(rules: Mapping[int, Route], providers: Mapping[str, str]) -> dict[int, int]:
    """The rules that add nothing, by number, each with one that makes it so and is not idle.

    `providers` has each endpoint's. No rule may contradict itself. Of rules that do the same the
    first stays.
    """
    places = [*providers.items(), *((_OTHER, each) for each in {_OTHER, *providers.values()})]
    takings = {number: taking(rule.match, places) for number, rule in rules.items()}
    handlers = {number: set(rule.handlers) for number, rule in rules.items()}

    def does_all_of(by: int, number: int) -> bool:
        return handlers[number] <= handlers[by] and takings[by].covers(takings[number])

    idle: dict[int, int] = {}
    for number, by in permutations(rules, 2):
        first = by < number or not does_all_of(number, by)
        if number not in idle and first and does_all_of(by, number):
            idle[number] = by
    return {number: _stays(idle, by) for number, by in idle.items()}


def _stays(idle: Mapping[int, int], number: int) -> int:
    """The first on the way that is not idle: what covers is covered by nothing it covers."""
    while number in idle:
        number = idle[number]
    return number


def several(value: tuple[str, ...] | str) -> tuple[str, ...]:
    """One or several words of a match as several."""
    return (value,) if isinstance(value, str) else value


def types_of(kinds: Iterable[str], patterns: Iterable[str]) -> frozenset[str]:
    """The types of these kinds that fit a pattern; no kinds and no patterns mean all."""
    kinds, patterns = tuple(kinds) or tuple(STATUSES), tuple(patterns) or ("*",)
    return frozenset(
        each
        for each in TYPES
        if each.partition(".")[0] in kinds
        and any(type_pattern(text).fullmatch(each) for text in patterns)
    )


class Values(msgspec.Struct, frozen=True):
    """Metadata values, None for an absent key: exactly these, or with `but` all except these."""

    those: frozenset[str | None]
    but: bool = False

    def within(self, other: "Values") -> bool:
        """Whether the other has each of these. What is not listed is never finite."""
        match self.but, other.but:
            case False, False:
                return self.those <= other.those
            case False, True:
                return self.those.isdisjoint(other.those)
            case True, True:
                return other.those <= self.those
            case _:
                return False


ALL = Values(frozenset(), but=True)
NONE = Values(frozenset())
THERE = Values(frozenset([None]), but=True)
ABSENT = Values(frozenset([None]))


class Taking(msgspec.Struct, frozen=True):
    """What a rule takes, as sets that can be compared."""

    types: frozenset[str]
    places: frozenset[tuple[Place, str]]
    """Where from, and in which mode."""
    amount: AmountMatch | None
    at_most: Mapping[str, Values]
    """The metadata values that may fit; of a key that is not here, any."""
    at_least: Mapping[str, Values]
    """The metadata values that certainly fit."""

    def covers(self, other: "Taking") -> bool:
        """Whether it certainly takes every event that the other may take."""
        return (
            other.types <= self.types
            and other.places <= self.places
            and _amounts_within(other.amount, self.amount)
            and all(
                other.at_most.get(key, ALL).within(certain)
                for key, certain in self.at_least.items()
            )
        )


def taking(match: Match, places: Iterable[Place]) -> Taking:
    """What such a match takes of the events from these places."""
    endpoints, providers = several(match.endpoint), several(match.provider)
    taken = [
        (endpoint, provider)
        for endpoint, provider in places
        if (not endpoints or endpoint in endpoints) and (not providers or provider in providers)
    ]
    return Taking(
        types=types_of(several(match.kind), several(match.type)),
        places=frozenset(product(taken, several(match.mode) or MODES_UNASKED)),
        amount=match.amount,
        at_most={key: _values(each, THERE) for key, each in match.metadata.items()},
        at_least={key: _values(each, NONE) for key, each in match.metadata.items()},
    )


def _values(condition: str | MetadataMatch, opaque: Values) -> Values:
    if isinstance(condition, str):
        return Values(frozenset([condition]))
    if condition.exists is not None:
        return THERE if condition.exists else ABSENT
    if condition.one_of is not None:
        return Values(frozenset(condition.one_of))
    return opaque


def _amounts_within(inner: AmountMatch | None, outer: AmountMatch | None) -> bool:
    if outer is None:
        return True
    if inner is None or (inner.currency, inner.exponent) != (outer.currency, outer.exponent):
        return False
    return (outer.min is None or (inner.min is not None and int(outer.min) <= int(inner.min))) and (
        outer.max is None or (inner.max is not None and int(inner.max) <= int(outer.max))
    )
