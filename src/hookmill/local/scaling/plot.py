"""A run as a picture: three panels of lines in SVG, written by hand because it needs no more."""

from collections.abc import Callable, Sequence
from html import escape

from hookmill.local.scaling.simulation import Row, Run

WIDTH, PANEL_HEIGHT, GAP = 960, 150, 44
LEFT, RIGHT, TOP = 70, 20, 46
POINTS_MAX = 400
TICKS = 4
COLOURS = ("#1f77b4", "#d62728")

Line = tuple[str, Callable[[Row], int]]

PANELS: tuple[tuple[str, tuple[Line, ...]], ...] = (
    (
        "records a second",
        (("came", lambda row: row.arrivals), ("were done", lambda row: row.done)),
    ),
    ("replicas", (("wanted", lambda row: row.replicas),)),
    ("age of the oldest record, seconds", (("age", lambda row: row.age_secs),)),
)


def svg(run: Run, title: str) -> str:
    """The picture's text: the same run gives the same text."""
    height = TOP + len(PANELS) * (PANEL_HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    buckets = _buckets(run.rows)
    secs = len(run.rows)
    for number, (name, lines) in enumerate(PANELS):
        parts += _panel(TOP + number * (PANEL_HEIGHT + GAP), name, lines, buckets, secs)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _buckets(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Neighbouring rows in a few hundred groups; the highest of each is drawn: no peak is lost."""
    size = max(1, -(-len(rows) // POINTS_MAX))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _panel(
    top: int, name: str, lines: Sequence[Line], buckets: Sequence[Sequence[Row]], secs: int
) -> list[str]:
    tallest = _round_up(
        max((of(row) for each in buckets for row in each for _, of in lines), default=0)
    )
    bottom, wide = top + PANEL_HEIGHT, WIDTH - LEFT - RIGHT
    parts = [f'<text x="{LEFT}" y="{top - 8}">{escape(name)}</text>']
    for tick in range(TICKS + 1):
        y, x = bottom - PANEL_HEIGHT * tick / TICKS, LEFT + wide * tick / TICKS
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_figure(tallest * tick / TICKS)}</text>",
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#666666">'
            f"{clock(secs * tick // TICKS)}</text>",
        ]
    for number, (label, of) in enumerate(lines):
        points = [
            f"{LEFT + wide * place / max(1, len(buckets) - 1):.1f} "
            f"{bottom - PANEL_HEIGHT * max(map(of, each)) / tallest:.1f}"
            for place, each in enumerate(buckets)
        ]
        colour = COLOURS[number]
        parts.append(f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}"/>')
        if len(lines) > 1:
            at = WIDTH - RIGHT - 70 * (len(lines) - number)
            parts.append(f'<text x="{at}" y="{top - 8}" fill="{colour}">{escape(label)}</text>')
    return parts


def _round_up(figure: int) -> int:
    """The next figure that four ticks divide well; at least 4."""
    step = 1
    while True:
        for times in (4, 8, 12, 20):
            if figure <= times * step:
                return times * step
        step *= 10


def _figure(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def clock(secs: int) -> str:
    """Hours and minutes since the beginning."""
    return f"{secs // 3600}:{secs % 3600 // 60:02d}"
