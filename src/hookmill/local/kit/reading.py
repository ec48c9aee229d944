"""Identity and normalization: the same for the same event, total for any other body."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import UnparseableBody
from hookmill.core.event import STATUSES, decode
from hookmill.core.outcome import DeadLetter, Forward
from hookmill.core.parse import exact_number, parse_json
from hookmill.core.record import Record
from hookmill.local.kit.specimen import AT_US, Bench, Fixture
from hookmill.local.stories.story import Step, Story
from hookmill.providers.endpoint import Endpoint
from hookmill.stages import headers
from hookmill.stages.accept import accept
from hookmill.stages.normalize import Normalize

RETRY_US = 60_000_000
ODD_VALUES: tuple[Any, ...] = (None, "", 0, -1, True, [], {}, "x" * 300, 10**40)
LEAVES_MAX = 60


class Outcome(NamedTuple):
    """How one case ended: what is wrong, None where nothing is."""

    group: str
    problem: str | None


def story_outcomes(bench: Bench, stories: list[Story]) -> Iterator[Outcome]:
    """Stories become what they tell; no two of their events look alike, redeliveries do."""
    for story in stories:
        seen: dict[tuple[str, str], Step] = {}
        for step in story:
            delivery = bench.delivery(step)
            items = bench.pack.identify(delivery, bench.options)
            again = bench.pack.identify(bench.delivery(step, at_us=AT_US + RETRY_US), bench.options)
            yield _told("identity", _stable(items, again), step)
            for item in items:
                key = (item.event_id, item.event_type)
                yield _told("identity", f"looks like another event, {key}" if key in seen else None,
                            step)  # fmt: skip
                seen[key] = step
            yield from _becomes(bench, delivery, items, step)
        for one, other in itertools.pairwise(story):
            if one.body != other.body and one.becomes != other.becomes:
                yield _told("identity", None, other)


def _told(group: str, problem: str | None, step: Step) -> Outcome:
    return Outcome(group, None if problem is None else f"{step.becomes}: {problem}")


def _stable(items: tuple[Item, ...], again: tuple[Item, ...]) -> str | None:
    if not items or not all(item.event_id for item in items):
        return "an item without an id"
    one = [(item.event_id, item.event_type, item.subject) for item in items]
    other = [(item.event_id, item.event_type, item.subject) for item in again]
    return None if one == other else f"redelivered it is {other}, before it was {one}"


def _becomes(
    bench: Bench, delivery: Delivery, items: tuple[Item, ...], step: Step
) -> Iterator[Outcome]:
    kept = kept_of(bench, delivery)
    becomes = []
    for item in items:
        alone = replace(delivery, body=item.body)
        single = bench.pack.identify(alone, bench.options)
        yield _told("identity", None if single == (item,) else "an item alone is another", step)
        try:
            draft = bench.pack.normalize(item.body, bench.options, kept)
        except UnparseableBody as error:
            yield _told("normalization", f"unparseable: {error}", step)
            return
        becomes.append(f"{draft.kind}.{draft.status}")
        same = draft.subject == item.subject
        yield _told(
            "identity", None if same else f"subject {draft.subject} is {item.subject}", step
        )
    ok = step.becomes in becomes
    yield _told("normalization", None if ok else f"becomes {', '.join(becomes)}", step)
    yield _told("schema", through_stages(bench, delivery), step)


def kept_of(bench: Bench, delivery: Delivery) -> dict[str, list[str]]:
    """The headers that the ingress would keep."""
    evidence = bench.pack.evidence(delivery, bench.options)
    return {name: values for name, values in evidence.items() if isinstance(values, list)}


def odd_outcomes(bench: Bench, delivery: Delivery) -> Iterator[Outcome]:
    """Whatever a verified body is, it is identified, and normalized or set aside with a reason."""
    for what, body in odd_bodies(delivery.body):
        problem = through_stages(bench, replace(delivery, body=body))
        yield Outcome("odd bodies", None if problem is None else f"{what}: {problem}")


def odd_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The body cut, emptied, nested, and with each of its values exchanged for odd ones."""
    for what, odd in (("nothing", b""), ("null", b"null"), ("a list", b"[]"), ("an object", b"{}"),
                      ("a number", b"1.5e400"), ("not UTF-8", b'{"id":"\xff"}'),
                      ("nested", b'{"a":' * 150 + b"1" + b"}" * 150),
                      ("twice", body + body)):  # fmt: skip
        yield f"a body that is {what}", odd
    for place in range(0, len(body), max(1, len(body) // 40)):
        yield f"a body cut at byte {place}", body[:place]
    try:
        value = parse_json(body)
    except UnparseableBody:
        return
    for pointer in list(_leaves(value, ()))[:LEAVES_MAX]:
        for odd_value in ODD_VALUES:
            changed = msgspec.json.encode(_with(value, pointer, odd_value), enc_hook=exact_number)
            yield f"{'/'.join(map(str, pointer))} = {str(odd_value)[:12]!r}", changed


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in inner:
        yield (*path, key)
        yield from _leaves(child, (*path, key))


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: _with(value[key], tuple(rest), new)}
    return [
        _with(each, tuple(rest), new) if place == key else each for place, each in enumerate(value)
    ]


def through_stages(bench: Bench, delivery: Delivery) -> str | None:
    """Keep and normalize the delivery as the program does; what is wrong with that, or None.

    The event is decoded by the struct that its published schema is made of, so what comes through
    is valid by it.
    """
    endpoint = Endpoint(
        name="trial", pack=bench.pack, options=bench.options, mode=None,
        tolerance_secs=bench.tolerance_secs, dedup_window_secs=1,
    )  # fmt: skip
    stage = Normalize({"trial": endpoint}, raw_topic="raw", to="events")
    secret = bench.terms().secrets[0]
    try:
        records = accept(delivery, delivery_id="d", endpoint=endpoint, secret=secret, to="raw",
                         whole_to="whole")  # fmt: skip
        for output in records:
            record = Record("raw", 0, 0, 0, output.key, output.value or b"", output.headers)
            if output.topic == "raw" and not record.header(headers.EVENT_ID):
                return "an item without an id"
            if output.topic == "raw":
                problem = _wrong(stage, record)
                if problem is not None:
                    return problem
    except Exception as error:  # anything at all is what this looks for
        return f"{type(error).__name__}: {error}"[:200]
    return None


def _wrong(stage: Normalize, record: Record) -> str | None:
    [reading] = stage.read([record])
    found = _floats(msgspec.to_builtins(reading.draft, enc_hook=str))
    if found:
        return f"a float: {found[0]}"
    [outcome] = stage.decide([reading], {})
    if isinstance(outcome, DeadLetter):
        return None if outcome.reason == "unparseable_body" else outcome.reason
    assert isinstance(outcome, Forward)
    event = decode(outcome.outputs[0].value or b"")
    if event.status not in STATUSES[event.kind]:
        return f"{event.kind} has no status '{event.status}'"
    return None


def _floats(value: Any) -> list[float]:
    if isinstance(value, float):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for child in inner for each in _floats(child)]


def draft_of(bench: Bench, fixture: Fixture, at_us: int) -> dict[str, Any]:
    """What a fixture becomes, in the form of its `expected` file."""
    delivery = fixture.delivery(at_us)
    items = bench.pack.identify(delivery, bench.options)
    kept = kept_of(bench, delivery)
    told = []
    for item in items:
        try:
            draft = bench.pack.normalize(item.body, bench.options, kept)
            value = msgspec.json.decode(msgspec.json.encode(draft, enc_hook=exact_number))
        except UnparseableBody:
            value = {"unparseable": True}
        named = {"event_id": item.event_id, "event_type": item.event_type, "subject": item.subject}
        told.append((named, value))
    if len(told) == 1:
        return {"item": told[0][0], "draft": told[0][1]}
    return {"items": [named for named, _ in told], "drafts": [value for _, value in told]}
