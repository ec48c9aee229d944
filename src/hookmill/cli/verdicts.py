"""What the route table does with an event, rule by rule, in words for people."""

from collections.abc import Iterable

import msgspec

from hookmill.config.options import AmountMatch, Match, MetadataMatch, Route
from hookmill.config.reach import several
from hookmill.config.route_checks import any_of
from hookmill.core.event import MODES_UNASKED, Event
from hookmill.core.money import Money
from hookmill.stages.route import Rule, handlers_of, metadata_text


class Verdict(msgspec.Struct, frozen=True):
    """What a rule makes of an event; `why` says what it asked for, or what was not met first."""

    rule: str
    matched: bool
    why: str
    handlers: tuple[str, ...]


class Routes(msgspec.Struct, frozen=True):
    """Where an event goes: to `topic` in any case, to each handler by the rules named."""

    id: str
    type: str
    provider: str
    endpoint: str
    mode: str
    topic: str
    rules: list[Verdict]
    handlers: dict[str, list[str]]


def routes_of(event: Event, rules: Iterable[tuple[Route, Rule]], *, topic: str) -> Routes:
    """Ask every rule, as the stage does."""
    asked = [(route, rule, rule.unmet(event)) for route, rule in rules]
    verdicts = [
        Verdict(
            rule.name,
            unmet is None,
            asks(route.match) if unmet is None else why_not(route.match, unmet, event),
            rule.handlers,
        )
        for route, rule, unmet in asked
    ]
    took = handlers_of([rule for _, rule, unmet in asked if unmet is None])
    return Routes(
        event.id, event.type, event.provider, event.endpoint, event.mode, topic, verdicts, took
    )


def asks(match: Match) -> str:
    """Everything that a rule asks of an event: `type payment.*; mode live or unknown`."""
    words = [
        f"{option} {any_of(several(getattr(match, option)))}"
        for option in ("kind", "type", "provider", "endpoint")
        if getattr(match, option)
    ]
    words.append(f"mode {any_of(several(match.mode) or MODES_UNASKED)}")
    if match.amount is not None:
        words.append(f"amount {_range(match.amount)}")
    words += [f"metadata.{key} {_asks(each)}" for key, each in match.metadata.items()]
    return "; ".join(words)


def why_not(match: Match, unmet: str, event: Event) -> str:
    """Why the event does not meet that condition: `type payment.created is not refund.*`."""
    option, _, key = unmet.partition(".")
    if option == "metadata":
        return _metadata_unmet(key, match.metadata[key], metadata_text(event, key))
    if option == "amount":
        assert match.amount is not None
        return _amount_unmet(match.amount, event.amount)
    asked = any_of(several(getattr(match, option)) or MODES_UNASKED)
    unasked = "; test events must be asked for" if option == "mode" and not match.mode else ""
    return f"{option} {getattr(event, option)} is not {asked}{unasked}"


def _range(amount: AmountMatch) -> str:
    ends = [f"at least {amount.min}"] if amount.min is not None else []
    ends += [f"at most {amount.max}"] if amount.max is not None else []
    scale = "" if amount.exponent is None else f" with {amount.exponent} decimals"
    return " ".join(part for part in (" and ".join(ends), amount.currency) if part) + scale


def _amount_unmet(asked: AmountMatch, amount: Money | None) -> str:
    if amount is None:
        return "there is no amount"
    if amount.currency != asked.currency:
        return f"amount is in {amount.currency}, not {asked.currency}"
    if asked.exponent is not None and amount.exponent is None:
        return f"amount {amount.minor} {amount.currency} does not say its decimals"
    said = "" if asked.exponent is None else f" with {amount.exponent} decimals"
    return f"amount {amount.minor} {amount.currency}{said} is not {_range(asked)}"


def _asks(condition: str | MetadataMatch) -> str:
    match condition:
        case str():
            return f"is '{condition}'"
        case MetadataMatch(exists=True):
            return "is there"
        case MetadataMatch(exists=False):
            return "is absent"
        case MetadataMatch(one_of=tuple(values)):
            return "is " + any_of(f"'{each}'" for each in values)
        case MetadataMatch(file=str(path)):
            return f"is in {path}"
        case _:
            return f"is true for {condition.function}"


def _metadata_unmet(key: str, condition: str | MetadataMatch, value: str | None) -> str:
    if value is None:
        return f"metadata.{key} is absent"
    if isinstance(condition, MetadataMatch) and condition.exists is not None:
        return f"metadata.{key} is there"
    asked = _asks(condition).removeprefix("is ")
    return f"metadata.{key} '{value}' is not {asked}"
