"""What the service says: only what is listed, in one line, and never a credential."""

import ast
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from hookmill.config.options import Log
from hookmill.telemetry import catalog, kinds, page
from hookmill.telemetry.logs import bound, configure, say

SOURCE = Path(__file__).parents[2] / "src" / "hookmill"
DOCUMENT = SOURCE.parents[1] / "docs" / "TELEMETRY.md"
BEGIN, END = "<!-- `hookmill telemetry --markdown` -->", "<!-- to here -->"
TREES = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
METRICS = {
    name: metric for name, metric in vars(catalog).items() if isinstance(metric, MetricWrapperBase)
}


def calls_of(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function or method of these names under src, and where it is."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if name in names:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def words(node: ast.expr) -> list[str] | None:
    """The literals an argument can be, None where it is none."""
    match node:
        case ast.Constant(value=str(word)):
            return [word]
        case ast.IfExp(body=body, orelse=orelse):
            one, other = words(body), words(orelse)
            return None if one is None or other is None else one + other
        case _:
            return None


def said() -> dict[str, list[str]]:
    """Every event that the code says, and where; `library` is said for the libraries."""
    found: dict[str, list[str]] = {}
    for where, call in calls_of("say"):
        for word in words(call.args[0]) or []:
            found.setdefault(word, []).append(where)
    for where, call in calls_of("log"):
        if where.startswith("telemetry/"):
            for word in words(call.args[1]) or []:
                found.setdefault(word, []).append(where)
    return found


class Terminal(io.TextIOWrapper):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """Yes."""
        return True


Start = Callable[..., Callable[[], str]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Configures the logs of a process; gives a function that tells what it wrote to stderr."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def begin(options: Log = Log(), *, terminal: bool = False, **bound: Any) -> Callable[[], str]:  # noqa: B008
        raw = io.BytesIO()
        stream = (Terminal if terminal else io.TextIOWrapper)(raw, "utf-8", write_through=True)
        monkeypatch.setattr(sys, "stderr", stream)
        configure(options, **bound)
        return lambda: raw.getvalue().decode()

    return begin


def only_line(text: str) -> dict[str, Any]:
    """The one JSON line that was written."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_event_that_is_said_is_in_the_catalog() -> None:
    """What is not listed is refused at run time: better refused here."""
    unlisted = {word: where for word, where in said().items() if word not in catalog.EVENTS}

    assert unlisted == {}


def test_every_event_of_the_catalog_is_said_somewhere() -> None:
    """A runbook that waits for a line that never comes is worse than none."""
    assert sorted(set(catalog.EVENTS) - set(said())) == []


def test_events_are_said_by_their_literal_name() -> None:
    """So that whoever reads a log finds the place in the code."""
    unnamed = [where for where, call in calls_of("say") if words(call.args[0]) is None]

    assert unnamed == []


def test_events_have_a_level_and_a_meaning() -> None:
    """Names in snake case; the meaning is for the runbook."""
    for name, (level, meaning) in catalog.EVENTS.items():
        assert name.replace("_", "").isalpha()
        assert name.islower()
        assert level in {"debug", "info", "warning", "error"}
        assert len(meaning) > 10


def test_every_metric_of_the_catalog_is_used_somewhere() -> None:
    """A dashboard of a metric that never moves shows nothing wrong."""
    used = {
        node.attr
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "catalog"
    }

    assert sorted(METRICS.keys() - used) == []


def test_metrics_are_made_in_the_catalog_only() -> None:
    """One list of everything that can be measured; `kinds` only says what there can be."""
    kinds_of_metrics = {"Counter", "Gauge", "Histogram", "Summary", "LoopCounter", "LoopHistogram",
                        "Moment"}  # fmt: skip
    makers = {
        str(path.relative_to(SOURCE))
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module in ("prometheus_client", "hookmill.telemetry.kinds")
        and {each.name for each in node.names} & kinds_of_metrics
    }

    assert makers - {"telemetry/kinds.py"} == {"telemetry/catalog.py"}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_metrics_have_our_prefix_a_meaning_and_bounded_labels(metric: MetricWrapperBase) -> None:
    """Never an id, a key or anything that came in a request."""
    (family, *_) = metric.describe()

    assert family.name.startswith("hookmill_")
    assert len(family.documentation) > 10
    assert set(metric._labelnames) <= page.LABELS.keys()


def test_the_page_shows_every_metric_once_and_no_label_that_none_has() -> None:
    """Under the process that sets it."""
    shown = [metric for several in page.SECTIONS.values() for metric in several]

    assert len(shown) == len(METRICS)
    assert {id(each) for each in shown} == {id(each) for each in METRICS.values()}
    assert page.LABELS.keys() == {name for each in shown for name in each._labelnames}


def test_the_document_is_what_the_catalog_says() -> None:
    """Written by `hookmill telemetry --markdown`; the text around it is a person's."""
    _, _, rest = DOCUMENT.read_text().partition(BEGIN)

    assert rest.partition(END)[0].strip() == page.markdown().strip()


def test_an_event_is_one_json_line(start: Start) -> None:
    """With its level, its time in UTC, what it is bound to, and its own fields."""
    written = start(part="ingress", instance="0")
    say("breaker_opened", error="two\nlines", left=3, ready=None)
    line = only_line(written())
    time = line.pop("timestamp")

    assert time.endswith("Z")
    assert line == {
        "event": "breaker_opened",
        "level": "warning",
        "part": "ingress",
        "instance": "0",
        "error": "two\nlines",
        "left": 3,
        "ready": None,
    }


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_line_that_cannot_be_written_is_counted(start: Start, style: Any) -> None:
    """Its pipe is closed: no delivery may be refused for want of a log."""
    start(Log(format=style))
    sys.stderr.close()
    before = catalog.LOG_LINES_LOST._value.get()
    say("breaker_closed")

    assert catalog.LOG_LINES_LOST._value.get() == before + 1


def test_an_event_that_is_not_listed_is_a_defect(start: Start) -> None:
    """It is raised where it is said."""
    start()
    with pytest.raises(KeyError, match="something_new"):
        say("something_new")


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["delivery_accepted", "delivery_refused", "breaker_opened", "request_failed"]),
        ("info", ["delivery_refused", "breaker_opened", "request_failed"]),
        ("warning", ["breaker_opened", "request_failed"]),
        ("error", ["request_failed"]),
    ],
)
def test_the_level_is_the_catalogs(start: Start, level: Any, written: list[str]) -> None:
    """And the configured one decides what is written."""
    output = start(Log(level=level))
    for event in ("delivery_accepted", "delivery_refused", "breaker_opened", "request_failed"):
        say(event)

    assert written == [json.loads(line)["event"] for line in output().splitlines()]


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize(
    "field", ["secret_text", "password", "authorization", "token", "key", "body", "signature"]
)
def test_a_sensitive_field_is_hidden(start: Start, style: Any, field: str) -> None:
    """Whoever says it by mistake says nothing."""
    written = start(Log(format=style))
    say("delivery_refused", endpoint="shop-za", **{field: "hunter2"})

    assert "hunter2" not in written()
    assert "[hidden]" in written()
    assert "shop-za" in written()


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_variables(start: Start, style: Any) -> None:
    """Those of a team's handler may be secrets and metadata; where it was raised is enough."""
    text = start(Log(format=style))
    card = "4111-1111"
    try:
        raise LookupError("no such order")
    except LookupError:
        bound(handler="orders").exception("order_failed")

    assert "no such order" in text()
    assert "test_a_traceback_shows_no_variables" in text()
    assert card not in text()


