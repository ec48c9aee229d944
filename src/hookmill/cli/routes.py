"""`hookmill routes`: the route table, and what it does with an event and why."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hookmill import pipeline
from hookmill.cli.find import Finder
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.process import interruptible
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.times import moment_us
from hookmill.cli.verdicts import Routes, asks, routes_of
from hookmill.core.errors import ConfigurationError, HookmillError, UnparseableBody
from hookmill.core.event import TYPES, Event, decode
from hookmill.core.parse import exact_number, parse_json
from hookmill.core.times import from_epoch_us
from hookmill.kafka.reader import reader
from hookmill.telemetry import logs

STANDARD_INPUT = "-"
_FORM = "FILE holds normalized events as JSON, as `hookmill tail events-normalized --json` prints"

app = typer.Typer(name="routes", help="Which events reach which handlers.", no_args_is_help=True)


@app.command("list")
def show(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """The route table: what each rule asks of an event, and the handlers it names."""
    routes = load_setup(config).config.routes
    if as_json:
        print_json([msgspec.to_builtins(each) for each in routes])
        return
    rows = [(each.name, asks(each.match), ", ".join(each.handlers)) for each in routes]
    print_table(("rule", "asks for", "handlers"), rows)
    if not rows:
        err.print("there are no routes: every event goes to the topic of its kind, to no handler")


@app.command("test")
def ask(
    event: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ID",
            help="A file of normalized events as JSON (- for standard input), or an id that is "
            "looked up in Kafka: normalized id, delivery id, event id, resource id.",
        ),
    ],
    config: ConfigPath = None,
    since: Annotated[
        str, typer.Option(help="How far to look back for an id: 90s, 30m, 24h, 7d.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Which rules take an event and why, and which handlers get it.

    Asks the rules of the configuration as it is now; nothing is sent. Status 1 if nothing has the
    id, 2 if the file holds no event. That no rule takes an event is an answer: status 0.
    """
    setup = load_setup(config)
    logs.configure(setup.config.log)
    if event == STANDARD_INPUT:
        found = events_in(sys.stdin.buffer.read(), "standard input")
    elif _means_a_file(event):
        found = events_in(_bytes_of(Path(event)), event)
    else:
        found = interruptible(_look_up(setup, event, since))
    routes = [_ask(setup, each) for each in found]
    if as_json:
        print_json([msgspec.to_builtins(each) for each in routes])
    else:
        for each in routes:
            _print(each)


def events_in(content: bytes, name: str) -> list[Event]:
    """Every event in a file: one JSON value, a list of them, or one a line.

    A record as `hookmill tail --json` prints it counts as the event in its value. Raises
    ConfigurationError that says where the file holds no event.
    """
    values = _values_in(content, name)
    if not values:
        raise ConfigurationError(f"{name} is empty; {_FORM}")
    return [_event(value, where) for where, value in values]


def _values_in(content: bytes, name: str) -> list[tuple[str, Any]]:
    """The JSON values and where each is."""
    try:
        whole = parse_json(content)
    except UnparseableBody as error:
        lines = [(n, line) for n, line in enumerate(content.splitlines(), start=1) if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0][1]):
            raise ConfigurationError(f"{name} is not JSON: {error}; {_FORM}") from None
        return [_line(f"{name}:{number}", line) for number, line in lines]
    if isinstance(whole, list):
        return [(f"{name}: [{number}]", value) for number, value in enumerate(whole)]
    return [(name, whole)]


def _line(where: str, line: bytes) -> tuple[str, Any]:
    try:
        return where, parse_json(line)
    except UnparseableBody as error:
        raise ConfigurationError(f"{where}: not JSON: {error}") from None


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line)
    except UnparseableBody:
        return False
    return True


def _event(value: Any, where: str) -> Event:
    if isinstance(value, dict) and {"topic", "value"} <= value.keys():
        value = value["value"]
    try:
        event = decode(msgspec.json.encode(value, enc_hook=exact_number))
    except msgspec.MsgspecError as error:
        said = str(error).replace("`", "'")
        raise ConfigurationError(f"{where}: no normalized event: {said}; {_FORM}") from None
    if event.type != f"{event.kind}.{event.status}":
        raise ConfigurationError(
            f"{where}: no normalized event: its type is '{event.type}', its kind and status "
            f"'{event.kind}.{event.status}'"
        )
    if event.type not in TYPES:
        err.print(f"{where}: hookmill makes no events of the type '{event.type}'", markup=False)
    return event


def _means_a_file(text: str) -> bool:
    return Path(text).is_file() or "/" in text or text.endswith((".json", ".jsonl", ".ndjson"))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


async def _look_up(setup: Setup, id: str, since: str) -> list[Event]:
    since_ms = moment_us(since, now_us(), option="--since") // 1000
    async with reader(setup.connection()) as source:
        records = await Finder(setup.names, source, since_ms).events(id)
    if not records:
        raise HookmillError(
            f"no event in {setup.names.topic(pipeline.NORMALIZED)} has the id '{id}' since "
            f"{from_epoch_us(since_ms * 1000)}; look further back with --since 7d, or see what "
            f"became of it with `hookmill trace {id}`"
        )
    return [decode(record.value) for record in records]


def _ask(setup: Setup, event: Event) -> Routes:
    table = zip(setup.config.routes, setup.rules, strict=True)
    return routes_of(event, table, topic=setup.names.topic(pipeline.KIND_TOPICS[event.kind]))


def _print(found: Routes) -> None:
    title = f"event {found.id}: {found.type} of {found.provider} at {found.endpoint}, {found.mode}"
    rows = [(each.rule, "yes" if each.matched else "no", each.why) for each in found.rules]
    print_table(("rule", "takes it", "because"), rows, title)
    print(f"topic {found.topic}")
    for handler, rules in found.handlers.items():
        print(f"handler {handler}, by {', '.join(rules)}")
    if not found.handlers:
        print("no handler: no rule takes it")
    print()
