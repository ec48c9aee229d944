"""`hookmill bench verify`: what proving a sender costs, pack by pack."""

import asyncio
from typing import Annotated

import typer

from hookmill.bench.figures import Result
from hookmill.bench.verify import PER, measured, result, subject
from hookmill.cli.bench.bed import tell
from hookmill.cli.bench.running import Against, run
from hookmill.cli.options import AsJson
from hookmill.providers.registry import PACKS, pack_named


def verify(
    packs: Annotated[
        list[str] | None,
        typer.Argument(help="Only these provider packs. Default: all.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Verifications of each pack.")] = PER,
    against: Against = None,
    as_json: AsJson = False,
) -> None:
    """What proving a sender costs, pack by pack, on deliveries that the simulator signed.

    The ratio is to the bare primitive: the HMAC, hash, signature or comparison alone. No broker
    and no other process is needed.
    """
    chosen = [pack_named(name) for name in packs or sorted(PACKS)]

    async def work() -> Result:
        tried = []
        for pack in chosen:
            tell(f"{pack.title} …")
            it = await asyncio.to_thread(subject, pack)
            tried.append((it, measured(it, count)))
        return result(tried)

    run(work, against=against, as_json=as_json)
