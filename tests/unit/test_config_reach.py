"""Rules without an effect are found, and no rule with one is called idle."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookmill.cli.rules import build_rules
from hookmill.config.options import Configuration, Endpoint, Handler, Route
from hookmill.config.reach import idle_rules
from hookmill.config.route_checks import route_problems
from hookmill.core.event import MODES, STATUSES, TYPES, Event
from hookmill.core.money import Money
from hookmill.providers.endpoint import modes_of
from hookmill.stages.route import Rule, handlers_of
from support.payments import PAYMENT

ENDPOINTS = {
    "shop-za": Endpoint(provider="yoco"),
    "shop-ng": Endpoint(provider="yoco", mode="test"),
    "invoices": Endpoint(provider="rehive"),
    "sandbox": Endpoint(provider="rehive", mode="test"),
}
PROVIDERS = {name: each.provider for name, each in ENDPOINTS.items()}
HANDLERS = ("ledger", "mail", "audit")


ZAR = {"currency": "ZAR"}


def route(*handlers: str, name: str = "r", **match: Any) -> Route:
    """A rule as the configuration has it."""
    row = {"name": name, "handlers": handlers or ("ledger",), "match": match}
    return msgspec.convert(row, Route)


def idle(*routes: Route) -> dict[int, int]:
    """The idle rules of a table, and what makes them so."""
    return idle_rules(dict(enumerate(routes)), PROVIDERS)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        pytest.param({}, {"type": "payment.*"}, id="everything"),
        pytest.param({"kind": "payment"}, {"type": "payment.c*"}, id="types of the kind"),
        pytest.param({"type": ["*.failed", "dispute.*"]}, {"type": "refund.f*"}, id="patterns"),
        pytest.param({"provider": "yoco"}, {"endpoint": "shop-za"}, id="endpoint of the provider"),
        pytest.param({"mode": ["live", "test", "unknown"]}, {}, id="modes that are not asked for"),
        pytest.param({"amount": ZAR}, {"amount": {**ZAR, "min": 5}}, id="an amount within"),
        pytest.param(
            {"amount": {**ZAR, "min": "5", "max": 10**40}},
            {"amount": {**ZAR, "min": 5, "max": "9"}},
            id="an amount within two ends",
        ),
        pytest.param({"metadata": {"a": {"exists": True}}}, {"metadata": {"a": "1"}}, id="exists"),
        pytest.param(
            {"metadata": {"a": {"exists": True}}}, {"metadata": {"a": {"file": "f"}}}, id="file"
        ),
        pytest.param(
            {"metadata": {"a": {"one_of": ["1", "2"]}}}, {"metadata": {"a": "2", "b": "3"}}, id="of"
        ),
        pytest.param({}, {"metadata": {"a": {"function": "m:f"}}}, id="function"),
    ],
)
def test_a_rule_beside_a_wider_one_is_idle(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    """Whichever stands first in the table."""
    assert idle(route(**wide), route(**narrow)) == {1: 0}
    assert idle(route(**narrow), route(**wide)) == {0: 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({}, {}, id="everything"),
        pytest.param({"type": "payment.*"}, {"kind": "payment"}, id="a kind by its types"),
        pytest.param(
            {"type": ["dispute.opened", "dispute.won", "dispute.lost"]},
            {"kind": "dispute"},
            id="every type there is",
        ),
        pytest.param({"mode": ["unknown", "live"]}, {}, id="modes spelt out"),
        pytest.param({"amount": {**ZAR, "min": 5}}, {"amount": {**ZAR, "min": "05"}}, id="figures"),
        pytest.param(
            {"metadata": {"a": "1"}}, {"metadata": {"a": {"one_of": ["1", "1"]}}}, id="one of one"
        ),
    ],
)
def test_of_two_that_say_the_same_in_other_words_the_second_is_idle(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Whichever it is: one of them must stay."""
    assert idle(route(**one), route(**other)) == {1: 0}
    assert idle(route(**other), route(**one)) == {1: 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"type": "payment.*"}, {"type": "*.succeeded"}, id="types that overlap"),
        pytest.param({"endpoint": "shop-za"}, {"endpoint": "shop-ng"}, id="two endpoints"),
        pytest.param({"mode": ["live", "test"]}, {}, id="a mode is missing"),
        pytest.param({"amount": ZAR}, {"amount": {"currency": "USD"}}, id="two currencies"),
        pytest.param(
            {"amount": {**ZAR, "min": 1}}, {"amount": {**ZAR, "max": 5}}, id="amounts that overlap"
        ),
        pytest.param(
            {"amount": ZAR}, {"amount": {**ZAR, "min": 1, "exponent": 2}}, id="true sizes"
        ),
        pytest.param(
            {"metadata": {"a": {"file": "f"}}}, {"metadata": {"a": {"file": "f"}}}, id="two files"
        ),
        pytest.param(
            {"metadata": {"a": {"function": "m:f"}}}, {"metadata": {"a": "1"}}, id="a function"
        ),
        pytest.param(
            {"metadata": {"a": {"exists": False}}}, {"metadata": {"a": {"file": "f"}}}, id="absent"
        ),
        pytest.param({"metadata": {"a": "1"}}, {"metadata": {"b": "1"}}, id="two keys"),
        pytest.param(
            {"metadata": {"a": {"exists": True}}},
            {"metadata": {"a": {"exists": False}}},
            id="there and not there",
        ),
        pytest.param(
            {"metadata": {"a": {"exists": True}}}, {"type": "payment.*"}, id="a key that is unasked"
        ),
    ],
)
def test_what_is_not_certain_is_not_said(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A file or a function may say anything; ranges with and without an exponent differ."""
    assert idle(route(**one), route(**other)) == {}


def test_an_endpoint_may_go_and_another_come() -> None:
    """Its events are still under way: the only endpoint of a provider is not the provider."""
    only = {"naira": "echezona"}
    rules = {0: route(endpoint="naira"), 1: route(provider="echezona")}

    assert idle_rules(rules, only) == {0: 1}


def test_a_rule_with_a_handler_of_its_own_is_not_idle() -> None:
    """However much the other takes."""
    assert idle(route("ledger"), route("ledger", "mail", type="payment.*")) == {}


def test_of_rules_that_do_the_same_the_first_stays() -> None:
    """And each idle rule is told of one that is not idle itself."""
    rules = (route(kind="dispute"), route(type="dispute.*"), route(type="dispute.w*"))

    assert idle(*rules) == {1: 0, 2: 0}
    assert idle(*reversed(rules)) == {0: 1, 2: 1}


def words(*among: str) -> st.SearchStrategy[Any]:
    """Nothing, one word, or several."""
    several = st.lists(st.sampled_from(among), max_size=3, unique=True)
    return st.just([]) | st.sampled_from(among) | several


PATTERNS = ("*", "payment.*", "refund.*", "*.failed", "payment.succeeded", "*ed", "dispute.*")
CONDITIONS = (
    st.sampled_from(["1", "2"])
    | st.booleans().map(lambda there: {"exists": there})
    | st.lists(st.sampled_from(["1", "2", "3"]), min_size=1).map(lambda those: {"one_of": those})
    | st.just({"function": "test_config_reach:is_odd"})
)
AMOUNTS = st.none() | st.fixed_dictionaries(
    {"currency": st.sampled_from(["ZAR", "USD"])},
    optional={
        "min": st.integers(-1, 3),
        "max": st.integers(2, 4).map(str),
        "exponent": st.sampled_from([0, 1]),
    },
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "type": words(*PATTERNS),
        "kind": words(*STATUSES),
        "provider": words("yoco", "rehive"),
        "endpoint": words(*ENDPOINTS),
        "mode": words(*MODES),
        "amount": AMOUNTS,
        "metadata": st.dictionaries(st.sampled_from("ab"), CONDITIONS, max_size=2),
    },
)
METADATA = st.dictionaries(st.sampled_from("ab"), CONDITIONS, max_size=2)


def table(rows: list[tuple[list[str], dict[str, Any]]]) -> tuple[Route, ...]:
    """The rules of these handlers and matches."""
    return tuple(route(*row[0], name=f"r{n}", **row[1]) for n, row in enumerate(rows))


@st.composite
def near_tables(draw: st.DrawFn) -> tuple[Route, ...]:
    """Rules for one handler that differ in one condition, so that one is often within another."""
    base = {"amount": draw(AMOUNTS), "metadata": draw(METADATA)}
    others = draw(
        st.lists(
            AMOUNTS.map(lambda amount: {**base, "amount": amount})
            | METADATA.map(lambda metadata: {**base, "metadata": metadata}),
            min_size=1,
            max_size=2,
        )
    )
    matches = draw(st.permutations([base, *others]))
    return table([(["ledger"], match) for match in matches])


TABLES = near_tables() | st.lists(
    st.tuples(st.lists(st.sampled_from(HANDLERS), min_size=1, max_size=2), MATCHES), max_size=5
).map(table)


def is_odd(value: str) -> bool:
    """A function of one's own."""
    return value in "135"


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event as normalize could have made it from one of the endpoints, or a former one."""
    kind_and_status = draw(st.sampled_from(TYPES))
    kind, _, status = kind_and_status.partition(".")
    places = [(name, PROVIDERS[name], mode) for name, each in ENDPOINTS.items()
              for mode in sorted(modes_of(each))]  # fmt: skip
    endpoint, provider, mode = draw(st.sampled_from([*places, ("gone", "yoco", "live")]))
    amount = st.builds(
        Money,
        st.integers(-2, 50).map(str),
        st.sampled_from(["ZAR", "USD"]),
        st.sampled_from([None, 0, 1]),
    )
    return msgspec.structs.replace(
        PAYMENT,
        type=kind_and_status,
        kind=kind,
        status=status,
        endpoint=endpoint,
        provider=provider,
        mode=mode,
        amount=draw(st.none() | amount),
        metadata=draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from([None, "1", "2", 3]))),
    )


def config_of(routes: tuple[Route, ...]) -> Configuration:
    """The table beside what it names."""
    handlers = {name: Handler(type="log") for name in HANDLERS}
    return Configuration(routes=routes, endpoints=ENDPOINTS, handlers=handlers)


def taken_by(rules: Iterable[Rule], event: Event) -> set[str]:
    """The handlers that get the event."""
    return set(handlers_of([rule for rule in rules if rule.matches(event)]))


SEVERAL = st.lists(events(), min_size=5, max_size=10)


@settings(max_examples=100, deadline=None)
@given(TABLES, SEVERAL)
def test_a_rule_that_is_reported_never_made_a_difference(
    routes: tuple[Route, ...], several: list[Event]
) -> None:
    """Without it, and without all of them at once, every event has the same handlers."""
    config = config_of(routes)
    rules = dict(enumerate(build_rules(config, tell=print)))
    reported = [each.keys for each in route_problems(config, modes_of)]
    adding_nothing = {keys[1] for keys in reported if len(keys) == 2}

    assert adding_nothing.isdisjoint(keys[1] for keys in reported if len(keys) > 2)
    for without in (adding_nothing, *({number} for number in adding_nothing)):
        left = [rule for number, rule in rules.items() if number not in without]
        for event in several:
            assert taken_by(left, event) == taken_by(rules.values(), event)


@settings(max_examples=100, deadline=None)
@given(MATCHES.filter(lambda match: not any(isinstance(each, list) for each in match.values())),
       SEVERAL)  # fmt: skip
def test_a_rule_that_contradicts_itself_takes_nothing(
    match: dict[str, Any], several: list[Event]
) -> None:
    """Of single words, none fits beside the others; only of a former endpoint nobody knows."""
    config = config_of((route(**match),))
    if route_problems(config, modes_of):
        rules = build_rules(config, tell=print)
        assert [e for e in several if e.endpoint != "gone" and taken_by(rules, e)] == []
