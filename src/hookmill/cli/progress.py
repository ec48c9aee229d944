"""How far a long read is: a bar on standard error, on a terminal only."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hookmill.cli.output import err

LONG_READ_OFFSETS = 20_000


@contextlib.contextmanager
def reading(name: str, total: int, *, short: bool = False) -> Iterator[Callable[[int], None]]:
    """While `name` is read: call what it gives with the number of records just read.

    With `short` a read of few offsets shows nothing: most are over before an eye has found them.
    """
    silent = not err.is_terminal or (short and total < LONG_READ_OFFSETS)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err,
        transient=True, disable=silent,
    ) as progress:  # fmt: skip
        bar = progress.add_task(name, total=total)
        yield lambda records: progress.advance(bar, records)
