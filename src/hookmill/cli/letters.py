"""How `hookmill dlq` shows dead letters: in groups, one a line, or one in full."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from hookmill.cli.output import err, plain, print_json, print_table
from hookmill.cli.times import age
from hookmill.core.errors import UnparseableBody
from hookmill.core.parse import exact_number, parse_json
from hookmill.core.times import from_epoch_us
from hookmill.stages import headers
from hookmill.stages.letters import Decision, Letter


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a line says of a letter; `decision` is None while it is open."""

    place: str
    failed_at: str | None
    reason: str
    endpoint: str
    key: str
    event: str | None
    delivery: str | None
    redrives: int
    again_to: str
    decision: Decision | None


class Group(msgspec.Struct, kw_only=True):
    """The letters of one topic and one reason; the times (epoch µs) are those of its open ones."""

    topic: str
    reason: str
    again_to: str
    open: int = 0
    redriven: int = 0
    discarded: int = 0
    oldest_us: int | None = None
    newest_us: int | None = None

    def add(self, letter: Letter, decision: Decision | None) -> None:
        """One more."""
        match decision and decision.decision:
            case "redriven":
                self.redriven += 1
            case "discarded":
                self.discarded += 1
            case _:
                at = letter.failed_at_us
                self.open += 1
                self.oldest_us = at if self.oldest_us is None else min(self.oldest_us, at)
                self.newest_us = at if self.newest_us is None else max(self.newest_us, at)

    def as_data(self) -> dict[str, object]:
        """For programs: the times as RFC 3339."""
        data = msgspec.structs.asdict(self)
        for name in ("oldest", "newest"):
            at = data.pop(f"{name}_us")
            data[name] = None if at is None else from_epoch_us(at)
        return data

    def as_cells(self, now_us: int) -> tuple[object, ...]:
        """For people: the times as ages."""
        oldest, newest = (
            "" if at is None else age((now_us - at) // 1_000_000)
            for at in (self.oldest_us, self.newest_us)
        )
        return (self.topic, self.reason, self.open, oldest, newest, self.redriven, self.discarded)


class Groups:
    """Letters added up by topic and reason."""

    def __init__(self, sent_again_to: Mapping[str, str]) -> None:
        self._sent_again_to = sent_again_to
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, letter: Letter, decision: Decision | None) -> None:
        """One more letter."""
        topic = letter.place.topic
        fresh = Group(topic=topic, reason=letter.reason, again_to=self._sent_again_to[topic])
        self._groups.setdefault((topic, letter.reason), fresh).add(letter, decision)

    def show(self, *, now_us: int, decided: bool, as_json: bool) -> None:
        """Print those with open letters, the largest of each topic first; with `decided` all."""
        order = list(self._sent_again_to)
        shown = sorted(
            (each for each in self._groups.values() if each.open or decided),
            key=lambda each: (order.index(each.topic), -each.open, each.reason),
        )
        if as_json:
            print_json([each.as_data() for each in shown])
        elif shown:
            print_table(
                ("topic", "reason", "open", "oldest", "newest", "redriven", "discarded"),
                [each.as_cells(now_us) for each in shown],
            )
        else:
            err.print("there are no dead letters" if decided else "no dead letter is open")


def row(letter: Letter, decision: Decision | None, again_to: str) -> Row:
    """The line of a letter."""
    return Row(
        place=str(letter.place),
        failed_at=from_epoch_us(letter.failed_at_us),
        reason=letter.reason,
        endpoint=letter.endpoint,
        key=letter.record.key.decode("utf-8", "replace"),
        event=letter.record.header(headers.EVENT_ID),
        delivery=letter.record.header(headers.DELIVERY),
        redrives=letter.redrives,
        again_to=again_to,
        decision=decision,
    )