def test_a_bound_sensitive_field_is_hidden_too(start: Start) -> None:
    """It would be in every line."""
    written = start(token="hunter2")
    say("breaker_closed")

    assert only_line(written())["token"] == "[hidden]"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\xff", "/w=="),
        (ValueError("no"), "no"),
        (Path("a/b"), "a/b"),
        ([1, (2, 3)], [1, [2, 3]]),
        (2**70, 2**70),
        ("ü\x00\u2028", "ü\x00\u2028"),
    ],
    ids=["bytes", "an error", "a path", "lists", "a large integer", "odd characters"],
)
def test_any_value_makes_one_line(start: Start, value: Any, shown: Any) -> None:
    """A log line never fails for what is in it."""
    written = start()
    say("kafka_unavailable", error=value)

    assert only_line(written())["error"] == shown


def test_text_that_is_no_utf_8_makes_a_line(start: Start) -> None:
    """A file name or a header may hold bytes that were none; saying so must not raise."""
    written = start()
    say("file_unreadable", error="No such file: 'id\udcff.txt'")

    assert "No such file: 'id" in only_line(written())["error"]


def test_a_librarys_warning_is_a_line_of_ours(start: Start) -> None:
    """Under the event `library`, with its logger; what is below a warning is not said."""
    written = start(part="ingress")
    logging.getLogger("asyncio").info("nothing to see")
    logging.getLogger("asyncio").warning("slow: %s", "task")
    line = only_line(written())

    assert (line["event"], line["level"], line["part"]) == ("library", "warning", "ingress")
    assert (line["logger"], line["message"], line["error"]) == ("asyncio", "slow: task", None)


