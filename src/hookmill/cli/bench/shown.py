"""A benchmark's result as a table for people, and as rows of Markdown for the documents."""

from collections.abc import Sequence

from hookmill.bench.figures import Figure, Result, Row
from hookmill.bench.saved import Machine, Saved
from hookmill.cli.output import print_table

COLUMNS = (
    "",
    "CPU-s",
    "ratio",
    "per s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "RSS MB",
    "earlier",
    "aim",
)


def show(result: Result, machine: Machine, earlier: Saved | None) -> None:
    """Print it and where it was measured; `earlier` is what it is held against."""
    title = f"{result.bench}: CPU-seconds per {result.per:,} {result.unit}"
    print_table(COLUMNS, rows(result, earlier), title)
    if result.figures:
        figures = [_figure(each, result, earlier) for each in result.figures]
        print_table(("", "value", "unit", "earlier", "aim"), figures)
    for each in result.checks:
        print(f"{'right' if each.good else 'WRONG'}  {each.what}")
    for note in result.notes:
        print(f"note   {note}")
    print(f"note   {machine}")
    if earlier and result.bench in earlier.results and str(earlier.machine) != str(machine):
        print(f"note   the earlier figures are of {earlier.machine}")


def rows(result: Result, earlier: Saved | None) -> list[Sequence[object]]:
    """The table's cells: the floor first, then what stands beside it."""
    before = earlier.results.get(result.bench) if earlier else None
    shown = [] if result.floor is None else [_row(result.floor, result, before)]
    return shown + [_row(each, result, before) for each in result.rows]


def _row(row: Row, result: Result, before: Result | None) -> Sequence[object]:
    ratio = None if row is result.floor else result.ratio(row)
    latency = row.latency
    return (
        row.name,
        f"{row.cpu_for(result.per):.3f}",
        None if ratio is None else f"{ratio:.2f}",
        f"{row.per_sec:,.0f}",
        *(
            (None, None, None)
            if latency is None
            else (f"{each:.1f}" for each in (latency.p50_ms, latency.p99_ms, latency.p999_ms))
        ),
        None if row.rss_bytes is None else f"{row.rss_bytes / 1_000_000:.0f}",
        _earlier(row, before),
        _aim(row, result),
    )


def _earlier(row: Row, before: Result | None) -> str | None:
    """The ratio of the earlier run where it has one, else its CPU-seconds."""
    if before is None:
        return None
    for each in (*([] if before.floor is None else [before.floor]), *before.rows):
        if each.name == row.name:
            ratio = None if each is before.floor else before.ratio(each)
            cpu = f"{each.cpu_for(before.per):.3f}"
            return cpu if ratio is None else f"{cpu} ({ratio:.2f})"
    return None


def _aim(row: Row, result: Result) -> str | None:
    if result.at_most is None or not result.rows or row is not result.rows[0]:
        return None
    found = row.cpu_for(result.per) if result.aim_of == "cpu" else result.ratio(row)
    kept = found is not None and found <= result.at_most
    what = "CPU-s" if result.aim_of == "cpu" else "ratio"
    return f"{what} ≤ {result.at_most:g}: {'kept' if kept else 'MISSED'}"


def _figure(figure: Figure, result: Result, earlier: Saved | None) -> Sequence[object]:
    before = earlier.results.get(result.bench) if earlier else None
    last = next(
        (e.value for e in (before.figures if before else ()) if e.name == figure.name), None
    )
    aim = None
    if figure.at_most is not None:
        aim = f"≤ {figure.at_most:,g}"
    elif figure.at_least is not None:
        aim = f"≥ {figure.at_least:,g}"
    return (
        figure.name,
        _number(figure.value),
        figure.unit,
        None if last is None else _number(last),
        None if aim is None else f"{aim}: {'kept' if figure.good else 'MISSED'}",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