def show_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print one letter a line."""
    if as_json:
        print_json(rows)
        return
    columns = ["place", "failed at", "reason", "key", "event", "redrives"]
    cells = [[r.place, r.failed_at, r.reason, r.key, r.event, r.redrives] for r in rows]
    if any(each.decision for each in rows):
        columns.append("decided")
        cells = [[*c, said(r.decision)] for c, r in zip(cells, rows, strict=True)]
    print_table(columns, cells)


def said(decision: Decision | None) -> str:
    """A decision in words."""
    if decision is None:
        return "open"
    by = f" by {decision.by}" if decision.by else ""
    why = f": {decision.why}" if decision.why else ""
    return f"{decision.decision} {decision.at}{by}{why}"


def show_in_full(letters: Iterable[tuple[Letter, Row]], *, as_json: bool) -> None:
    """Print letters with their error, headers and value."""
    if as_json:
        print_json([_in_full(*each) for each in letters])
        return
    for letter, its in letters:
        _print_in_full(letter, its)


def _in_full(letter: Letter, its: Row) -> dict[str, object]:
    record = letter.record
    try:
        value: object = msgspec.Raw(msgspec.json.encode(_json(record.value), enc_hook=exact_number))
    except UnparseableBody:
        value = record.value.decode("utf-8", "replace")
    return {
        **msgspec.to_builtins(its),
        "error": {
            "detail": record.header(headers.ERROR_DETAIL),
            "stage": record.header(headers.ERROR_STAGE),
            "topic": record.header(headers.ERROR_TOPIC),
            "partition": record.header(headers.ERROR_PARTITION),
            "offset": record.header(headers.ERROR_OFFSET),
            "attempt": record.header(headers.ATTEMPT),
        },
        "headers": {name: text.decode("utf-8", "replace") for name, text in record.headers},
        "value": value,
    }


def _print_in_full(letter: Letter, its: Row) -> None:
    record = letter.record
    read = (f"{record.header(headers.ERROR_TOPIC)}:{record.header(headers.ERROR_PARTITION)}"
            f":{record.header(headers.ERROR_OFFSET)}")  # fmt: skip
    said_of_it = [
        ("letter", its.place),
        ("set aside", f"{its.failed_at} by {record.header(headers.ERROR_STAGE)}, "
                      f"attempt {record.header(headers.ATTEMPT)}"),
        ("reason", its.reason),
        ("detail", record.header(headers.ERROR_DETAIL)),
        ("was read at", read),
        ("key", its.key),
        ("event", its.event),
        ("delivery", its.delivery),
        ("redrives", its.redrives),
        ("sent again to", f"{its.again_to}, partition {letter.place.partition}"),
        ("decision", said(its.decision)),
    ]  # fmt: skip
    lines = [f"{name:<14} {plain(str(text))}" for name, text in said_of_it if text is not None]
    lines += ["", "headers"]
    lines += [
        f"  {name}: {plain(text.decode('utf-8', 'replace'))}" for name, text in record.headers
    ]
    lines += ["", f"value ({len(record.value)} bytes)", _readable(record.value), ""]
    print("\n".join(lines))


def _json(value: bytes) -> object:
    if not value:
        raise UnparseableBody("there is nothing")
    return parse_json(value)


def _readable(value: bytes) -> str:
    try:
        _json(value)
    except UnparseableBody:
        return repr(value.decode("utf-8", "backslashreplace"))[1:-1]
    return plain(msgspec.json.format(value.removeprefix(b"\xef\xbb\xbf"), indent=2).decode())


class Bar:
    """A progress bar on a terminal, nothing elsewhere. Implements `redrive.Watcher`."""

    def __init__(self, what: str, things: str = "letters") -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[letters]}"), console=err, transient=True,
            disable=not err.is_terminal,
        )  # fmt: skip
        self._what = what
        self._task: TaskID | None = None
        self._things = things
        self._letters = 0

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def begins(self, offsets: int) -> None:
        """So many offsets are to be read."""
        self._task = self._progress.add_task(self._what, total=offsets, letters="")

    def passed(self, offsets: int) -> None:
        """So many more are read."""
        if self._task is not None:
            self._progress.advance(self._task, offsets)

    def settled(self, letters: int) -> None:
        """So many more letters are decided."""
        self._letters += letters
        if self._task is not None:
            self._progress.update(self._task, letters=f"{self._letters} {self._things}")
