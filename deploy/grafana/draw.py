"""Draws a dashboard as an SVG picture from a running Prometheus, without Grafana.

    python deploy/grafana/draw.py overview --prometheus http://127.0.0.1:9090 --minutes 30 > now.svg

Panels, their places and their queries are the dashboard's; lines, numbers and legends are plain.
Tables are left out.
"""

import argparse
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"
UNIT_X, UNIT_Y, GAP = 50, 34, 4
COLOURS = ("#3274d9", "#299c46", "#e02f44", "#ff9830", "#a352cc", "#56a6a6", "#8f3bb8", "#7c6f1c")
LEGENDS_MAX = 6
LEGEND_CHARS_OF_THREE = 16
"""Longer ones stand two in a row, others three."""
POINTS = 120
TIMEOUT_SECS = 20
SCALED = {"percentunit": (100, " %"), "s": (1, " s"), "reqps": (1, "/s"), "ops": (1, "/s")}

Series = tuple[str, list[tuple[float, float]]]


def draw(dashboard: dict[str, Any], prometheus: str, start: float, end: float) -> str:
    """The picture of the time from `start` to `end`, epoch seconds."""
    shown = [each for each in dashboard["panels"] if each["type"] in ("timeseries", "stat")]
    height = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in shown) * UNIT_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * UNIT_X}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="#f4f5f5"/>',
    ]
    for panel in shown:
        lines = [each for target in panel["targets"]
                 for each in series(target, prometheus, start, end)]  # fmt: skip
        parts += box(panel, lines, start, end)
    return "\n".join([*parts, "</svg>\n"])


def series(target: dict[str, Any], prometheus: str, start: float, end: float) -> Iterator[Series]:
    """Each series of a query with its legend, as Prometheus gives it."""
    expr = target["expr"].replace("$__rate_interval", "1m").replace("$namespace", ".*")
    step = max(1, (end - start) / POINTS)
    asked = urllib.parse.urlencode({"query": expr, "start": start, "end": end, "step": step})
    url = f"{prometheus.rstrip('/')}/api/v1/query_range?{asked}"
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECS) as answer:
        found = json.load(answer)["data"]["result"]
    for each in found:
        legend = target["legendFormat"]
        for label, value in each["metric"].items():
            legend = legend.replace("{{" + label + "}}", value)
        points = [(float(at), float(value)) for at, value in each["values"]]
        yield legend, [(at, value) for at, value in points if value == value]


def box(panel: dict[str, Any], lines: list[Series], start: float, end: float) -> Iterator[str]:
    """A panel in its place: a number, or lines with a scale and a legend."""
    place, unit = panel["gridPos"], panel["fieldConfig"]["defaults"]["unit"]
    width, height = place["w"] * UNIT_X - GAP, place["h"] * UNIT_Y - GAP
    yield f'<g transform="translate({place["x"] * UNIT_X},{place["y"] * UNIT_Y})">'
    yield f'<rect width="{width}" height="{height}" fill="white" stroke="#ddd"/>'
    yield text(panel["title"], 8, 18, 'font-weight="bold"')
    if not any(points for _, points in lines):
        yield text("no data", width / 2, height / 2, 'text-anchor="middle" fill="#999"')
    elif panel["type"] == "stat":
        said = written(lines[0][1][-1][1], unit)
        yield text(said, width / 2, height / 2 + 20, 'text-anchor="middle" font-size="32"')
    else:
        yield from graph(lines, unit, width, height, start, end)
    yield "</g>"


def graph(
    lines: list[Series], unit: str, width: float, height: float, start: float, end: float
) -> Iterator[str]:
    """Lines over time, the highest of all at the top, zero at the bottom."""
    left, top, right, bottom = 60, 32, width - 10, height - 52
    highest = max((value for _, points in lines for _, value in points), default=0) or 1
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        yield f'<line x1="{left}" x2="{right}" y1="{y:.0f}" y2="{y:.0f}" stroke="#eee"/>'
        yield text(written(highest * share, unit), left - 4, y + 4, 'text-anchor="end"')
    columns = 2 if any(len(legend) > LEGEND_CHARS_OF_THREE for legend, _ in lines) else 3
    for number, (legend, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{left + (at - start) / (end - start) * (right - left):.0f},"
            f"{bottom - value / highest * (bottom - top):.0f}"
            for at, value in points
        )
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if number < LEGENDS_MAX:
            column, row = number % columns, number // columns
            x, y = left + column * (right - left) / columns, bottom + 18 + row * 14
            yield text(legend, x, y, f'fill="{colour}" font-size="11"')


def text(said: str, x: float, y: float, how: str) -> str:
    """Words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" {how}>{escape(said)}</text>'


def written(value: float, unit: str) -> str:
    """The value as people read it."""
    factor, suffix = SCALED.get(unit, (1, ""))
    return f"{value * factor:.3g}{suffix}"


def main() -> None:
    """Print the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "dashboard", choices=sorted(path.stem for path in DASHBOARDS.glob("*.json"))
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=30, help="how far it goes back")
    parser.add_argument("--until", type=float, help="epoch seconds; now where it is not given")
    given = parser.parse_args()
    end = given.until or time.time()
    dashboard = json.loads((DASHBOARDS / f"{given.dashboard}.json").read_text())
    print(draw(dashboard, given.prometheus, end - given.minutes * 60, end), end="")


if __name__ == "__main__":
    main()
