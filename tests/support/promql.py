"""What a PromQL expression names: metrics with the labels that it asks of them, and joins.

No parser: Prometheus has one, and the tests ask it. This finds the words, whatever is around them.
"""

import re
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from hookmill.telemetry import catalog

METRIC = re.compile(r"\bhookmill[_:][a-z0-9_:]+")
SELECTOR = re.compile(r"(hookmill[_:][a-z0-9_:]+|ALERTS|up)\s*\{([^}]*)\}")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
JOINED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
REPLACED = re.compile(r"\blabel_replace\s*\(")
TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"")

TARGET_LABELS = {"namespace", "job", "instance"}
"""Labels that Prometheus gives to what it scrapes."""


class Matcher(NamedTuple):
    """What is asked of a label of a metric."""

    metric: str
    label: str
    operator: str
    value: str


def metrics(expression: str) -> set[str]:
    """The names of metrics and of recorded series."""
    return set(METRIC.findall(TEXT.sub('""', expression)))


def matchers(expression: str) -> list[Matcher]:
    """Every label matcher, with the metric that it stands at."""
    return [
        Matcher(metric, *found)
        for metric, inside in SELECTOR.findall(expression)
        for found in MATCHER.findall(inside)
    ]


def joined(expression: str) -> set[str]:
    """The labels that aggregations keep and that sides are joined on."""
    bare = TEXT.sub('""', expression)
    found = (each.strip() for inside in JOINED.findall(bare) for each in inside.split(","))
    return {each for each in found if each}


def exposed() -> dict[str, set[str]]:
    """Every sample that the catalog's metrics show in Prometheus, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(catalog).values():
        if isinstance(metric, MetricWrapperBase):
            (family, *_) = metric.describe()
            labels = set(metric._labelnames)
            match family.type:
                case "counter":
                    found[f"{family.name}_total"] = labels
                case "histogram":
                    found[f"{family.name}_bucket"] = labels | {"le"}
                    found[f"{family.name}_sum"] = found[f"{family.name}_count"] = labels
                case _:
                    found[family.name] = labels
    return found
