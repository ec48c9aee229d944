"""The dashboards of deploy/grafana, held to their descriptions and to what hookmill really says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.dashboards import FILES, FOLDER, Query, panels, program, queries
from support.prometheus import find
from support.promql import TARGET_LABELS, exposed, joined, matchers, metrics

ROOT = FOLDER.parents[1]
RULES_FILE = ROOT / "deploy" / "prometheus" / "rules.yml"
RECORDED = {
    rule["record"]
    for group in yaml.safe_load(RULES_FILE.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
MADE = {"le", "part"}
OF_ALERTS = {"alertname", "alertstate", "severity"}
QUERIES = queries()
WIDTH = 24

each_query = pytest.mark.parametrize(
    "query", QUERIES, ids=[f"{each.dashboard}: {each.panel}" for each in QUERIES]
)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_files_are_what_the_descriptions_say() -> None:
    """`make dashboards` writes them; a description that is changed alone shows nobody anything."""
    assert {path.name: path.read_text() for path in FILES} == program("build").dashboards()


def test_there_is_one_for_each_part() -> None:
    """The overview, and one for whoever wants to know more of a part."""
    assert {path.stem for path in FILES} == {"overview", "ingress", "stages", "handlers", "kafka"}
    assert len({json.loads(path.read_text())["uid"] for path in FILES}) == len(FILES)


@each_query
def test_a_query_asks_for_what_there_is(query: Query) -> None:
    """Every metric and each label of it is in the catalog, or recorded by a rule."""
    there = exposed()
    known = {label for labels in there.values() for label in labels}

    assert metrics(query.expr) <= there.keys() | RECORDED
    assert joined(query.expr) <= known | TARGET_LABELS | MADE
    for each in matchers(query.expr):
        labels = there.get(each.metric, known | MADE | OF_ALERTS)
        assert each.label in labels | TARGET_LABELS, each


@each_query
def test_a_query_is_of_the_chosen_namespace(query: Query) -> None:
    """All of its selectors: a sum of two installations is nobody's figure."""
    asked = [each for each in matchers(query.expr) if each.label == "namespace"]

    assert {each.metric for each in asked} == metrics(query.expr) | (
        {"ALERTS"} if "ALERTS" in query.expr else set()
    )


@each_query
def test_a_legend_names_labels_that_the_query_keeps(query: Query) -> None:
    """Others would be shown as nothing."""
    named = set(re.findall(r"{{(\w+)}}", query.legend))
    kept = joined(query.expr)
    (there, *_) = [exposed().get(each) for each in metrics(query.expr)] or [set()]

    assert named <= (kept or there or named)


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    """Each as the expression of a rule, which promtool reads."""
    rules = [
        {"record": f"query:{number}", "expr": each.expr} for number, each in enumerate(QUERIES)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [find("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def test_every_metric_is_on_a_dashboard() -> None:
    """What the processes say is there to be looked at: add a panel for a new one."""
    shown = {name for each in QUERIES for name in metrics(each.expr)}
    recorded = {
        name
        for group in yaml.safe_load(RULES_FILE.read_text())["groups"]
        for rule in group["rules"]
        if rule.get("record") in shown
        for name in metrics(rule["expr"])
    }
    ending = re.compile(r"_(bucket|sum|count|total)$")
    families = {ending.sub("", each) for each in exposed()}

    assert families - {ending.sub("", each) for each in shown | recorded} == set()


@each_file
def test_panels_lie_side_by_side(path: Path) -> None:
    """None over another, none outside, none without a title or a unit."""
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        place: dict[str, int] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= WIDTH
        assert not cells & taken
        taken |= cells
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_overview_is_one_screen() -> None:
    """Of a monitor: 27 units of some 38 pixels."""
    [path] = [path for path in FILES if path.stem == "overview"]
    ends = [panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels(path)]

    assert max(ends) <= 27


def test_grafana_finds_the_dashboards_and_their_source() -> None:
    """The provisioning files load the folder that is mounted and the Prometheus of compose."""
    [source] = _provisioned("datasources/prometheus.yml")["datasources"]
    [provider] = _provisioned("dashboards/hookmill.yml")["providers"]

    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_prometheus_scrapes_every_process_of_compose() -> None:
    """Each service that runs hookmill, at its private port; the monitor beside them."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    running = {
        name
        for name, service in services.items()
        if (service.get("command") or [""])[0] in ("ingress", "stage", "handle", "monitor")
    }
    [job] = yaml.safe_load((RULES_FILE.parent / "prometheus.yml").read_text())["scrape_configs"]
    [found] = job["dns_sd_configs"]

    assert set(found["names"]) == running | {"monitor"}
    assert found["port"] == 9090


def _provisioned(name: str) -> dict[str, Any]:
    text = (FOLDER / "provisioning" / name).read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found
