"""What `hookmill dlq` does: finds letters, shows them, carries out what is decided of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from hookmill import pipeline
from hookmill.cli.letters import Bar, Groups, Row, row, said, show_in_full, show_rows
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, now_us
from hookmill.core.errors import HookmillError
from hookmill.kafka.desk import desk
from hookmill.kafka.redrive import Order, Redrive, Source, read_decisions, selected
from hookmill.kafka.topics import admin, check_present, check_safety
from hookmill.stages.letters import Decision, Letter, Selection, Word, may_be


def sent_again_to(setup: Setup) -> dict[str, str]:
    """By dead-letter topic of this configuration: the topic that its letters are sent again to."""
    return pipeline.sent_again_to(setup.config.handlers)


async def _found(
    setup: Setup, source: Source, selection: Selection, bar: Bar
) -> AsyncGenerator[tuple[Letter, Decision | None], None]:
    """The letters meant and what was decided of each; nothing is fenced, nothing written."""
    decisions = await read_decisions(source)
    pieces = selected(source, selection, sent_again_to(setup), bar)
    async with contextlib.aclosing(pieces):
        async for letters in pieces:
            for letter in letters:
                yield letter, decisions.of(letter)


async def list_letters(
    setup: Setup, selection: Selection, count: int | None, each: bool, decided: bool, as_json: bool
) -> None:
    """Print letters in groups, or (`each`) one by one; with `decided` not the open ones only."""
    targets, rows = sent_again_to(setup), list[Row]()
    groups = Groups(targets)
    async with desk(setup.connection(), setup.names) as source:
        with Bar("reading dead letters") as bar:
            async with contextlib.aclosing(_found(setup, source, selection, bar)) as found:
                async for letter, decision in found:
                    if not each:
                        groups.add(letter, decision)
                    elif decision is None or decided:
                        rows.append(row(letter, decision, targets[letter.place.topic]))
                        if len(rows) == count:
                            break
    if not each:
        groups.show(now_us=now_us(), decided=decided, as_json=as_json)
    elif rows or as_json:
        show_rows(rows, as_json=as_json)
    else:
        err.print("there are no such letters")


async def show_letters(
    setup: Setup, selection: Selection, count: int | None, as_json: bool
) -> None:
    """Print the letters that are named by place, or the open ones that are selected, in full."""
    async with desk(setup.connection(), setup.names) as source:
        shown = await _meant(setup, source, selection, count, None)
    targets = sent_again_to(setup)
    if not shown:
        err.print("no open letter is selected")
    if shown or as_json:
        rows = [(each, row(each, its, targets[each.place.topic])) for each, its in shown]
        show_in_full(rows, as_json=as_json)


async def _meant(
    setup: Setup, source: Source, selection: Selection, count: int | None, word: Word | None
) -> list[tuple[Letter, Decision | None]]:
    """The letters to which that would be done; without a word those to be shown.

    Raises HookmillError for a place at which there is no letter.
    """
    meant, seen = [], set()
    with Bar("reading dead letters") as bar:
        async with contextlib.aclosing(_found(setup, source, selection, bar)) as found:
            async for letter, its in found:
                seen.add(letter.place)
                if word is None:
                    wanted = its is None or bool(selection.places)
                else:
                    wanted = may_be(word, letter, its, selection)
                if wanted:
                    meant.append((letter, its))
                elif selection.places:
                    err.print(f"{letter.place} was {said(its)}", markup=False)
                if len(meant) == count:
                    return meant
    missing = sorted(selection.places - seen)
    if missing and not _has_more(selection):
        raise HookmillError(f"there is no letter at {', '.join(map(str, missing))}")
    return meant


def _has_more(selection: Selection) -> bool:
    return selection != Selection(places=selection.places)


async def carry_out(setup: Setup, order: Order, *, dry_run: bool, as_json: bool) -> None:
    """Redrive or discard, and print what was done; `dry_run` prints which letters are meant."""
    async with desk(setup.connection(), setup.names) as port:
        if dry_run:
            await _rehearse(setup, port, order, as_json)
            return
        await _check(setup, order)
        if order.selection.places:
            await _meant(setup, port, order.selection, None, order.word)
        with Bar(f"letters {order.word}") as bar:
            work = Redrive(port, order, now_us=now_us, pause=asyncio.sleep, watcher=bar)
            try:
                await work.run()
            except asyncio.CancelledError:
                err.print(f"interrupted: {work.done.total()} letters are {order.word}; "
                          "run it again for the others")  # fmt: skip
                raise
    done = {topic: work.done[topic] for topic in order.sent_again_to if work.done[topic]}
    if as_json:
        print_json({"decision": order.word, "dry_run": False, "letters": sum(done.values()),
                    "by_topic": done})  # fmt: skip
    elif done:
        again = order.word == "redriven"
        columns = ("topic", order.word, "sent again to")[: 3 if again else 2]
        print_table(columns, [(topic, letters, order.sent_again_to[topic])[: len(columns)]
                              for topic, letters in done.items()])  # fmt: skip
    if not done:
        err.print("no open letter is selected: nothing was done")


async def _rehearse(setup: Setup, source: Source, order: Order, as_json: bool) -> None:
    meant = await _meant(setup, source, order.selection, order.count_max, order.word)
    rows = [row(each, its, order.sent_again_to[each.place.topic]) for each, its in meant]
    if as_json:
        print_json({"decision": order.word, "dry_run": True, "letters": rows})
    elif rows:
        show_rows(rows, as_json=False)
    err.print(f"{len(rows)} letters would be {order.word}; nothing was done")


async def _check(setup: Setup, order: Order) -> None:
    """Raise TopicsMissing or UnsafeCluster where something could not be written as it must be."""
    pairs = [each for each in order.sent_again_to.items() if order.selection.takes_topic(each[0])]
    topics = {pipeline.DECISIONS, *(topic for pair in pairs for topic in pair)}
    involved = {setup.names.topic(each) for each in topics}
    wants = [each for each in setup.wanted() if each.name in involved]
    async with admin(setup.connection()) as client:
        found = await client.find(involved)
    check_present(involved, found)
    check_safety(wants, found)
