"""Writes Grafana's dashboards from the descriptions beside it: `python deploy/grafana/build.py`.

A description is rows of panels: a title, the queries with their legends, a unit of Grafana's, a
width out of 24. What all panels have in common is here. Each selector of a hookmill metric gets the
dashboard's namespace, which matches series without that label too.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WRITTEN = FOLDER / "dashboards"
SCHEMA_VERSION = 39  # Grafana 11; newer ones migrate it when they load it
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = re.compile(r"\b(hookmill[_:][a-z0-9_:]+|ALERTS)(?:\{([^}]*)\})?")


def dashboards() -> dict[str, str]:
    """Every dashboard as Grafana loads it, by file name."""
    found = {}
    for path in sorted(FOLDER.glob("*.toml")):
        made = dashboard(path.stem, tomllib.loads(path.read_text()))
        found[f"{path.stem}.json"] = json.dumps(made, indent=1) + "\n"
    return found


def dashboard(name: str, described: dict[str, Any]) -> dict[str, Any]:
    """One dashboard, with the variables and the links that all have."""
    return {
        "uid": f"hookmill-{name}",
        "title": described["title"],
        "description": described["description"],
        "tags": ["hookmill"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": VARIABLES},
        "links": LINKS,
        "annotations": {"list": []},
        "panels": list(panels(described["row"])),
    }


VARIABLES = [
    {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    },
    {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {
            "query": "label_values(hookmill_ingress_in_flight, namespace)",
            "refId": "namespace",
        },
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]
LINKS = [
    {
        "type": "dashboards",
        "title": "hookmill",
        "tags": ["hookmill"],
        "keepTime": True,
        "includeVars": True,
        "asDropdown": False,
        "targetBlank": False,
    }
]


def panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The panels of all rows, one row below the other; a row with a title gets a heading."""
    number, y = 0, 0
    for row in rows:
        if "title" in row:
            number += 1
            place = {"x": 0, "y": y, "w": 24, "h": 1}
            yield {
                "id": number,
                "type": "row",
                "title": row["title"],
                "gridPos": place,
                "panels": [],
            }
            y += 1
        x = 0
        for described in row["panel"]:
            number += 1
            place = {"x": x, "y": y, "w": described["width"], "h": row["height"]}
            yield {"id": number, "gridPos": place, **panel(described)}
            x += described["width"]
        y += row["height"]


def panel(described: dict[str, Any]) -> dict[str, Any]:
    """One panel: a graph over time where its description says nothing else."""
    kind = described.get("kind", "timeseries")
    defaults = {"unit": described["unit"], "min": 0, **colours(described)}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    shown: dict[str, Any] = {
        "type": kind,
        "title": described["title"],
        "description": described.get("help", ""),
        "datasource": DATASOURCE,
        "targets": [target(kind, index, each) for index, each in enumerate(described["queries"])],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[kind],
    }
    if kind == "table":
        shown["transformations"] = [
            {"id": "organize", "options": {"excludeByName": {"Time": True}}}
        ]
    return shown


OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
    },
    "table": {"showHeader": True},
}


def colours(described: dict[str, Any]) -> dict[str, Any]:
    """Red from a value on, or below one; green otherwise."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if "red_from" in described:
        steps.append({"color": "red", "value": described["red_from"]})
    if "red_below" in described:
        steps = [
            {"color": "red", "value": None},
            {"color": "green", "value": described["red_below"]},
        ]
    coloured = described.get("kind") == "stat"
    return {
        "color": {"mode": "thresholds" if coloured else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }


def target(kind: str, index: int, query: dict[str, str]) -> dict[str, Any]:
    """One query, of the dashboard's namespace."""
    return {
        "refId": "ABCDEFGH"[index],
        "datasource": DATASOURCE,
        "expr": SELECTOR.sub(in_namespace, query["expr"]),
        "legendFormat": query.get("legend", "__auto"),
        "instant": kind == "table",
        "range": kind != "table",
        **({"format": "table"} if kind == "table" else {}),
    }


def in_namespace(selector: re.Match[str]) -> str:
    """The selector with the namespace first."""
    name, inside = selector[1], selector[2]
    return name + '{namespace=~"$namespace"' + (f",{inside}" if inside else "") + "}"


if __name__ == "__main__":
    WRITTEN.mkdir(exist_ok=True)
    for stale in WRITTEN.glob("*.json"):
        stale.unlink()
    for name, text in dashboards().items():
        (WRITTEN / name).write_text(text)
