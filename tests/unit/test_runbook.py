"""The runbook is what somebody types at night: its commands exist, and every alert has its page."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from hookmill.cli.main import application

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "RUNBOOK.md").read_text()
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"

PROCEDURES = [
    "Deploy", "Upgrade and roll back", "Scale", "Drain", "Rotate a secret", "Add an endpoint",
    "A provider is down", "Kafka is down", "Disk full", "Restore from nothing", "Redrive",
    "Replay a day", "Change the partition count", "Disaster recovery",
]  # fmt: skip
ALERTS = [
    "HookmillAnswersSlow", "HookmillRefusing", "HookmillBacklogOld", "HookmillGroupStuck",
    "HookmillDeadLettersGrowing", "HookmillVerificationFailuresJump", "HookmillEndpointSilent",
    "HookmillUnrecognizedEvents", "HookmillBelowMinInsync", "HookmillWindowTooShort",
    "HookmillMonitorSilent", "HookmillHandlerFailing", "HookmillCertificateExpires",
]  # fmt: skip
"""Links of alerts end in one of these, in small letters: a heading is never renamed."""

HEADING = re.compile(r"^### (.+)$|^## (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(hookmill [^`\n]+)`")
ENDS = ("|", ">", ">>", "&&", "||", ";", "&", "2>&1")


def headings() -> list[str]:
    """Every section and subsection."""
    return [sub or top for sub, top in HEADING.findall(FENCED.sub("", RUNBOOK))]


def typed() -> list[list[str]]:
    """Every command of ours, word by word, without what the shell makes of its output."""
    lines = [line.removeprefix("$ ") for _, block in FENCED.findall(RUNBOOK)
             for line in block.splitlines() if line.startswith("$ hookmill ")]  # fmt: skip
    spans = SPAN.findall(FENCED.sub("", RUNBOOK))
    return [_until_the_shells(shlex.split(line, comments=True)) for line in [*lines, *spans]]


def _until_the_shells(words: list[str]) -> list[str]:
    ends = [index for index, word in enumerate(words) if word in ENDS]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize("name", [*PROCEDURES, *ALERTS])
def test_the_runbook_has_the_section(name: str) -> None:
    """Once, under exactly this name: alerts and people link to it."""
    assert headings().count(name) == 1


@pytest.mark.skipif(not RULES.exists(), reason="there are no rules of alerts here")
def test_every_alert_has_its_section() -> None:
    """And every section of an alert its alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    assert alerts == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alerts_section_says_what_it_means_and_what_to_do(alert: str) -> None:
    """In the same order everywhere: who was just woken looks for nothing."""
    section = RUNBOOK.split(f"### {alert}\n")[1].split("\n### ")[0]
    said = re.findall(r"^\*\*(Means|Look|Do)\.\*\*", section, re.MULTILINE)

    assert said == ["Means", "Look", "Do"]


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_a_command_can_be_typed_as_it_stands(words: list[str]) -> None:
    """It exists, and takes these options and arguments."""
    command, left = typer.main.get_command(application()), words[1:]
    while left and left[0] in getattr(command, "commands", {}):
        command = command.commands[left.pop(0)]  # type: ignore[attr-defined]

    assert not hasattr(command, "commands"), f"there is no such command: {words}"
    if left:
        command.make_context(words[0], left)


def test_there_are_commands_to_be_tested() -> None:
    """Else all of this would hold of nothing."""
    assert len(typed()) > 40
