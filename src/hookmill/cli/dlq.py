"""`hookmill dlq`: what was set aside and why; sending it again, or discarding it."""

import getpass
from typing import Annotated

import typer

from hookmill.cli.letterbox import carry_out, list_letters, sent_again_to, show_letters
from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.process import interruptible
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.times import moment_us
from hookmill.core.errors import ConfigurationError
from hookmill.kafka.redrive import Order
from hookmill.stages.letters import Place, Selection, Word, place_of
from hookmill.telemetry import logs

RATE_PER_SEC = 100

app = typer.Typer(
    name="dlq",
    help="Dead letters: what was set aside, and sending it again.\n\nA stage's letters go to that "
    "stage's input again, a handler's to that handler's own queue. What was decided is kept, so "
    "nothing is sent twice.",
    no_args_is_help=True,
)

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PLACE", show_default=False,
        help="Letters by their place, TOPIC:PARTITION:OFFSET, as `list --each` shows it.",
    ),
]  # fmt: skip
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Of this dead-letter topic. Like all of these: may be repeated.",
                 show_default=False),
]  # fmt: skip
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="With this reason.", show_default=False)
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option("--endpoint", help="That came in by this endpoint.", show_default=False),
]
Subjects = Annotated[
    list[str] | None,
    typer.Option("--subject", help="About this subject (a payment, an invoice), or of this key.",
                 show_default=False),
]  # fmt: skip
Since = Annotated[
    str | None,
    typer.Option(help="That failed since then: 24h (ago), or a time as 2026-11-23T09:00:00Z.",
                 show_default=False),
]  # fmt: skip
Until = Annotated[str | None, typer.Option(help="That failed before then.", show_default=False)]
Count = Annotated[
    int | None, typer.Option(min=1, help="At most so many, the first ones.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every letter that is open.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print which letters are meant.")]


