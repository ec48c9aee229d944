"""Route: once to the topic of its kind, once to the queue of each handler that a rule names."""

from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hookmill.core.event import STATUSES, Event, type_pattern
from hookmill.core.money import Money
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.parse import parse_object
from hookmill.stages.route import AmountRange, Condition, Route, Routed, Rule, handlers_of
from support.alone import decide, read
from support.payments import PAYMENT, record

KIND_TOPICS = {kind: f"events-{kind}" for kind in STATUSES}
QUEUES = {name: f"handler-{name}" for name in ("ledger", "mail", "audit")}


def rule(*handlers: str, **match: Any) -> Rule:
    """A row of the table."""
    return Rule(name="a rule", handlers=handlers or ("ledger",), **match)


def types(*texts: str) -> Rule:
    """A rule for event types as they are written in the configuration."""
    return rule(types=texts)


def targets(event: Event, *rules: Rule) -> list[str]:
    """Where the event goes, in order."""
    stage = Route(rules, kind_topics=KIND_TOPICS, queues=QUEUES)
    outcome = decide(stage, read(stage, record(event)), {})
    assert isinstance(outcome, Forward)
    return [output.topic for output in outcome.outputs]


@pytest.mark.parametrize("kind", sorted(STATUSES))
def test_every_event_goes_to_the_topic_of_its_kind(kind: str) -> None:
    """Even where no rule takes it."""
    event = replace(PAYMENT, kind=kind, type=f"{kind}.x", status="x")

    assert targets(event) == [f"events-{kind}"]


def test_every_rule_that_matches_counts_and_every_handler_once() -> None:
    """The kind first, then the handlers in the table's order."""
    rules = (
        rule("mail", "ledger"),
        rule("audit", providers=frozenset({"pay3"})),
        rule("ledger", "audit"),
    )

    assert targets(PAYMENT, *rules) == [
        "events-payment",
        "handler-mail",
        "handler-ledger",
        "handler-audit",
    ]


EVENTS = st.builds(
    partial(replace, PAYMENT),
    kind=st.sampled_from(["payment", "refund"]),
    type=st.sampled_from(["payment.succeeded", "refund.failed"]),
    provider=st.sampled_from(["yoco", "pay3"]),
    endpoint=st.sampled_from(["shop-za", "shop-ng"]),
    mode=st.sampled_from(["live", "test"]),
    amount=st.sampled_from([None, Money("5", "ZAR", 2), Money("500", "ZAR", 2)]),
    metadata=st.sampled_from([{}, {"orderId": "o_1"}]),
)
RULES = st.builds(
    Rule,
    name=st.sampled_from(["a rule", "another"]),
    handlers=st.sampled_from([("ledger",), ("mail", "audit"), ("audit", "ledger")]),
    types=st.sampled_from([(), ("payment.*",), ("*.failed",)]),
    kinds=st.sampled_from([frozenset(), frozenset({"refund"})]),
    providers=st.sampled_from([frozenset(), frozenset({"pay3"})]),
    endpoints=st.sampled_from([frozenset(), frozenset({"shop-ng"})]),
    modes=st.sampled_from([frozenset({"live"}), frozenset({"live", "test"})]),
    amount=st.sampled_from([None, AmountRange(currency="ZAR", least=100)]),
    metadata=st.sampled_from([{}, {"orderId": lambda text: text is not None}]),
)


@given(st.lists(RULES, max_size=4), st.lists(EVENTS, max_size=12))
def test_what_is_known_of_one_event_is_not_taken_for_another(
    rules: list[Rule], events: list[Event]
) -> None:
    """However alike they are: each goes where the rules that match it say, and they are counted."""
    stage = Route(rules, kind_topics=KIND_TOPICS, queues=QUEUES)
    for event, outcome in zip(
        events, stage.decide(stage.read([record(each) for each in events]), {}), strict=True
    ):
        took = [each for each in rules if each.matches(event)]
        assert isinstance(outcome, Routed)
        assert [output.topic for output in outcome.outputs] == [
            KIND_TOPICS[event.kind], *(QUEUES[name] for name in handlers_of(took))
        ]  # fmt: skip
        assert outcome.rules == tuple(each.name for each in took)


def test_what_goes_out_is_what_came_in() -> None:
    """Key, value and headers are copied; the stage keeps no state."""
    stage = Route([rule()], kind_topics=KIND_TOPICS, queues=QUEUES)
    came = record(PAYMENT)
    task = read(stage, came)
    outcome = decide(stage, task, {})

    assert task.state_keys == ()
    assert isinstance(outcome, Forward)
    assert outcome.state == ()
    assert [(out.key, out.value, out.headers) for out in outcome.outputs] == [
        (came.key, came.value, came.headers)
    ] * 2


