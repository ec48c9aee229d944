"""The alerts of deploy/prometheus: run by promtool, and held to what hookmill really says."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hookmill.core.errors import Reason
from hookmill.ingress.answers import STATUS
from hookmill.providers.registry import PACKS
from hookmill.telemetry import catalog
from support.prometheus import find
from support.promql import TARGET_LABELS, exposed, joined, matchers, metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES_FILE = FOLDER / "rules.yml"
SITUATIONS = sorted(FOLDER.glob("*_test.yml"))
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
NAMES = sorted({rule["alert"] for rule in ALERTS})
PROMTOOL_SECS_MAX = 240
OTHER_OUTCOMES = {"accepted", "handshake", "body_incomplete", "bad_http", "defect"}
MADE = {"part", "le"}
"""Labels that a rule makes itself, and the one that a histogram's buckets have."""

each_rule = pytest.mark.parametrize(
    "rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES]
)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[rule["alert"] for rule in ALERTS])


def promtool(*arguments: object) -> str:
    """Run it; returns what it said. It must be content."""
    command = [find("promtool"), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PROMTOOL_SECS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def words(pattern: str) -> list[str]:
    """The alternatives of a matcher of outcomes."""
    return pattern.split("|")


def test_prometheus_takes_the_rules() -> None:
    """With their templates."""
    assert f"{len(RULES)} rules found" in promtool("check", "rules", RULES_FILE)


def test_prometheus_takes_its_configuration() -> None:
    """With the rules that it names."""
    promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize("situations", SITUATIONS, ids=lambda path: path.stem)
def test_the_right_alert_fires_and_only_it(situations: Path) -> None:
    """In each situation: in health, at restarts, in every fault."""
    assert "SUCCESS" in promtool("test", "rules", situations)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_situation_in_which_it_fires(name: str) -> None:
    """An alert that was never seen to fire is a hope."""
    assert any(f'alertname="{name}"' in path.read_text() for path in SITUATIONS)


@each_rule
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """Every metric and each label of it is in the catalog, or recorded by another rule."""
    there, expression = exposed(), rule["expr"]
    known = {label for labels in there.values() for label in labels}

    assert metrics(expression) <= there.keys() | RECORDED
    assert joined(expression) <= known | TARGET_LABELS | MADE
    for each in matchers(expression):
        assert each.metric in RECORDED or each.label in there[each.metric] | TARGET_LABELS, each


@each_rule
def test_a_rule_asks_for_outcomes_there_are(rule: dict[str, Any]) -> None:
    """A reason code that is renamed must not leave an alert that never fires."""
    there = OTHER_OUTCOMES | {each.value for each in Reason}
    for each in matchers(rule["expr"]):
        if each.metric == "hookmill_ingress_requests_total" and each.label == "outcome":
            for word in words(each.value):
                assert any(re.fullmatch(word, outcome) for outcome in there), word


def test_every_503_is_a_refusal() -> None:
    """And every answer that says so is in the alert's share; a defect is answered 503 too."""
    asked = next(rule for rule in RULES if rule.get("record") == REFUSED)

    [outcomes] = [words(each.value) for each in matchers(asked["expr"])]
    assert {*outcomes} == {"defect"} | {str(each) for each, code in STATUS.items() if code == 503}


def test_every_401_is_a_failed_verification() -> None:
    """A new reason to refuse a sender is counted by the alert without being named in it."""
    asked = next(rule for rule in RULES if rule.get("record") == UNVERIFIED)

    [outcomes] = [words(each.value) for each in matchers(asked["expr"])]
    found = {str(each) for each in Reason if any(re.fullmatch(word, each) for word in outcomes)}
    assert found == {str(each) for each, code in STATUS.items() if code == 401}


REFUSED = "hookmill:ingress_refused:increase10m"
UNVERIFIED = "hookmill:endpoint_unverified:increase15m"


def test_slow_is_told_before_any_provider_gives_up() -> None:
    """The bound is below the shortest deadline of all packs, and one that the histogram has."""
    [rule] = [each for each in ALERTS if each["alert"] == "HookmillAnswersSlow"]
    bound = float(re.search(r"> ([\d.]+)", rule["expr"])[1])  # type: ignore[index]
    recorded = next(
        each for each in RULES if each.get("record") == "hookmill:endpoint_slow:increase10m"
    )

    assert bound < min(pack.answer_deadline_secs for pack in PACKS.values())
    assert f'le="{bound}"' in recorded["expr"]


@pytest.mark.parametrize("window_secs", sorted({each.dedup_window_secs for each in PACKS.values()}))
def test_the_end_of_each_window_has_a_bucket_of_its_own(window_secs: int) -> None:
    """A redelivery in the middle of the window must not look like one at its end."""
    [rule] = [each for each in ALERTS if each["alert"] == "HookmillWindowTooShort"]
    share = float(re.search(r"([\d.]+) \* max by", rule["expr"])[1])  # type: ignore[index]

    end = share * window_secs
    assert any(0.8 * end <= bound <= end for bound in catalog.DUPLICATE_AGE._kwargs["buckets"])


@each_alert
def test_an_alert_says_what_and_how_bad_and_where_to_read_on(alert: dict[str, Any]) -> None:
    """Its severity, a summary, a description, and its own section of the runbook."""
    notes = alert["annotations"]

    assert re.fullmatch(r"Hookmill[A-Z]\w+", alert["alert"])
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"docs/RUNBOOK.md#{alert['alert'].lower()}"
    assert len(notes["description"]) > 50
