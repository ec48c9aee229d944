"""What became of the demo's deliveries, read from Kafka and held against what must be."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hookmill import pipeline
from hookmill.cli.output import print_table
from hookmill.cli.setup import Setup
from hookmill.core.event import Event, decode
from hookmill.core.record import Record
from hookmill.handlers.ledger.books import Total
from hookmill.handlers.ledger.place import place, reading
from hookmill.kafka.reader import Reader
from hookmill.local.demo_plan import Played
from hookmill.stages import headers


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The totals, per endpoint and in all, and everything that is not as it must be."""

    rows: list[list[str | int]]
    types: dict[str, int]
    answers: dict[str, int]
    late: int
    duplicates: int
    dead_letters: dict[str, int]
    handled: dict[str, int]
    balances: list[Total]
    wrong: list[str]

    @property
    def good(self) -> bool:
        """Whether everything was as it must be."""
        return not self.wrong


async def settled(setup: Setup, source: Reader, played: list[Played]) -> bool:
    """Whether every accepted delivery went through every stage and handler."""
    raw = await _count(source, setup.names.topic(pipeline.RAW))
    if raw < sum(each.result.accepted for each in played):
        return False
    groups = [(stage.name, stage.reads) for stage in pipeline.STAGES.values()]
    groups += [
        (f"handler-{name}", pipeline.HandlerTopics(name).queue) for name in setup.config.handlers
    ]
    for group, topic in groups:
        if not await _is_through(setup, source, group, topic):
            return False
    return True


async def _is_through(setup: Setup, source: Reader, group: str, topic: str) -> bool:
    """Whether the group has processed the topic's last record (its end may be a marker)."""
    name = setup.names.topic(topic)
    committed = await source.committed(setup.names.group(group))
    last: dict[int, int] = {}
    for record in await _all(source, name):
        last[record.partition] = max(last.get(record.partition, -1), record.offset)
    return all(committed.get((name, each), 0) > offset for each, offset in last.items())


async def examine(setup: Setup, source: Reader, played: list[Played], folder: Path) -> Report:
    """Check every promise that can be seen from outside."""
    everything: dict[str, list[Record]] = {
        topic.name: await _all(source, setup.names.topic(topic.name)) for topic in setup.topics()
    }
    events = [decode(record.value) for record in everything[pipeline.NORMALIZED]]
    routed = [record for name in pipeline.KIND_TOPICS.values() for record in everything[name]]
    dead = [record for name, several in everything.items() if name.endswith("-dlq")
            for record in several]  # fmt: skip
    wrong = [
        *_wrong_answers(played),
        *_wrong_keeping(played, everything[pipeline.RAW]),
        *_wrong_events(played, everything[pipeline.NORMALIZED]),
        *_wrong_routing(everything[pipeline.NORMALIZED], routed),
        *_leaks(setup, everything, folder),
    ]
    raw, unique = everything[pipeline.RAW], everything[pipeline.UNIQUE]
    again = {each.result.delivery for each in played if each.kind == "redelivery"}
    redelivered = sum(record.header(headers.DELIVERY) in again for record in raw)
    if len(raw) - len(unique) != redelivered:
        wrong.append(f"{redelivered} events redelivered, but {len(raw) - len(unique)} dropped")
    return Report(
        rows=_rows(setup, played, events),
        types=dict(sorted(Counter(event.type for event in events).items())),
        answers=dict(Counter(_answer(each) for each in played)),
        late=sum(event.late for event in events),
        duplicates=len(raw) - len(unique),
        dead_letters=dict(Counter(each.header(headers.ERROR_REASON) or "?" for each in dead)),
        handled={
            name: len(everything[pipeline.HandlerTopics(name).queue])
            for name in setup.config.handlers
        },
        balances=await _totals(folder),
        wrong=wrong,
    )


def print_report(report: Report, *, seconds: float) -> None:
    """The report for people."""
    columns = ("endpoint", "provider", "posted", "accepted", "refused", "duplicates", "events")
    print_table(columns, report.rows, "What came in")
    print_table(("answer", "deliveries"), sorted(report.answers.items()), "How it was answered")
    print_table(("type", "events"), report.types.items(), "What it became")
    _print_balances(report.balances)
    totals = sum(report.types.values())
    print(
        f"{sum(report.answers.values())} deliveries posted, {totals} events once each, "
        f"{report.duplicates} duplicates dropped, {report.late} late, "
        f"dead letters: {report.dead_letters or 'none'}, handled: {report.handled}"
    )
    for each in report.wrong:
        print(f"WRONG: {each}")
    verdict = "everything is as it must be" if report.good else "NOT as it must be"
    print(f"{verdict}, in {seconds:.1f} s")


