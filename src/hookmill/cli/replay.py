"""`hookmill replay`: gives a handler events of the past once more."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from hookmill.cli.letters import Bar
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json
from hookmill.cli.process import interruptible
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.times import moment_us
from hookmill.core.errors import ConfigurationError
from hookmill.core.times import from_epoch_us
from hookmill.kafka.replay import Replay, replaying
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.pipeline import NORMALIZED, HandlerTopics
from hookmill.stages.replay import Wish
from hookmill.telemetry import logs

RATE_PER_SEC = 100


def replay(
    handler: Annotated[str, typer.Argument(help="a handler of the configuration")],
    since: Annotated[
        str,
        typer.Option(help="Events normalized since then: 24h (ago), or a time as "
                     "2026-11-23T09:00:00Z.", show_default=False),
    ],
    until: Annotated[
        str | None, typer.Option(help="Before then; left out: until now.", show_default=False)
    ] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", help="Of this type, `payment.*`. Like the next two: repeatable.",
                     show_default=False),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(help="That came in by this endpoint.", show_default=False),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(help="About this subject: a payment, an invoice.", show_default=False),
    ] = None,
    rate: Annotated[
        int, typer.Option(min=0, help="At most so many a second; 0: as fast as it goes.")
    ] = RATE_PER_SEC,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the events.")] = False,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give one handler events of the past once more: a day it lost, or what was before it came.

    The events are those of `events-normalized` (kept for 35 days) that the routes, as they are now,
    give that handler. They go to its own queue, behind what is there, in order for each subject,
    and reach nobody else. They have the ids they had, so a handler that is idempotent by them
    counts none twice: the ledger books what it lacks.

    Killed in the middle, run it again with the same times: what was sent is not sent again.
    """
    setup = load_setup(config)
    logs.configure(setup.config.log)
    wanted = wish(setup, handler, since=since, until=until, types=type_ or (),
                         endpoints=endpoint or (), subjects=subject or ())  # fmt: skip
    interruptible(run(setup, wanted, rate=rate, dry_run=dry_run, as_json=as_json))


def wish(
    setup: Setup,
    handler: str,
    *,
    since: str,
    until: str | None,
    types: Sequence[str],
    endpoints: Sequence[str],
    subjects: Sequence[str],
) -> Wish:
    """What is to be replayed; raises ConfigurationError where that can be nothing."""
    if handler not in setup.config.handlers:
        known = ", ".join(sorted(setup.config.handlers)) or "none"
        raise ConfigurationError(f"no handler is called '{handler}'; configured are: {known}")
    if not any(handler in rule.handlers for rule in setup.rules):
        raise ConfigurationError(f"no route names '{handler}', so no event is its to replay")
    now = now_us()
    since_us = _whole_ms(moment_us(since, now, option="--since"))
    until_us = _whole_ms(now if until is None else moment_us(until, now, option="--until"))
    if since_us >= until_us:
        raise ConfigurationError("--since is not before --until: there is nothing between them")
    return Wish(handler=handler, since_us=since_us, until_us=until_us, types=tuple(types),
                endpoints=tuple(endpoints), subjects=tuple(subjects))  # fmt: skip


async def run(setup: Setup, wanted: Wish, *, rate: int, dry_run: bool, as_json: bool) -> None:
    """Do it, and print how many events went; `dry_run` only counts them."""
    span = f"--since {_time(wanted.since_us)} --until {_time(wanted.until_us)}"
    with Bar("events replayed", "events") as bar:
        async with replaying(setup.connection(), setup.names, wanted, setup.rules, watcher=bar,
                             rate_per_sec=rate) as work:  # fmt: skip
            await _check(setup, wanted)
            if dry_run:
                events, offsets = await work.count()
                err.print(f"{events} events of {offsets} offsets would go to "
                          f"{HandlerTopics(wanted.handler).queue}; to do it: {span}")  # fmt: skip
            else:
                await _carried_out(work, span)
                events = work.sent
    if as_json:
        print_json({"handler": wanted.handler, "since": _time(wanted.since_us),
                    "until": _time(wanted.until_us), "dry_run": dry_run,
                    "events": events})  # fmt: skip
    elif not dry_run:
        print(f"{events} events went to {HandlerTopics(wanted.handler).queue} again")


async def _carried_out(work: Replay, span: str) -> None:
    try:
        await work.run()
    except (Exception, asyncio.CancelledError):
        err.print(f"stopped after {work.sent} events; with the same selection and {span} it goes "
                  "on from there, and sends none twice")  # fmt: skip
        raise


async def _check(setup: Setup, wanted: Wish) -> None:
    """Raise TopicsMissing or UnsafeCluster where something could not be written as it must be."""
    involved = {setup.names.topic(each)
                for each in (NORMALIZED, HandlerTopics(wanted.handler).queue)}  # fmt: skip
    async with admin(setup.connection()) as client:
        found = await client.find(involved)
    check_present(involved, found)
    check_safety([each for each in setup.wanted() if each.name in involved], found)


def _whole_ms(epoch_us: int) -> int:
    """To the millisecond, as brokers keep it and `_time` shows it: the same wish, once more."""
    return epoch_us // 1000 * 1000


def _time(epoch_us: int) -> str:
    return f"{(from_epoch_us(epoch_us) or '')[:23]}Z"
