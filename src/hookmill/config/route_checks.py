"""What the route table must satisfy: names that exist, and rules that can have an effect."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from hookmill.config.lines import Keys
from hookmill.config.options import (
    AmountMatch,
    Configuration,
    Endpoint,
    Match,
    MetadataMatch,
    Route,
)
from hookmill.config.reach import idle_rules, several, types_of
from hookmill.config.shape import nearest
from hookmill.core.event import MODES, MODES_UNASKED, STATUSES, TYPES

CONDITIONS = ("exists", "one_of", "file", "function")
_ENDINGS = dict.fromkeys(f"*.{each.partition('.')[2]}" for each in TYPES)
_PATTERNS = [*TYPES, *(f"{kind}.*" for kind in STATUSES), *_ENDINGS]
_MINOR = re.compile(r"-?[0-9]{1,38}")

ModesOf = Callable[[Endpoint], frozenset[str]]
"""The modes that an endpoint's events can have."""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, in a line, and the keys that lead to it in the file."""

    keys: Keys
    text: str


def route_problems(config: Configuration, modes_of: ModesOf) -> list[Problem]:
    """One for each thing that is wrong with a rule; then, among the good ones, for each idle one.

    Only what is certain: what a file or a function says of metadata is not known.
    """
    found = list(_repeated(config.routes))
    checked = _Checks(config, modes_of)
    good = {}
    for number, route in enumerate(config.routes):
        wrong = list(checked.of(route))
        found += [
            Problem(("routes", number, *keys), f"routes '{route.name}': {text}")
            for keys, text in wrong
        ]
        if not wrong:
            good[number] = route
    providers = {name: each.provider for name, each in config.endpoints.items()}
    for idle, by in idle_rules(good, providers).items():
        name, other = config.routes[idle].name, config.routes[by].name
        text = f"adds nothing: '{other}' takes all that it takes, for all its handlers"
        found.append(Problem(("routes", idle), f"routes '{name}': {text}"))
    return found


Complaint = tuple[Keys, str]


class _Checks:
    def __init__(self, config: Configuration, modes_of: ModesOf) -> None:
        self._handlers = list(config.handlers)
        self._providers = {name: each.provider for name, each in config.endpoints.items()}
        self._modes = {name: modes_of(each) for name, each in config.endpoints.items()}

    def of(self, route: Route) -> Iterator[Complaint]:
        """What is wrong with one rule, each with the keys below it."""
        if not route.handlers:
            yield ("handlers",), "no handlers"
        for number, name in enumerate(route.handlers):
            if name not in self._handlers:
                hint = nearest(name, self._handlers)
                yield ("handlers", number), f"no handler is called '{name}'{hint}"
        words = list(self._of_words(route.match))
        for keys, text in words or self._of_contradictions(route.match):
            yield ("match", *keys), text
        if route.match.amount is not None:
            for keys, text in _of_amount(route.match.amount):
                yield ("match", "amount", *keys), text
        for key, condition in route.match.metadata.items():
            if isinstance(condition, MetadataMatch):
                for keys, text in _of_metadata(condition):
                    yield ("match", "metadata", key, *keys), f"metadata.{key} {text}"

    def _of_words(self, match: Match) -> Iterator[Complaint]:
        """Words that nothing has: they would match nothing for ever, in silence."""
        known: Mapping[str, tuple[str, Iterable[str]]] = {
            "endpoint": ("no endpoint is called", self._providers),
            "provider": ("no endpoint has the provider", sorted(set(self._providers.values()))),
            "mode": ("no event has the mode", MODES),
            "kind": ("no event has the kind", STATUSES),
        }
        for number, pattern in enumerate(several(match.type)):
            if not types_of((), [pattern]):
                text = f"no event has the type '{pattern}'{nearest(pattern, _PATTERNS)}"
                yield ("type", number), text
        for option, (said, words) in known.items():
            for number, word in enumerate(several(getattr(match, option))):
                if word not in words:
                    yield (option, number), f"{said} '{word}'{nearest(word, list(words))}"

    def _of_contradictions(self, match: Match) -> Iterator[Complaint]:
        """Words that exist, but not beside the rule's others."""
        yield from list(_alien_types(match)) or _alien_kinds(match)
        yield from list(self._alien_endpoints(match)) or self._alien_providers(match)
        yield from self._of_modes(match)

    def _alien_endpoints(self, match: Match) -> Iterator[Complaint]:
        providers = several(match.provider)
        for number, name in enumerate(several(match.endpoint)):
            if providers and self._providers[name] not in providers:
                text = f"endpoint '{name}' is of {self._providers[name]}, not {any_of(providers)}"
                yield ("endpoint", number), text

    def _alien_providers(self, match: Match) -> Iterator[Complaint]:
        endpoints = several(match.endpoint)
        owners = {self._providers[name] for name in endpoints}
        for number, name in enumerate(several(match.provider)):
            if endpoints and name not in owners:
                yield (
                    ("provider", number),
                    f"provider '{name}' has not the endpoint {any_of(endpoints)}",
                )

    def _of_modes(self, match: Match) -> Iterator[Complaint]:
        endpoints, providers = several(match.endpoint), several(match.provider)
        if not endpoints and not providers:
            return  # events of an endpoint that is no longer configured may still come
        taken = [
            name
            for name, provider in self._providers.items()
            if name in (endpoints or [name]) and provider in (providers or [provider])
        ]
        possible = frozenset[str]().union(*(self._modes[name] for name in taken))
        asked = several(match.mode) or MODES_UNASKED
        if taken and possible.isdisjoint(asked):
            hint = "" if match.mode else '; test events must be asked for: mode = "test"'
            found = f"events of {any_of(taken)} are {any_of(sorted(possible))}"
            text = f"mode {any_of(asked)}: {found}{hint}"
            yield ("mode",) if match.mode else ("endpoint" if endpoints else "provider",), text