def _wrong_answers(played: Iterable[Played]) -> list[str]:
    return [
        f"a {each.kind} to {each.endpoint} was answered {each.result.status} {each.result.error}, "
        f"not {each.expected.status} {each.expected.reason}"
        for each in played
        if not each.as_expected
    ]


def _wrong_keeping(played: Iterable[Played], raw: Iterable[Record]) -> list[str]:
    kept: dict[str | None, list[str]] = defaultdict(list)
    for record in raw:
        kept[record.header(headers.DELIVERY)].append(record.header(headers.ITEM) or "")
    wrong = []
    for each in played:
        items = sorted(kept[each.result.delivery])
        whole = [f"{number}/{len(items)}" for number in range(1, len(items) + 1)]
        if each.result.accepted and (not items or items != sorted(whole)):
            what = ", ".join(items) or "nothing"
            wrong.append(f"delivery {each.result.delivery} was acknowledged; kept is {what}")
    return wrong


def _wrong_events(played: Iterable[Played], normalized: Iterable[Record]) -> list[str]:
    became: dict[str | None, list[str]] = defaultdict(list)
    ids = Counter[str]()
    for record in normalized:
        event = decode(record.value)
        ids[event.id] += 1
        became[record.header(headers.DELIVERY)].append(event.type)
    wrong = [f"event {each} is there {times} times" for each, times in ids.items() if times > 1]
    for each in played:
        types = became[each.result.delivery]
        if each.kind == "event" and each.result.becomes not in types:
            wrong.append(f"delivery {each.result.delivery} became {', '.join(types) or 'nothing'}, "
                         f"not {each.result.becomes}")  # fmt: skip
    return wrong


def _wrong_routing(normalized: list[Record], routed: list[Record]) -> list[str]:
    wanted = Counter(record.header("ce_id") for record in normalized)
    got = Counter(record.header("ce_id") for record in routed)
    return [] if wanted == got else [f"routed {got.total()} of {wanted.total()} events"]


def _leaks(setup: Setup, everything: dict[str, list[Record]], folder: Path) -> list[str]:
    """No secret is in any topic or log."""
    texts = [setup.signing_secret(name).encode() for name in setup.endpoints]
    wrong = []
    for topic, records in everything.items():
        for record in records:
            whole = b"".join([record.key, record.value, *(value for _, value in record.headers)])
            wrong += [f"a secret is in {topic}" for text in texts if text in whole]
    for log in (folder / "logs").glob("*.log"):
        written = log.read_bytes()
        wrong += [f"a secret is in {log.name}" for text in texts if text in written]
    return wrong


def _rows(setup: Setup, played: list[Played], events: list[Event]) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for name, endpoint in setup.endpoints.items():
        here = [each for each in played if each.endpoint == name]
        accepted = sum(each.result.accepted for each in here)
        again = sum(each.kind == "redelivery" for each in here)
        became = sum(event.endpoint == name for event in events)
        rows.append([name, endpoint.pack.name, len(here), accepted, len(here) - accepted, again,
                     became])  # fmt: skip
    return rows


def _answer(played: Played) -> str:
    return f"{played.result.status} {played.result.error or 'accepted'}"


def _print_balances(balances: list[Total]) -> None:
    rows = [
        (b.endpoint, b.mode, b.effect, b.minor if b.currency else "not said", b.currency, b.entries)
        for b in balances
    ]
    columns = ("endpoint", "mode", "effect", "minor units", "currency", "entries")
    print_table(columns, rows, "What the ledger counted")


async def _totals(folder: Path) -> list[Total]:
    async with reading(place(None, local_dir=folder)) as books:
        return await books.totals()


async def _count(source: Reader, topic: str) -> int:
    return sum(end - begin for begin, end in (await source.bounds(topic)).values())


async def _all(source: Reader, topic: str) -> list[Record]:
    return await source.read_all(topic, await source.bounds(topic))
