"""`hookmill bench`: what each part costs, next to the bare floor of the same run."""

import typer

from hookmill.cli.bench import chain, ingress, recovery, restore, stages, verify

app = typer.Typer(
    name="bench",
    help="What each part costs, next to the bare floor of the same run.\n\nEach starts a broker "
    "and processes of its own, warms up, measures CPU-seconds for a fixed amount of work, and "
    "checks that the result is right. The last results are kept in .hookmill/bench.json, and shown "
    "beside the new ones.",
    no_args_is_help=True,
)

for command in (
    ingress.ingress,
    stages.dedup,
    stages.normalize,
    stages.route,
    chain.chain,
    restore.restore,
    recovery.recovery,
    verify.verify,
):
    app.command()(command)
