"""`hookmill routes`: the table, and which rules take an event and why."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from hookmill.cli.main import main
from hookmill.cli.rules import build_rules
from hookmill.cli.stage import StageTelemetry
from hookmill.cli.verdicts import asks, why_not
from hookmill.config.options import Configuration, Match, Route
from hookmill.core.event import STATUSES, Event, encode
from hookmill.core.money import Money
from hookmill.core.parse import parse_object
from hookmill.stages.route import Route as RouteStage
from hookmill.telemetry import catalog
from support.alone import decide, read
from support.payments import PAYMENT, record

CONFIG = """
[kafka]
namespace = "acme"

[endpoints.shop-za]
provider = "yoco"
secrets = [{ env = "A" }]

[handlers.ledger]
type = "ledger"
[handlers.log]
type = "log"

[[routes]]
name = "money"
match = { type = ["payment.*", "refund.*"], provider = "yoco" }
handlers = ["ledger"]

[[routes]]
name = "refunds"
match = { kind = "refund" }
handlers = ["log"]

[[routes]]
name = "large"
match = { amount = { currency = "ZAR", min = "100000" } }
handlers = ["log", "ledger"]
"""
LARGE = msgspec.structs.replace(PAYMENT, id="hm_2", amount=Money("100000", "ZAR", 2))


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `hookmill routes …` in a folder with a configuration; `typed` is standard input."""
    (tmp_path / "hookmill.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.upper().startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)

    def running(*arguments: str, typed: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["hookmill", "routes", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return running


def words(text: str) -> list[str]:
    """The lines of a table without its padding."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_table_is_listed_with_what_each_rule_asks_for(run: Run) -> None:
    """The modes that hold without being said, too."""
    done = run("list")

    assert done.status == 0
    assert words(done.out) == [
        "rule asks for handlers",
        "money type payment.* or refund.*; provider yoco; mode live or unknown ledger",
        "refunds kind refund; mode live or unknown log",
        "large mode live or unknown; amount at least 100000 ZAR log, ledger",
    ]


def test_the_table_as_json(run: Run) -> None:
    """As the file has it, with what it leaves out."""
    routes = json.loads(run("list", "--json").out)

    assert [each["name"] for each in routes] == ["money", "refunds", "large"]
    assert routes[1]["match"]["kind"] == "refund"
    assert routes[2]["match"]["amount"]["min"] == "100000"


def test_an_empty_table_is_said(run: Run, tmp_path: Path) -> None:
    """On standard error, with what it means."""
    (tmp_path / "hookmill.toml").write_text("")

    assert json.loads(run("list", "--json").out) == []
    assert "no routes" in run("list").err


def test_an_event_is_told_rule_by_rule_and_who_gets_it(run: Run, tmp_path: Path) -> None:
    """What a rule asked for, or the first condition that is not met; a handler with its rules."""
    (tmp_path / "event.json").write_bytes(encode(LARGE))
    done = run("test", "event.json")

    assert done.status == 0
    assert done.err == ""
    assert words(done.out) == [
        "event hm_2: payment.succeeded of yoco at shop-za, live",
        "rule takes it because",
        "money yes type payment.* or refund.*; provider yoco; mode live or unknown",
        "refunds no kind payment is not refund",
        "large yes mode live or unknown; amount at least 100000 ZAR",
        "topic acme-events-payment",
        "handler ledger, by money, large",
        "handler log, by large",
        "",
    ]


def test_the_same_as_json(run: Run) -> None:
    """A list of one for one event."""
    [found] = json.loads(run("test", "-", "--json", typed=encode(PAYMENT)).out)

    assert found["id"] == "hm_1"
    assert found["topic"] == "acme-events-payment"
    assert [(each["rule"], each["matched"]) for each in found["rules"]] == [
        ("money", True), ("refunds", False), ("large", False),
    ]  # fmt: skip
    assert found["rules"][2]["why"] == "there is no amount"
    assert found["handlers"] == {"ledger": ["money"]}


def test_that_no_rule_takes_it_is_an_answer(run: Run) -> None:
    """Status 0: nothing failed."""
    event = msgspec.structs.replace(PAYMENT, mode="test")
    done = run("test", "-", typed=encode(event))

    assert done.status == 0
    assert "mode test is not live or unknown; test events must be asked for" in done.out
    assert "no handler: no rule takes it" in done.out


def tailed(event: Event) -> bytes:
    """A record as `hookmill tail --json` prints it."""
    return b'{"topic":"acme-events-normalized","partition":0,"value":%s}' % encode(event)


ONE, TWO = encode(PAYMENT), encode(LARGE)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[%s,\n%s]" % (ONE, TWO), id="a list"),
        pytest.param(b"%s\n\n%s\n" % (ONE, TWO), id="lines"),
        pytest.param(b"%s\n%s" % (tailed(PAYMENT), tailed(LARGE)), id="what tail prints"),
    ],
)
def test_several_events_are_told_one_after_another(content: bytes, run: Run) -> None:
    """However they are strung together."""
    found = json.loads(run("test", "-", "--json", typed=content).out)

    assert [each["id"] for each in found] == ["hm_1", "hm_2"]


NO_EVENT = b'{"id":"evt_1","type":"payment.succeeded","payload":{}}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "standard input is not JSON: "),
        (b"[]", "standard input is empty; FILE holds normalized events as JSON"),
        (b"id,type\n1,2", "standard input is not JSON: "),
        (b"7", "standard input: no normalized event: Expected 'object', got 'int'"),
        (NO_EVENT, "standard input: no normalized event: Object missing required field 'kind'"),
        (b"[%s,%s]" % (ONE, NO_EVENT), "standard input: [1]: no normalized event: "),
        (b"%s\n\n%s" % (ONE, NO_EVENT), "standard input:3: no normalized event: "),
        (b"%s\n{" % ONE, "standard input:2: not JSON: "),
        (ONE.replace(b'"exponent":', b'"x":').replace(b'"partition":3', b'"partition":"3"'),
         "Expected 'int', got 'str' - at '$.raw.partition'"),
        (ONE.replace(b'"kind":"payment"', b'"kind":"refund"'),
         "its type is 'payment.succeeded', its kind and status 'refund.succeeded'"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_wrong_usage(content: bytes, said: str, run: Run) -> None:
    """Status 2, with what is wrong and where; nothing on standard output."""
    done = run("test", "-", typed=content)

    assert done.status == 2
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize("name", ["gone.json", "./gone", "folder/"])
def test_a_file_that_is_not_there_is_not_taken_for_an_id(
    name: str, run: Run, tmp_path: Path
) -> None:
    """Looking it up in Kafka would take long and find nothing."""
    (tmp_path / "folder").mkdir()
    done = run("test", name)

    assert done.status == 2
    assert "cannot be read: " in done.err


def test_a_type_that_is_made_up_is_pointed_out(run: Run) -> None:
    """The rules are asked all the same, as the stage would."""
    event = msgspec.structs.replace(PAYMENT, type="payment.suceeded", status="suceeded")
    done = run("test", "-", typed=encode(event))

    assert done.status == 0
    assert "hookmill makes no events of the type 'payment.suceeded'" in done.err
    assert "handler ledger, by money" in done.out


def test_a_function_that_fails_is_named_without_the_value(run: Run, tmp_path: Path) -> None:
    """Its error may hold what a customer wrote."""
    (tmp_path / "mine_of_routes.py").write_text("def f(value): return int(value)")
    (tmp_path / "hookmill.toml").write_text(
        CONFIG.replace(
            'kind = "refund"', 'metadata = { checkoutId = { function = "mine_of_routes:f" } }'
        )
    )
    done = run("test", "-", typed=ONE)

    assert done.status == 1
    assert done.err == (
        "hookmill: routes 'refunds': metadata.checkoutId: mine_of_routes:f raised ValueError\n"
    )


def test_an_id_needs_a_span_that_is_one(run: Run) -> None:
    """Before anything is looked up."""
    done = run("test", "hm_1", "--since", "yesterday")

    assert (done.status, done.out) == (2, "")
    assert "--since yesterday" in done.err


ZAR = {"currency": "ZAR", "min": 100, "max": "200"}
USDT = {"currency": "USDT", "min": 1, "exponent": 6}


@pytest.mark.parametrize(
    ("match", "event", "why"),
    [
        ({"type": "refund.*"}, {}, "type payment.succeeded is not refund.*"),
        ({"kind": ["refund", "dispute", "other"]}, {},
         "kind payment is not refund, dispute or other"),
        ({"provider": "pay3"}, {}, "provider yoco is not pay3"),
        ({"endpoint": ["a", "b"]}, {}, "endpoint shop-za is not a or b"),
        ({"mode": "test"}, {}, "mode live is not test"),
        ({"amount": ZAR}, {}, "there is no amount"),
        ({"amount": ZAR}, {"amount": Money("150", "USD", 2)}, "amount is in USD, not ZAR"),
        ({"amount": ZAR}, {"amount": Money("99", "ZAR", 2)},
         "amount 99 ZAR is not at least 100 and at most 200 ZAR"),
        ({"amount": USDT}, {"amount": Money("5", "USDT", None)},
         "amount 5 USDT does not say its decimals"),
        ({"amount": USDT}, {"amount": Money("5", "USDT", 18)},
         "amount 5 USDT with 18 decimals is not at least 1 USDT with 6 decimals"),
        ({"metadata": {"a": "1"}}, {}, "metadata.a is absent"),
        ({"metadata": {"a": {"exists": True}}}, {"metadata": {"a": None}}, "metadata.a is absent"),
        ({"metadata": {"checkoutId": {"exists": False}}}, {}, "metadata.checkoutId is there"),
        ({"metadata": {"checkoutId": "x"}}, {}, "metadata.checkoutId 'ch_1' is not 'x'"),
        ({"metadata": {"checkoutId": {"one_of": ["x", "y"]}}}, {},
         "metadata.checkoutId 'ch_1' is not 'x' or 'y'"),
        ({"metadata": {"checkoutId": {"file": "ids.txt"}}}, {},
         "metadata.checkoutId 'ch_1' is not in ids.txt"),
        ({"metadata": {"checkoutId": {"function": "str:isdigit"}}}, {},
         "metadata.checkoutId 'ch_1' is not true for str:isdigit"),
    ],
)  # fmt: skip
def test_the_first_condition_that_is_not_met_is_told_in_words(
    match: dict[str, Any],
    event: dict[str, Any],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what the event has and what was asked for."""
    (tmp_path / "ids.txt").write_text("x\n")
    (tmp_path / "str.py").write_text("isdigit = str.isdigit")
    monkeypatch.chdir(tmp_path)
    asked = msgspec.convert(match, Match)
    [rule] = build_rules(
        Configuration(routes=(Route(name="r", handlers=(), match=asked),)), tell=print
    )
    given = msgspec.structs.replace(PAYMENT, **event)
    unmet = rule.unmet(given)

    assert unmet is not None
    assert why == why_not(asked, unmet, given)


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({}, "mode live or unknown"),
        ({"mode": "test", "endpoint": "a"}, "endpoint a; mode test"),
        ({"amount": {"currency": "ZAR"}}, "mode live or unknown; amount ZAR"),
        ({"amount": USDT}, "mode live or unknown; amount at least 1 USDT with 6 decimals"),
        ({"metadata": {"a": "1", "b": {"exists": False}}},
         "mode live or unknown; metadata.a is '1'; metadata.b is absent"),
    ],
)  # fmt: skip
def test_what_a_rule_asks_for_is_told_in_words(match: dict[str, Any], words: str) -> None:
    """Each condition once; the modes in any case."""
    assert words == asks(msgspec.convert(match, Match))


def test_a_number_in_metadata_keeps_its_text(run: Run, tmp_path: Path) -> None:
    """1.50 is asked for as it was sent, from a file as in the stage."""
    event = msgspec.structs.replace(PAYMENT, metadata=parse_object(b'{"price":1.50}'))
    (tmp_path / "hookmill.toml").write_text(
        CONFIG.replace('kind = "refund"', 'metadata = { price = "1.50" }')
    )

    assert "handler log, by refunds" in run("test", "-", typed=encode(event)).out


def counted(name: str, **labels: str) -> float:
    """What a counter of the catalog stands at."""
    return catalog.REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0


def test_what_rules_took_is_counted_when_it_is_committed() -> None:
    """By rule, each once an event; what none took by its kind."""
    routes = (
        Route(name="count all payments", handlers=("log",), match=Match(kind="payment")),
        Route(name="count large ones", handlers=("log",),
              match=msgspec.convert({"amount": ZAR}, Match)),
    )  # fmt: skip
    rules = build_rules(Configuration(routes=routes), tell=print)
    stage = RouteStage(rules, kind_topics={kind: kind for kind in STATUSES}, queues={"log": "q"})
    telemetry = StageTelemetry("route", 0)
    none_before = counted("hookmill_route_unmatched_events", kind="refund")
    payments_before = counted("hookmill_routed_events", kind="payment")
    for event in (
        PAYMENT,
        msgspec.structs.replace(PAYMENT, amount=Money("150", "ZAR", 2)),
        msgspec.structs.replace(PAYMENT, type="refund.failed", kind="refund", status="failed"),
    ):
        came = record(event)
        tally = telemetry.tally()
        tally.add([(came, decide(stage, read(stage, came), {}))])
        tally.committed(0.01)

    assert counted("hookmill_route_matches", rule="count all payments") == 2
    assert counted("hookmill_route_matches", rule="count large ones") == 1
    assert counted("hookmill_route_unmatched_events", kind="refund") == none_before + 1
    assert counted("hookmill_routed_events", kind="payment") == payments_before + 2