@pytest.mark.parametrize(
    ("pattern", "event_type", "fits"),
    [
        ("payment.succeeded", "payment.succeeded", True),
        ("payment.succeeded", "payment.succeeded2", False),
        ("payment.succeeded", "paymentxsucceeded", False),
        ("payment.*", "payment.failed", True),
        ("payment.*", "refund.failed", False),
        ("*.failed", "refund.failed", True),
        ("*.failed", "subscription.renewal_failed", False),
        ("*", "other.unrecognized", True),
        ("*ment.*ed", "payment.failed", True),
        ("payment", "payment.failed", False),
        ("payment.[a-z]*", "payment.failed", False),
    ],
)
def test_a_star_stands_for_anything_and_all_else_for_itself(
    pattern: str, event_type: str, fits: bool
) -> None:
    """The whole type must fit; no other character is special."""
    assert fits is (type_pattern(pattern).fullmatch(event_type) is not None)


@pytest.mark.parametrize(
    ("row", "taken"),
    [
        pytest.param(rule(), True, id="no condition"),
        pytest.param(types("payment.*"), True, id="type"),
        pytest.param(types("refund.*", "payment.succeeded"), True, id="one of the types"),
        pytest.param(types("refund.*"), False, id="another type"),
        pytest.param(types("payment.succeed"), False, id="the beginning of the type"),
        pytest.param(rule(providers=frozenset({"yoco", "pay3"})), True, id="provider"),
        pytest.param(rule(providers=frozenset({"pay3"})), False, id="another provider"),
        pytest.param(rule(endpoints=frozenset({"shop-za"})), True, id="endpoint"),
        pytest.param(rule(endpoints=frozenset({"shop-ng"})), False, id="another endpoint"),
        pytest.param(rule(modes=frozenset({"test"})), False, id="another mode"),
        pytest.param(
            rule(providers=frozenset({"yoco"}), endpoints=frozenset({"shop-ng"})),
            False,
            id="all conditions must hold",
        ),
    ],
)
def test_a_rule_takes_what_fits_all_its_conditions(row: Rule, taken: bool) -> None:
    """What it does not name, it does not ask."""
    assert taken is row.matches(PAYMENT)


@pytest.mark.parametrize(
    ("mode", "unasked", "asked"),
    [("live", True, False), ("unknown", True, False), ("test", False, True)],
)
def test_test_events_must_be_asked_for(mode: str, unasked: bool, asked: bool) -> None:
    """A rule without a mode takes live and unknown ones."""
    event = replace(PAYMENT, mode=mode)

    assert unasked is rule().matches(event)
    assert asked is rule(modes=frozenset({"test"})).matches(event)


def equals(expected: str | None) -> Condition:
    """A metadata value that is exactly this text."""
    return lambda value: value == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"ch_1"', "ch_1"),
        ('""', ""),
        ("null", None),
        ("7", "7"),
        ("18446744073709551616", "18446744073709551616"),
        ("1.50", "1.50"),
        ("9e2", "9e2"),
        ("true", "true"),
        ('["a",1.5]', '["a",1.5]'),
        ('{"a":{"b":2}}', '{"a":{"b":2}}'),
    ],
)
def test_a_metadata_condition_sees_the_values_text(value: str, text: str | None) -> None:
    """A string as it is, any other value as its JSON, a number as it was sent."""
    event = replace(PAYMENT, metadata=parse_object(b'{"checkoutId":%s}' % value.encode()))

    assert rule(metadata={"checkoutId": equals(text)}).matches(event)


def test_a_missing_metadata_key_is_none() -> None:
    """So a condition can ask whether it exists."""
    assert rule(metadata={"orderId": equals(None)}).matches(PAYMENT)
    assert not rule(metadata={"checkoutId": equals(None)}).matches(PAYMENT)


def test_every_metadata_condition_must_hold() -> None:
    """One that does not is enough to pass the event over."""
    both = {"checkoutId": equals("ch_1"), "orderId": equals("7")}

    assert not rule(metadata=both).matches(PAYMENT)
    assert rule(metadata=both).matches(
        replace(PAYMENT, metadata={"checkoutId": "ch_1", "orderId": 7})
    )


RANGE = AmountRange(currency="ZAR", least=100, most=10**30)
"""R 1.00 and more, far beyond what a float or 64 bits hold exactly."""


@pytest.mark.parametrize(
    ("minor", "fits"),
    [
        ("99", False),
        ("100", True),
        ("0100", True),
        ("-100", False),
        (str(10**30), True),
        (str(10**30 + 1), False),
    ],
)
def test_an_amount_is_compared_exactly_and_both_ends_are_in_the_range(
    minor: str, fits: bool
) -> None:
    """As integers of minor units."""
    assert fits is RANGE.fits(Money(minor, "ZAR", 2))


