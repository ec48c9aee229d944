"""`hookmill providers`: the packs, what each verifies and what its events become."""

from typing import Annotated

import msgspec
import typer

from hookmill.cli.options import AsJson
from hookmill.cli.output import print_json, print_table
from hookmill.local.conformance import EXAMPLE_OPTIONS, examine
from hookmill.providers.pack import Pack
from hookmill.providers.registry import PACKS, pack_named

app = typer.Typer(name="providers", help="The provider packs.", no_args_is_help=True)


@app.command("list")
def list_packs(as_json: AsJson = False) -> None:
    """Every pack, and what proves its sender."""
    if as_json:
        print_json([_described(pack) for pack in PACKS.values()])
        return
    rows = [(pack.name, pack.title, pack.verifies) for pack in PACKS.values()]
    print_table(("pack", "provider", "what proves the sender"), rows)


@app.command()
def show(name: Annotated[str, typer.Argument(help="a pack")], as_json: AsJson = False) -> None:
    """One pack: its contract, its events and where that is written."""
    pack = pack_named(name)
    if as_json:
        print_json(_described(pack))
        return
    facts = {key: value for key, value in _described(pack).items() if key not in ("events",)}
    print_table(("", ""), [(key.replace("_", " "), _plain(value)) for key, value in facts.items()])
    print_table(("their event", "ours"), pack.events.items())


@app.command("test")
def check_pack(
    name: Annotated[str, typer.Argument(help="a pack")], as_json: AsJson = False
) -> None:
    """Hold a pack to what every pack must do: authentic taken, altered refused, told the same."""
    pack = pack_named(name)
    found = examine(pack, msgspec.convert(EXAMPLE_OPTIONS.get(name, {}), pack.options))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for problem in found.problems:
            print(problem)
        print(f"{name}: {found.cases} cases, {len(found.problems)} problems")
    if found.problems:
        raise typer.Exit(1)


def _described(pack: Pack) -> dict[str, object]:
    return {
        "name": pack.name,
        "title": pack.title,
        "verifies": pack.verifies,
        "tolerance_secs": pack.tolerance_secs,
        "dedup_window_secs": pack.dedup_window_secs,
        "answer_deadline_secs": pack.answer_deadline_secs,
        "success_statuses": sorted(pack.success_statuses) if pack.success_statuses else "any 2xx",
        "retry_delays_secs": list(pack.retry_delays_secs),
        "options": list(pack.options.__struct_fields__),
        "events": dict(pack.events),
        "sources": list(pack.sources),
    }


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
