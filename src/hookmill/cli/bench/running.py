"""What every benchmark's command shares: its options, and how its result is shown and kept."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from hookmill.bench import saved
from hookmill.bench.figures import Result
from hookmill.cli.bench.shown import show
from hookmill.cli.output import print_json
from hookmill.cli.process import interruptible
from hookmill.cli.setup import now_us
from hookmill.core.errors import ConfigurationError
from hookmill.core.times import from_epoch_us

LAST = Path(".hookmill/bench.json")

Against = Annotated[
    Path | None,
    typer.Option(help="Results to compare with. Default: the last run's.", show_default=False),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        help="Write a flame graph (SVG) of the measured process there; needs py-spy.",
        show_default=False,
    ),
]


def run(bench: Callable[[], Awaitable[Result]], *, against: Path | None, as_json: bool) -> None:
    """Run one, show it beside the earlier one, and keep it. Status 1 if a result was wrong."""
    earlier = saved.read(against or LAST)
    if earlier is None and against is not None:
        raise ConfigurationError(f"{against} does not exist; a run keeps its results in {LAST}")

    async def work() -> Result:
        return await bench()

    result = interruptible(work())
    if as_json:
        print_json(result)
    else:
        show(result, saved.this_machine(), earlier)
    if not result.good:
        raise typer.Exit(1)
    saved.keep(LAST, result, at=from_epoch_us(now_us()) or "")
