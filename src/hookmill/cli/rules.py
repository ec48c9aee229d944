"""Makes the route table's rules from the configuration: files are opened, functions imported."""

import time
from collections.abc import Callable
from pathlib import Path

from hookmill.config.options import AmountMatch, Configuration, MetadataMatch, Route
from hookmill.config.reach import several
from hookmill.config.references import id_file, import_function
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.core.event import MODES_UNASKED
from hookmill.stages.route import AmountRange, Condition, Rule

Tell = Callable[[str], None]


def build_rules(config: Configuration, *, tell: Tell) -> tuple[Rule, ...]:
    """Every rule in the table's order; `tell` hears of a file that can be read no more.

    Raises ConfigurationError naming the rule whose file or function cannot be used.
    """
    return tuple(_rule(route, tell) for route in config.routes)


def _rule(route: Route, tell: Tell) -> Rule:
    match = route.match
    return Rule(
        name=route.name,
        handlers=route.handlers,
        types=several(match.type),
        kinds=frozenset(several(match.kind)),
        providers=frozenset(several(match.provider)),
        endpoints=frozenset(several(match.endpoint)),
        modes=frozenset(several(match.mode) or MODES_UNASKED),
        amount=None if match.amount is None else _amount(match.amount),
        metadata={
            key: _condition(f"routes '{route.name}': metadata.{key}", each, tell)
            for key, each in match.metadata.items()
        },
    )


def _amount(match: AmountMatch) -> AmountRange:
    return AmountRange(
        currency=match.currency,
        least=None if match.min is None else int(match.min),
        most=None if match.max is None else int(match.max),
        exponent=match.exponent,
    )


def _condition(where: str, match: str | MetadataMatch, tell: Tell) -> Condition:
    if isinstance(match, str):
        return lambda value: value == match
    if match.exists is not None:
        wanted_there = match.exists
        return lambda value: (value is not None) is wanted_there
    if match.one_of is not None:
        allowed = frozenset(match.one_of)
        return lambda value: value in allowed
    try:
        return _outside(where, match, tell)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _outside(where: str, match: MetadataMatch, tell: Tell) -> Condition:
    if match.file is not None:
        listed = id_file(Path(match.file), clock=time.monotonic, tell=tell)
        return lambda value: value is not None and listed(value)
    assert match.function is not None, "checked where the configuration is read"
    reference, function = match.function, import_function(match.function)

    def asked(value: str | None) -> bool:
        try:
            return value is not None and bool(function(value))
        except Exception as error:  # its text may hold the value, which is nobody's business
            raise HookmillError(f"{where}: {reference} raised {type(error).__name__}") from error

    return asked