def test_a_defects_text_is_a_field_and_no_traceback(start: Start) -> None:
    """Its kind and its text, capped; the frames would quote what was in them."""
    written = start()
    held = "the body of a request"
    try:
        raise ValueError("cannot be\n" + "x" * 5000)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    line = only_line(written())

    assert line["message"] == "Error handling request"
    assert line["error"] == "ValueError: cannot be\n" + "x" * 278
    assert len(line["error"]) == 300
    assert "Traceback" not in written()
    assert held not in written()


def test_a_librarys_long_message_is_capped(start: Start) -> None:
    """Five hundred characters say enough."""
    written = start()
    logging.getLogger("asyncio").error("y" * 5000)

    assert only_line(written())["message"] == "y" * 500


@pytest.mark.parametrize(
    ("level", "message", "arguments"),
    [(35, "a level of its own", ()), (logging.WARNING, "%d attempts", ("three",))],
    ids=["an odd level", "arguments that do not fit"],
)
def test_a_librarys_odd_line_never_raises_in_the_library(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    message: str,
    arguments: tuple[Any, ...],
) -> None:
    """A logger's mistake must not become a failed delivery."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    start()

    logging.getLogger("asyncio").log(level, message, *arguments)


def test_what_aiokafka_calls_errors_is_not_repeated(start: Start) -> None:
    """It reports each retried request; what matters of it we say ourselves."""
    written = start()
    logging.getLogger("aiokafka.conn").error("Unable to request metadata")

    assert written() == ""


@pytest.mark.parametrize(
    ("style", "terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("json", True, True),
        ("console", False, False),
    ],
)
def test_people_on_a_terminal_get_readable_lines(
    start: Start, style: Any, terminal: bool, is_json: bool
) -> None:
    """Programs get JSON, unless the configuration says otherwise."""
    written = start(Log(format=style), terminal=terminal)
    say("breaker_opened", error="TimeoutError")

    assert "breaker_opened" in written()
    assert is_json is written().startswith("{")


def test_colour_is_for_terminals_only(start: Start) -> None:
    """A file of readable lines has no escape codes in it."""
    written = start(Log(format="console"), terminal=False)
    say("breaker_opened", error="TimeoutError")

    assert "\x1b" not in written()


def test_no_color_is_honoured(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal too."""
    monkeypatch.setenv("NO_COLOR", "1")
    written = start(Log(format="console"), terminal=True)
    say("breaker_opened", error="TimeoutError")

    assert "\x1b" not in written()


@given(st.lists(st.floats(0, 12) | st.sampled_from(catalog._LATENCY), max_size=30))
def test_what_is_counted_without_a_lock_is_told_as_with_one(amounts: list[float]) -> None:
    """Sample by sample what the library's own counter and histogram say."""
    told = []
    for counter, histogram in (
        (Counter, Histogram),
        (kinds.LoopCounter, kinds.LoopHistogram),
    ):
        registry = CollectorRegistry()
        count = counter("hm_c", "Some", ("endpoint",), registry=registry).labels("shop")
        seconds = histogram(
            "hm_s", "Some", ("endpoint",), buckets=catalog._LATENCY, registry=registry
        ).labels("shop")
        for amount in amounts:
            count.inc()
            count.inc(amount)
            seconds.observe(amount)
        told.append(generate_latest(registry))

    assert told[0] == told[1]
