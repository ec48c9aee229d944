"""`hookmill providers`: the packs, what each verifies and what its events become; a new one."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.cli import registering
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import load_packs
from hookmill.core.errors import ConfigurationError
from hookmill.local.conformance import Conformance, examine
from hookmill.local.kit.recording import record
from hookmill.providers.pack import Pack
from hookmill.providers.page import page
from hookmill.providers.registry import own_pack, pack_named
from hookmill.providers.scaffold import SCHEME_NAMES, scaffold

app = typer.Typer(name="providers", help="The provider packs.", no_args_is_help=True)

for command in (registering.register, registering.registrations, registering.unregister):
    app.command()(command)

PackName = Annotated[str, typer.Argument(help="a pack, or the TOML file of one")]


@app.command("list")
def list_packs(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Every pack, your own too, and what proves its sender."""
    packs = load_packs(config)
    if as_json:
        print_json([_described(pack) for pack in packs.values()])
        return
    rows = [(pack.name, pack.title, pack.verifies) for pack in packs.values()]
    print_table(("pack", "provider", "what proves the sender"), rows)


@app.command()
def show(
    name: PackName,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The pack's page, as in docs/providers/.")
    ] = False,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """One pack: its contract, its events and where that is written."""
    pack, _ = _found(name, config)
    if as_json:
        print_json(_described(pack))
        return
    if markdown:
        print(page(pack), end="")
        return
    facts = {key: value for key, value in _described(pack).items() if key not in ("events",)}
    print_table(("", ""), [(key.replace("_", " "), _plain(value)) for key, value in facts.items()])
    print_table(("their event", "ours"), pack.events.items())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the pack is to be called.")],
    scheme: Annotated[
        str, typer.Option(help=f"How it proves the sender: {', '.join(SCHEME_NAMES)}.")
    ] = "hmac",
    folder: Annotated[Path, typer.Option("--dir", help="The folder of your own packs.")] = Path(
        "packs"
    ),
) -> None:
    """Begin a pack of your own: a TOML file that explains itself, and a folder of fixtures.

    Name the folder in the configuration: [providers] dir = "packs". Then fill in what the
    provider's pages say, and hold it to the kit: hookmill providers test packs/NAME.toml
    """
    for path in scaffold(name, scheme, folder):
        err.print(f"made {path}")
    err.print(
        f"next: edit {folder / name}.toml, then: hookmill providers test {folder / name}.toml"
    )


@app.command("test")
def check_pack(
    name: PackName,
    fixtures: Annotated[
        Path | None,
        typer.Option(
            help="The folder of its fixtures. Default: the folder beside its TOML file that is "
            "called as it.",
            show_default=False,
        ),
    ] = None,
    record_missing: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Write the headers and expectations that fixtures lack, for you to read.",
        ),
    ] = False,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Hold a pack to what every pack must do, and say what was tried.

    From its stories and fixtures alone hundreds of deliveries are made: authentic ones must be
    taken, altered ones refused for the right reason, each event told the same whenever it comes.
    """
    pack, beside = _found(name, config)
    folder = fixtures or beside
    if fixtures is not None and not fixtures.is_dir():
        raise ConfigurationError(f"there is no folder {fixtures}")
    if record_missing:
        if folder is None:
            raise ConfigurationError("--record needs --fixtures: the folder to write into")
        for path in record(pack, folder):
            err.print(f"wrote {path}: read it before you believe it")
    found = examine(pack, None, folder)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _print(pack.name, found)
    if found.problems:
        raise typer.Exit(1)


def _print(name: str, found: Conformance) -> None:
    for problem in found.problems:
        print(problem)
    print_table(("tried", "cases"), found.coverage.items())
    print(f"{name}: {found.cases} cases, {len(found.problems)} problems")


def _found(name: str, config: Path | None) -> tuple[Pack, Path | None]:
    """The pack, and the folder of fixtures beside its own file, if there is one."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_dir():
        files = [path] if path.suffix == ".toml" else sorted(path.glob("*.toml"))
        if len(files) != 1:
            raise ConfigurationError(f"{path}: {len(files)} TOML files; name the one that is meant")
        beside = files[0].with_suffix("")
        return own_pack(files[0]), beside if beside.is_dir() else None
    packs = load_packs(config)
    pack = pack_named(name, packs)
    own = packs.folder / name if packs.folder else None
    return pack, own if own and own.is_dir() else None


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