def _alien_types(match: Match) -> Iterator[Complaint]:
    kinds = several(match.kind)
    for number, pattern in enumerate(several(match.type)):
        if not types_of(kinds, [pattern]):
            yield ("type", number), f"type '{pattern}' is not of the kind {any_of(kinds)}"


def _alien_kinds(match: Match) -> Iterator[Complaint]:
    patterns = several(match.type)
    for number, kind in enumerate(several(match.kind)):
        if not types_of([kind], patterns):
            yield ("kind", number), f"kind '{kind}' has not the type {any_of(patterns)}"


def _of_amount(amount: AmountMatch) -> Iterator[Complaint]:
    code = amount.currency
    if not code:
        yield ("currency",), "amount.currency is empty"
    elif re.fullmatch("[A-Za-z]{3}", code) and not code.isupper():
        hint = f", did you mean '{code.upper()}'?"
        yield ("currency",), f"no currency is called '{code}'{hint}"
    ends = {end: value for end in ("min", "max") if (value := getattr(amount, end)) is not None}
    wrong = [end for end, value in ends.items() if not _MINOR.fullmatch(str(value))]
    for end in wrong:
        text = f"amount.{end} '{ends[end]}' is no whole number of minor units of up to 38 digits"
        yield (end,), f'{text}: "100000" is ZAR 1,000.00'
    if len(ends) == 2 and not wrong and int(ends["min"]) > int(ends["max"]):
        yield ("min",), f"amount.min {amount.min} is above amount.max {amount.max}"


def _of_metadata(condition: MetadataMatch) -> Iterator[Complaint]:
    said = [each for each in CONDITIONS if getattr(condition, each) is not None]
    if len(said) != 1:
        yield (), f"needs exactly one of {', '.join(CONDITIONS)}"
    elif condition.one_of == ():
        yield ("one_of",), "is one of nothing: no event matches"


def any_of(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _repeated(routes: tuple[Route, ...]) -> Iterator[Problem]:
    counts = Counter(route.name for route in routes)
    last = {route.name: number for number, route in enumerate(routes)}
    for name, count in counts.items():
        if count > 1:
            text = f"routes: the name '{name}' is there {count} times"
            yield Problem(("routes", last[name], "name"), text)
