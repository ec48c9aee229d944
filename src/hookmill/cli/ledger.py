"""`hookmill ledger`: what the books say, on either database, while the handler goes on counting."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.times import moment_us
from hookmill.core.errors import ConfigurationError
from hookmill.core.times import from_epoch_us
from hookmill.handlers.bookings import ledger_name
from hookmill.handlers.ledger.books import Balance, Line, Wanted
from hookmill.handlers.ledger.configured import ledger_place
from hookmill.handlers.ledger.place import Place, reading
from hookmill.telemetry import logs

ENTRIES_SHOWN = 100
NOT_SAID = "not said"

app = typer.Typer(name="ledger", help="What the ledger counted.", no_args_is_help=True)

HandlerName = Annotated[
    str | None,
    typer.Option(
        "--handler", help="Which ledger. Default: the only one configured.", show_default=False
    ),
]
Endpoint = Annotated[str | None, typer.Option(help="Of one endpoint only.", show_default=False)]
Currency = Annotated[
    str | None, typer.Option(help="Of one currency only, such as ZAR.", show_default=False)
]


class Trial(msgspec.Struct, frozen=True):
    """What one endpoint's accounts of one currency debit and credit in all: the same, or wrong."""

    endpoint: str
    mode: str
    currency: str | None
    exponent: int | None
    debit: str
    credit: str


@app.command()
def balance(
    config: ConfigPath = None,
    endpoint: Endpoint = None,
    currency: Currency = None,
    handler: HandlerName = None,
    as_json: AsJson = False,
) -> None:
    """Every account with its debits, credits and balance, in minor units.

    `provider` is what the provider holds for the endpoint; `payments`, `refunds` and `transfers`
    say where it came from and where it went. Amounts that no event told are counted apart.
    """
    where = _place(_load(config), handler)
    found = asyncio.run(_balances(where, Wanted(endpoint=endpoint, currency=currency)))
    if as_json:
        print_json([msgspec.to_builtins(each) for each in found])
        return
    columns = ("endpoint", "mode", "account", "currency", "exponent", "debit", "credit", "balance",
               "entries")  # fmt: skip
    print_table(
        columns,
        [
            (b.endpoint, b.mode, b.account, b.currency or NOT_SAID, b.exponent,
             *((b.debit, b.credit, b.balance) if b.currency else ("", "", "")), b.entries)
            for b in found
        ],
    )  # fmt: skip


@app.command()
def entries(
    config: ConfigPath = None,
    endpoint: Endpoint = None,
    currency: Currency = None,
    resource: Annotated[
        str | None,
        typer.Option(help="Of one payment, refund or transfer, by its id.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Received since: 90s, 30m, 24h, 7d ago, or a time such as 2026-11-23T09:00:00Z.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="The newest so many; 0: all of them.")
    ] = ENTRIES_SHOWN,
    handler: HandlerName = None,
    as_json: AsJson = False,
) -> None:
    """The entries, the newest last; with --json one a line, as many as there are.

    Each event that moved money is one booking of two entries that share its number: a debit and a
    credit of the same amount.
    """
    where = _place(_load(config), handler)
    wanted = Wanted(
        endpoint=endpoint,
        currency=currency,
        resource=None if resource is None else ledger_name(resource),
        since=None if since is None else _time(since),
    )
    asyncio.run(_entries(where, wanted, limit=limit or None, as_json=as_json))


@app.command()
def check(config: ConfigPath = None, handler: HandlerName = None, as_json: AsJson = False) -> None:
    """Check that debits equal credits, booking by booking, and that each has its event counted.

    Status 1 and what is wrong otherwise.
    """
    trials, problems = asyncio.run(_check(_place(_load(config), handler)))
    if as_json:
        print_json(
            {"sound": not problems, "problems": problems,
             "sums": [msgspec.to_builtins(each) for each in trials]}
        )  # fmt: skip
    else:
        columns = ("endpoint", "mode", "currency", "exponent", "debits", "credits")
        rows = [(t.endpoint, t.mode, t.currency, t.exponent, t.debit, t.credit) for t in trials]
        print_table(columns, rows)
        for each in problems:
            print(f"WRONG: {each}")
    if problems:
        raise typer.Exit(1)
    err.print("the books are sound: every debit has its credit, every booking its counted event")


def _load(config: Path | None) -> Setup:
    setup = load_setup(config)
    logs.configure(setup.config.log)
    return setup


def _place(setup: Setup, name: str | None) -> Place:
    ledgers = {key: each for key, each in setup.config.handlers.items() if each.type == "ledger"}
    known = ", ".join(sorted(ledgers))
    if not ledgers:
        raise ConfigurationError("no ledger is configured: no handler has type = 'ledger'")
    if name is None and len(ledgers) > 1:
        raise ConfigurationError(f"several ledgers are configured: {known}; choose by --handler")
    if name is not None and name not in ledgers:
        raise ConfigurationError(f"no ledger is called '{name}'; configured are: {known}")
    options = ledgers[name] if name is not None else next(iter(ledgers.values()))
    return ledger_place(options, local_dir=Path(setup.config.local.dir), environ=os.environ)


def _time(text: str) -> str:
    """The time as the books have it; before every calendar's first day: all there is."""
    return from_epoch_us(moment_us(text, now_us(), option="--since")) or ""


async def _balances(where: Place, wanted: Wanted) -> list[Balance]:
    async with reading(where) as books:
        return await books.balances(wanted)


async def _entries(where: Place, wanted: Wanted, *, limit: int | None, as_json: bool) -> None:
    async with reading(where) as books:
        found = books.lines(wanted, limit=limit)
        if as_json:
            async for line in found:
                sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
            sys.stdout.flush()
            return
        lines = [each async for each in found]
    columns = ("booking", "received", "type", "endpoint", "mode", "resource", "account", "debit",
               "credit", "currency")  # fmt: skip
    print_table(columns, [_row(each) for each in lines])


def _row(line: Line) -> tuple[object, ...]:
    minor = line.minor or NOT_SAID
    debit, credit = (minor, "") if line.side == "debit" else ("", minor)
    return (line.booking, line.received_at, line.event_type, line.endpoint, line.mode,
            line.resource, line.account, debit, credit, line.currency)  # fmt: skip


async def _check(where: Place) -> tuple[list[Trial], list[str]]:
    async with reading(where) as books:
        problems = await books.problems()
        trials = _trials(await books.balances())
    unlike = [
        f"{t.endpoint} {t.mode} {t.currency}: debits {t.debit}, credits {t.credit}"
        for t in trials
        if t.debit != t.credit
    ]
    return trials, unlike + problems


def _trials(balances: Iterable[Balance]) -> list[Trial]:
    sums: dict[tuple[str, str, str | None, int | None], list[int]] = defaultdict(lambda: [0, 0])
    for each in balances:
        if each.currency is not None:
            both = sums[each.endpoint, each.mode, each.currency, each.exponent]
            both[0] += int(each.debit)
            both[1] += int(each.credit)
    return [Trial(*key, str(debit), str(credit)) for key, (debit, credit) in sums.items()]
