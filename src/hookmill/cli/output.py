"""How commands speak: data on standard output (a table, or JSON), everything else on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON value on a line of its own on standard output."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on standard output: with lines on a terminal, wide and plain elsewhere."""
    terminal = sys.stdout.isatty()
    Console(
        highlight=False, markup=False, width=None if terminal else 200, soft_wrap=not terminal
    ).print(table(columns, rows, title, lines=terminal))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", *, lines: bool = True
) -> Table:
    """The table itself, for whoever prints it more than once."""
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD if lines else None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else plain(str(cell)) for cell in row))
    return table


def plain(text: str) -> str:
    """The text with control characters written out: what others sent must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
