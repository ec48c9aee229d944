"""The dashboards of deploy/grafana as files, and their queries as Grafana would send them."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*"}


class Query(NamedTuple):
    """A query of a panel, with the name of each series in its legend."""

    dashboard: str
    panel: str
    expr: str
    legend: str


def panels(path: Path) -> list[dict[str, Any]]:
    """What a dashboard shows, headings left out."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return [each for each in found if each["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel, with all variables filled in."""
    return [
        Query(path.stem, panel["title"], filled(target["expr"]), target["legendFormat"])
        for path in FILES
        for panel in panels(path)
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    """The expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert not re.search(r"\$\w", expression), expression
    return expression


def program(name: str) -> Any:
    """`build` or `draw`, the programs beside the descriptions, as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