def test_an_amount_range_may_have_one_end_or_none() -> None:
    """Without any it asks for the currency alone."""
    cents = Money("-5", "ZAR", 2)

    assert AmountRange(currency="ZAR").fits(cents)
    assert AmountRange(currency="ZAR", most=-5).fits(cents)
    assert not AmountRange(currency="ZAR", least=0).fits(cents)


@pytest.mark.parametrize("amount", [None, Money("500", "USD", 2)], ids=["none", "another currency"])
def test_what_cannot_be_compared_is_in_no_range(amount: Money | None) -> None:
    """Figures of two currencies say nothing of each other."""
    assert not AmountRange(currency="ZAR").fits(amount)


@pytest.mark.parametrize(
    ("amount", "unasked", "asked"),
    [
        pytest.param(Money("1000000", "USDT", 6), True, True, id="as many decimals"),
        pytest.param(Money("1" + "0" * 18, "USDT", 18), True, True, id="the same sum"),
        pytest.param(Money("9" * 18, "USDT", 18), True, False, id="less, in more digits"),
        pytest.param(Money("1", "USDT", 0), False, True, id="the same, in fewer digits"),
        pytest.param(Money("1000000", "USDT", None), True, False, id="nobody says"),
        pytest.param(Money("1000000", "USDT", 10**9), True, False, id="beyond any currency"),
    ],
)
def test_an_exponent_compares_true_sizes(amount: Money, unasked: bool, asked: bool) -> None:
    """One USDT at least; without the exponent, a million minor units, whatever they are."""
    least = {"currency": "USDT", "least": 10**6}

    assert unasked is AmountRange(**least).fits(amount)  # type: ignore[arg-type]
    assert asked is AmountRange(**least, exponent=6).fits(amount)  # type: ignore[arg-type]


def test_a_rule_asks_for_the_events_own_amount() -> None:
    """Not for what was paid or refunded of it."""
    small = replace(PAYMENT, amount_paid=Money("900", "ZAR", 2))

    assert not rule(amount=RANGE).matches(small)
    assert rule(amount=RANGE).matches(replace(small, amount=Money("900", "ZAR", 2)))


@pytest.mark.parametrize(
    ("row", "condition"),
    [
        (rule(kinds=frozenset({"refund"}), modes=frozenset({"test"})), "kind"),
        (types("refund.*"), "type"),
        (rule(providers=frozenset({"pay3"})), "provider"),
        (rule(endpoints=frozenset({"shop-ng"})), "endpoint"),
        (rule(modes=frozenset({"test"})), "mode"),
        (rule(amount=RANGE), "amount"),
        (rule(metadata={"checkoutId": equals("ch_1"), "x": equals("1")}), "metadata.x"),
        (rule(kinds=frozenset({"refund", "payment"})), None),
    ],
)
def test_a_rule_names_the_first_condition_that_is_not_met(row: Rule, condition: str | None) -> None:
    """So that one can be told why it did not take an event."""
    assert condition == row.unmet(PAYMENT)


def test_what_the_rules_did_goes_with_the_outcome_to_be_counted() -> None:
    """Once the event is committed, and without asking the rules again."""
    stage = Route([types("refund.*"), rule()], kind_topics=KIND_TOPICS, queues=QUEUES)
    outcome = decide(stage, read(stage, record(PAYMENT)), {})

    assert isinstance(outcome, Routed)
    assert (outcome.kind, outcome.rules) == ("payment", ("a rule",))


def test_no_rule_means_no_handler() -> None:
    """An empty table sends nothing anywhere."""
    assert handlers_of([]) == {}


def test_a_handler_is_told_with_the_rules_that_name_it() -> None:
    """In the table's order, a rule once even where it names a handler twice."""
    rules = [
        Rule(name="one", handlers=("mail", "mail")),
        Rule(name="two", handlers=("audit", "mail")),
    ]

    assert handlers_of(rules) == {"mail": ["one", "two"], "audit": ["two"]}


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b'{"id":"\xff"}', b"[" * 100_000], ids=lambda v: repr(v[:8])
)
def test_a_record_that_is_no_event_is_set_aside(value: bytes) -> None:
    """Whoever wrote it; the partition goes on."""
    stage = Route([], kind_topics=KIND_TOPICS, queues=QUEUES)
    task = read(stage, msgspec.structs.replace(record(PAYMENT), value=value))
    outcome = decide(stage, task, {})

    assert isinstance(outcome, DeadLetter)
    assert outcome.reason == "undecodable_event"
