"""`hookmill bench`: what each part costs, next to the bare floor of the same run."""

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

app = typer.Typer(
    name="bench",
    help="What each part costs, next to the bare floor of the same run.\n\nEach starts a broker "
    "and processes of its own, warms up, measures CPU-seconds for a fixed amount of work, and "
    "checks that the result is right. The last results are kept in .hookmill/bench.json, and shown "
    "beside the new ones.",
    no_args_is_help=True,
)

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
        show(result, earlier)
    if not result.good:
        raise typer.Exit(1)
    saved.keep(LAST, result, at=from_epoch_us(now_us()) or "")


from hookmill.cli.bench import chain, recovery  # noqa: E402, F401  # each registers its command