@app.command("list")
def list_(
    topic: Topics = None, reason: Reasons = None, endpoint: Endpoints = None,
    subject: Subjects = None, since: Since = None, until: Until = None, count: Count = None,
    each: Annotated[
        bool, typer.Option("--each", help="One line a letter, with its place.")
    ] = False,
    decided: Annotated[
        bool, typer.Option("--decided", help="Those that were redriven or discarded too.")
    ] = False,
    config: ConfigPath = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Open letters by topic and reason: how many, and how old. With --each, every one.

    Ages are those of the oldest and the newest open letter. What was redriven or discarded is
    not open any more; it stays readable with --decided until the topic forgets it.
    """
    setup = _setup(config)
    chosen = _selection(setup, None, topic, reason, endpoint, subject, since, until)
    interruptible(list_letters(setup, chosen, count if each else None, each, decided, as_json))


@app.command()
def show(
    places: Places = None,
    topic: Topics = None, reason: Reasons = None, endpoint: Endpoints = None,
    subject: Subjects = None, since: Since = None, until: Until = None, count: Count = None,
    every: All = False, config: ConfigPath = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Letters in full: the error, the headers, the value, what was decided.

    Those named by their place, decided or not; or the open ones that are selected.
    """
    setup = _setup(config)
    chosen = _selection(setup, places, topic, reason, endpoint, subject, since, until)
    _demand(chosen, count, every)
    interruptible(show_letters(setup, chosen, count, as_json))


@app.command()
def redrive(
    places: Places = None,
    topic: Topics = None, reason: Reasons = None, endpoint: Endpoints = None,
    subject: Subjects = None, since: Since = None, until: Until = None, count: Count = None,
    every: All = False, dry_run: DryRun = False,
    rate: Annotated[
        int, typer.Option(min=0, help="At most so many a second; 0: as fast as it goes.")
    ] = RATE_PER_SEC,
    why: Annotated[str | None, typer.Option(help="Kept with it.", show_default=False)] = None,
    config: ConfigPath = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Send letters again, each once: to the stage that failed, or to the handler's own queue.

    Letters of one subject go in the order in which they were set aside. Killed in the middle, run
    it again: what was sent is not sent again. One runs at a time; a second one ends the first. A
    letter that was discarded is sent if it is named by its place.
    """
    setup = _setup(config)
    chosen = _selection(setup, places, topic, reason, endpoint, subject, since, until)
    _demand(chosen, count, every)
    order = _order(setup, "redriven", chosen, count, rate, why)
    interruptible(carry_out(setup, order, dry_run=dry_run, as_json=as_json))


@app.command()
def discard(
    why: Annotated[
        str, typer.Option(help="The reason, kept with each letter.", show_default=False)
    ],
    places: Places = None,
    topic: Topics = None, reason: Reasons = None, endpoint: Endpoints = None,
    subject: Subjects = None, since: Since = None, until: Until = None, count: Count = None,
    every: All = False, dry_run: DryRun = False,
    config: ConfigPath = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Decide that letters are not sent again. They are open no more; nothing is deleted."""
    setup = _setup(config)
    chosen = _selection(setup, places, topic, reason, endpoint, subject, since, until)
    _demand(chosen, count, every)
    if not why.strip():
        raise ConfigurationError("--why: say why, for whoever looks for the letter later")
    order = _order(setup, "discarded", chosen, count, 0, why)
    interruptible(carry_out(setup, order, dry_run=dry_run, as_json=as_json))


def _setup(config: ConfigPath) -> Setup:
    setup = load_setup(config)
    logs.configure(setup.config.log)
    return setup


def _selection(
    setup: Setup, places: list[str] | None, topics: list[str] | None, reasons: list[str] | None,
    endpoints: list[str] | None, subjects: list[str] | None, since: str | None, until: str | None,
) -> Selection:  # fmt: skip
    now = now_us()
    named = []
    for text in places or ():
        place = place_of(text)
        if place is None:
            raise ConfigurationError(
                f"'{text}' is no place of a letter: TOPIC:PARTITION:OFFSET, as in "
                "normalize-dlq:3:42; `hookmill dlq list --each` shows them"
            )
        named.append(Place(_topic(setup, place.topic), place.partition, place.offset))
    return Selection(
        places=frozenset(named),
        topics=frozenset(_topic(setup, each) for each in topics or ()),
        reasons=frozenset(reasons or ()),
        endpoints=frozenset(endpoints or ()),
        subjects=frozenset(subjects or ()),
        since_us=None if since is None else moment_us(since, now, option="--since"),
        until_us=None if until is None else moment_us(until, now, option="--until"),
    )


def _topic(setup: Setup, name: str) -> str:
    """A dead-letter topic by its name, with or without the namespace."""
    known = {called: topic for topic in sent_again_to(setup)
             for called in (topic, setup.names.topic(topic))}  # fmt: skip
    if name not in known:
        raise ConfigurationError(
            f"no dead-letter topic is called '{name}': {', '.join(sent_again_to(setup))}"
        )
    return known[name]


def _demand(selection: Selection, count: int | None, every: bool) -> None:
    selected_some = selection != Selection() or count is not None
    if not selected_some and not every:
        raise ConfigurationError(
            "say which letters: by place, --topic, --reason, --endpoint, --subject, --since, "
            "--until or --count; or --all"
        )
    if selection != Selection() and every:
        raise ConfigurationError("either a selection or --all")


def _order(
    setup: Setup, word: Word, selection: Selection, count: int | None, rate: int, why: str | None
) -> Order:
    return Order(
        word=word, selection=selection, sent_again_to=sent_again_to(setup), count_max=count,
        rate_per_sec=rate, why=_utf8(why), by=_utf8(_user()),
    )  # fmt: skip


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user has often no name
        return None


def _utf8(text: str | None) -> str | None:
    """Arguments that were no UTF-8 come as surrogates, which JSON cannot carry."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
