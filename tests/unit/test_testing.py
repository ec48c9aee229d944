"""hookmill.testing: what a team's tests are told is what production would do."""

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from hookmill.core.errors import Stuck
from hookmill.core.event import STATUSES, encode
from hookmill.core.money import Money
from hookmill.core.parse import Number
from hookmill.handlers import Answer, Context, DeadLetter, Event, Retry
from hookmill.handlers.ledger.handler import LedgerHandler
from hookmill.handlers.ledger.place import books, place
from hookmill.testing import (
    Outcome,
    deliver,
    deliver_sync,
    event_from,
    make_context,
    make_event,
    run,
    run_sync,
)
from hookmill.testing.queue import Fenced, MemoryLog, MemoryQueue

SCHEMAS = Path(__file__).parents[2] / "schemas"
TYPES = [f"{kind}.{status}" for kind, several in STATUSES.items() for status in several]


class Books:
    """A handler that notes what it is given, and answers what the test says, call by call."""

    def __init__(self, **answers: list[Any]) -> None:
        self.calls: list[tuple[str, int]] = []
        self._answers = answers

    async def __call__(self, event: Event, context: Context) -> Answer:
        """The next answer for the event's subject; None when there are no more."""
        self.calls.append((event.subject or "", context.attempt))
        answers = self._answers.get(event.subject or "", [])
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def handle(self, event: Event, context: Context) -> Answer:
        """As a bound method, which is a coroutine function."""
        return await self(event, context)


def endings(outcomes: list[Outcome]) -> list[str]:
    """How each ended."""
    return [each.ended for each in outcomes]


def times(outcome: Outcome) -> list[float]:
    """When each attempt was, in seconds."""
    return [each.at_secs for each in outcome.attempts]


# events


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_can_be_made_and_is_as_the_schemas_say(type_: str) -> None:
    """What a test is given could have come out of Kafka."""
    event = make_event(type=type_)
    kind, status = type_.split(".")
    schema = json.loads((SCHEMAS / f"event.{kind}.schema.json").read_text())

    Draft202012Validator(schema).validate(json.loads(encode(event)))
    assert (event.type, event.kind, event.status) == (type_, kind, status)
    assert event_from(encode(event)) == event


def test_an_event_is_the_same_every_time_and_another_for_another_number() -> None:
    """Ids depend on nothing but what is given."""
    numbers = range(50)

    assert make_event(7) == make_event(7)
    assert len({make_event(each).id for each in numbers}) == len(numbers)
    assert len({make_event(each).subject for each in numbers}) == len(numbers)
    assert make_event(subject="a").id != make_event(subject="b").id


def test_one_number_is_one_payment_in_all_its_events() -> None:
    """Its refund too is in order behind it, and is a resource of its own."""
    created, paid = make_event(3, type="payment.created"), make_event(3)
    refunded = make_event(3, type="refund.succeeded")

    assert len({created.id, paid.id, refunded.id}) == 3
    assert created.subject == paid.subject == refunded.subject == refunded.links.payment
    assert paid.resource is not None
    assert refunded.resource is not None
    assert refunded.resource.id == refunded.links.refund != paid.resource.id == paid.subject


def test_what_is_said_is_what_the_event_has() -> None:
    """The small words for what tests say most, and tables laid over the default."""
    event = make_event(
        status="overpaid", amount="900", amount_paid=1000, currency="KES", subject="p_mine",
        metadata={"cart": 1.50}, links={"order": "o-1"}, resource={"version": 4},
        occurred_at=datetime(2026, 1, 2, tzinfo=UTC), provider_event={"type": "paid"},
    )  # fmt: skip

    assert event.type == "payment.overpaid"
    assert event.amount == Money("900", "KES", 2)
    assert event.amount_paid == Money("1000", "KES", 2)
    assert event.discrepancy is not None
    assert event.discrepancy.direction == "over"
    assert event.metadata == {"cart": Number("1.5")}, "as it comes out of Kafka"
    assert (event.subject, event.links.payment, event.links.order) == ("p_mine", "p_mine", "o-1")
    assert event.resource is not None
    assert (event.resource.id, event.resource.version) == ("p_mine", 4)
    assert event.occurred_at == "2026-01-02T00:00:00.000000Z"
    assert (event.provider_event.type, event.provider_event.amount) == ("paid", "900")


def test_a_late_event_says_where_its_resource_stands() -> None:
    """Its own status and the resource's are two things."""
    event = make_event(type="payment.pending", late=True)

    assert event.resource is not None
    assert (event.status, event.resource.status) == ("pending", "succeeded")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"amonut": "900"}, TypeError, "an event has no 'amonut', did you mean 'amount'?"),
        ({"links": {"ordr": "1"}}, TypeError, "links of an event has no 'ordr', did you mean"),
        ({"type": "payment.succeded"}, ValueError, "did you mean 'payment.succeeded'?"),
        ({"type": "refund.won"}, ValueError, "no event has the type 'refund.won'"),
        ({"kind": "refunds"}, ValueError, "did you mean 'refund'?"),
        ({"kind": "refund", "status": "won"}, ValueError, "a refund has no status 'won'"),
        ({"type": "payment.failed", "status": "expired"}, ValueError, "contradicts"),
        ({"type": "payment.failed", "kind": "refund"}, ValueError, "contradicts"),
        ({"amount": 9.0}, ValueError, "'900' for 9.00 rand, not 9.0"),
        ({"amount": True}, ValueError, "not True"),
        ({"amount": "9.00"}, ValueError, "no event"),
        ({"amount": Money("1", "ZAR", 2), "currency": "USD"}, ValueError, "'USD' is said too"),
        ({"amount": None, "currency": "USD"}, ValueError, "and no amount"),
        ({"status": "overpaid", "discrepancy": {"direction": "under"}}, ValueError, "not 'under'"),
        ({"late": True, "resource": None}, ValueError, "there is none"),
        ({"mode": "prod"}, ValueError, "no event"),
        ({"subject": 5}, ValueError, "no event"),
        ({"received_at": "yesterday"}, ValueError, "received_at is RFC 3339"),
        ({"received_at": datetime(2026, 1, 2)}, ValueError, "with a time zone"),
        ({"metadata": {"at": object()}}, ValueError, "no event"),
        ({"number": -1}, ValueError, "a count from 0"),
    ],
)  # fmt: skip
def test_what_no_event_can_be_is_refused(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A test with an impossible event proves nothing; the message says what to write."""
    with pytest.raises(error) as raised:
        make_event(**changes)

    assert words in str(raised.value)


def test_a_record_of_a_real_event_is_read_as_production_reads_it() -> None:
    """The value itself, or the line that `hookmill tail --json` prints of it."""
    event = make_event(metadata={"rate": 0.1})
    line = json.dumps({"topic": "events-payment", "offset": 3, "value": json.loads(encode(event))})

    assert event_from(encode(event)) == event
    assert event_from(encode(event).decode()) == event
    assert event_from(line) == event


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b"\xff", b'{"topic":"t","value":null}'])
def test_what_is_no_event_is_refused(record: bytes) -> None:
    """With one kind of error, whatever is wrong."""
    with pytest.raises(ValueError, match="no event"):
        event_from(record)


# contexts


def test_a_context_belongs_to_its_event() -> None:
    """Its key is the event's id, its logger carries what production's does."""
    event = make_event(5)
    context = make_context(event, attempt=3, handler="orders")
    with capture_logs() as lines:
        context.log.info("order_released", order="o-1")

    assert (context.idempotency_key, context.attempt) == (event.id, 3)
    assert context.topic == "handler-orders"
    [line] = lines
    assert (line["handler"], line["event_id"], line["order"]) == ("orders", event.id, "o-1")
    assert line["delivery"] == context.delivery


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"atempt": 1}, TypeError),
        ({"attempt": 0}, ValueError),
        ({"deadline_secs": 0}, ValueError),
        ({"idempotency_key": "mine"}, ValueError),
    ],
)
def test_what_no_context_can_be_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    """As with events."""
    with pytest.raises(error):
        make_context(**changes)


# one call


async def test_a_call_is_judged_as_production_judges_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three answers, whatever the handler does; the traceback is shown."""
    event = make_event()

    async def hangs(event: Event, context: Context) -> None:
        await asyncio.sleep(60)

    def raises(event: Event, context: Context) -> None:
        raise LookupError("no such order")

    assert await run(lambda event, context: None, event) is None
    assert await run(lambda event, context: Retry("busy"), event) == Retry("busy")
    assert await run(hangs, event, timeout_secs=0.05) == Retry("timeout")
    assert await run(raises, event) == Retry("LookupError", "no such order")
    assert "in raises" in capsys.readouterr().err
    nonsense = await run(lambda event, context: True, event)
    assert isinstance(nonsense, DeadLetter)
    assert nonsense.reason == "handler_answer"


async def test_a_coroutine_behind_a_plain_function_is_awaited() -> None:
    """A decorator that is no coroutine function itself, or an object that is called."""
    books = Books(a=[Retry("busy")] * 2)
    event = make_event(subject="a")

    assert await run(lambda event, context: books.handle(event, context), event) == Retry("busy")
    assert await run(books, event) == Retry("busy")
    assert await run(books, event) is None


def test_a_call_from_a_plain_test() -> None:
    """Its context is as asked for; a thread that hangs is left alone."""
    seen: list[Context] = []
    release = threading.Event()

    def handle(event: Event, context: Context) -> None:
        seen.append(context)
        release.wait(60)

    try:
        answer = run_sync(handle, make_event(), attempt=4, timeout_secs=0.05)
    finally:
        release.set()

    assert answer == Retry("timeout")
    assert (seen[0].attempt, seen[0].deadline_secs) == (4, 0.05)


def test_what_is_no_handler_is_refused() -> None:
    """Before anything is called."""
    for wrong in ("shop.orders:handle", Books, None):
        with pytest.raises(TypeError):
            run_sync(wrong, make_event())  # type: ignore[arg-type]


async def test_a_handler_object_is_started_and_closed(tmp_path: Path) -> None:
    """As a process does; so the built-in ones can be tried, too."""
    events = [make_event(1), make_event(2)]

    assert (
        await run(LedgerHandler(books(place(None, local_dir=tmp_path), connections=1)), events[0])
        is None
    )
    ledger = LedgerHandler(books(place(None, local_dir=tmp_path), connections=1))
    outcomes = await deliver(ledger, events, again=True, crash_after=1)
    assert endings(outcomes) == ["handled"] * 4


# a life


async def test_a_failed_event_waits_as_long_as_is_configured() -> None:
    """In no time at all; `after_secs` makes it longer, never shorter."""
    books = Books(a=[OSError("down"), Retry("busy", after_secs=7200), Retry("busy", after_secs=1)])
    [outcome] = await deliver(books.handle, [make_event(subject="a")])

    assert outcome.ended == "handled"
    assert times(outcome) == [0, 30, 7230, 10830]
    assert [each.number for each in outcome.attempts] == [1, 2, 3, 4]
    assert outcome.attempts[0].answer == Retry("OSError", "down")
    assert outcome.attempts[3].answer is None


async def test_one_that_fails_for_ever_is_set_aside() -> None:
    """After the last delay, with the reason it failed for."""
    handler = Books(a=[Retry("no_stock", "of bricks")] * 9).handle
    [outcome] = await deliver(handler, [make_event(subject="a")], delays_secs=(5, 60))

    assert outcome.ended == "dead_letter"
    assert outcome.dead_letter == DeadLetter("no_stock", "failed 3 times; of bricks")
    assert times(outcome) == [0, 5, 65]


async def test_a_later_event_of_the_subject_waits_and_others_go_on() -> None:
    """Order per subject, and no queue that stands still."""
    books = Books(a=[Retry("busy"), Retry("busy")])
    events = [make_event(1, subject="a"), make_event(2, subject="a"), make_event(3, subject="b")]
    outcomes = await deliver(books.handle, events)

    assert endings(outcomes) == ["handled"] * 3
    assert books.calls == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 1)]
    assert [each.attempts[-1].at_secs for each in outcomes] == [330, 330, 0]


async def test_however_many_wait_others_go_on() -> None:
    """More than are held in memory at once: they are parked."""
    behind = [make_event(each, subject="a") for each in range(1_500)]
    outcomes = await deliver(Books(a=[Retry("busy")]).handle, [*behind, make_event(1_500)])

    assert endings(outcomes) == ["handled"] * 1_501
    assert times(outcomes[-1]) == [0]
    assert {each.attempts[-1].at_secs for each in outcomes[:-1]} == {30}


async def test_without_order_nobody_waits() -> None:
    """`ordered = false` is for handlers to which it means nothing."""
    events = [make_event(1, subject="a"), make_event(2, subject="a")]
    outcomes = await deliver(Books(a=[Retry("busy")]).handle, events, ordered=False)

    assert [each.attempts[-1].at_secs for each in outcomes] == [30, 0]


async def test_what_nothing_can_be_done_about_is_tried_in_place() -> None:
    """No attempt is counted, and the pauses grow."""
    held = [Retry("db_down", in_place=True)] * 4
    [outcome] = await deliver(Books(a=held).handle, [make_event(subject="a")])

    assert outcome.ended == "handled"
    assert [each.number for each in outcome.attempts] == [1] * 5
    assert times(outcome) == [0, 0.5, 1.5, 3.5, 7.5]


async def test_a_time_that_does_not_suffice_is_said() -> None:
    """Rather than a test that runs for ever."""
    for_ever = Books(a=[Retry("db_down", in_place=True)] * 9999).handle
    [held] = await deliver(for_ever, [make_event(subject="a")], until_secs=600)
    [waits] = await deliver(
        Books(a=[Retry("busy")]).handle, [make_event(subject="a")], until_secs=29
    )

    assert (held.ended, waits.ended) == ("waiting", "waiting")
    assert held.attempts[-1].at_secs <= 600
    assert len(waits.attempts) == 1


async def test_everything_can_be_delivered_twice() -> None:
    """The second time is an outcome of its own, and the same id."""
    books = Books(a=[Retry("busy")])
    events = [make_event(1, subject="a"), make_event(2, subject="b")]
    outcomes = await deliver(books.handle, events, again=True)

    assert [each.event for each in outcomes] == [*events, *events]
    assert endings(outcomes) == ["handled"] * 4
    assert Counter(books.calls) == {("a", 1): 2, ("a", 2): 1, ("b", 1): 2}


async def test_after_a_crash_nothing_is_lost_and_the_last_call_is_made_again() -> None:
    """The work of the lost call was done: that is what the idempotency key is for."""
    books = Books()
    events = [make_event(each, subject="a") for each in range(4)]
    outcomes = await deliver(books.handle, events, crash_after=2)
    second = outcomes[1].attempts

    assert endings(outcomes) == ["handled"] * 4
    assert [each.lost for each in second] == [True, False]
    assert [each.number for each in second] == [1, 1]
    assert len(books.calls) > len(events)


async def test_a_thread_that_hangs_takes_its_place_and_ends_the_process_at_last() -> None:
    """As in production, where a supervisor starts a new one."""
    release = threading.Event()
    try:
        with pytest.raises(Stuck):
            await deliver(
                lambda event, context: release.wait(60),
                [make_event(1), make_event(2)],
                concurrency=1,
                timeout_secs=0.05,
            )
    finally:
        release.set()


def test_a_life_from_a_plain_test() -> None:
    """No fixture, no plugin."""
    assert endings(deliver_sync(lambda event, context: None, [make_event()])) == ["handled"]
    assert deliver_sync(lambda event, context: None, []) == []


@pytest.mark.parametrize("options", [{"delays_secs": (5, 5)}, {"delays_secs": (0,)},
                                     {"crash_after": 0}])  # fmt: skip
def test_options_that_no_configuration_takes_are_refused(options: dict[str, Any]) -> None:
    """Else a test would try what cannot be."""
    with pytest.raises(ValueError):
        deliver_sync(lambda event, context: None, [make_event()], **options)


def test_two_different_events_of_one_id_are_refused() -> None:
    """An idempotent handler would skip the second, and the test would mean nothing."""
    with pytest.raises(ValueError, match="give each a number of its own"):
        deliver_sync(lambda event, context: None, [make_event(), make_event(amount="1")])


ANSWERS = some.one_of(
    some.just(None),
    some.builds(ValueError, some.just("boom")),
    some.just(DeadLetter("never")),
    some.builds(Retry, some.just("busy"), after_secs=some.sampled_from([0, 7, 45, 500])),
    some.just(Retry("away", in_place=True)),
)


@settings(max_examples=200, deadline=None)
@given(
    plans=some.lists(some.tuples(some.sampled_from("abc"), some.lists(ANSWERS, max_size=5))),
    crash_after=some.one_of(some.none(), some.integers(1, 25)),
    again=some.booleans(),
    concurrency=some.integers(1, 4),
)
def test_whatever_the_handler_answers_each_event_ends_once_and_in_order(
    plans: list[tuple[str, list[Any]]], crash_after: int | None, again: bool, concurrency: int
) -> None:
    """The runner's promises, seen by a handler: with retries, redeliveries and a crash."""
    left = {number: list(answers) for number, (_, answers) in enumerate(plans)}
    begun: dict[str, set[str]] = defaultdict(set)

    async def handle(event: Event, context: Context) -> Answer:
        assert event.subject is not None
        assert not begun[event.subject], "two of one subject at once"
        begun[event.subject].add(event.id)
        await asyncio.sleep(0)
        begun[event.subject].clear()
        answers = left[event.raw.offset]
        answer = answers.pop(0) if answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = [make_event(number, subject=subject) for number, (subject, _) in enumerate(plans)]
    outcomes = deliver_sync(
        handle, events, delays_secs=(10, 60), again=again, crash_after=crash_after,
        concurrency=concurrency,
    )  # fmt: skip

    assert all(each.ended != "waiting" for each in outcomes)
    for outcome in outcomes:
        last = outcome.attempts[-1]
        assert not last.lost
        assert (last.answer is None) == (outcome.ended == "handled")
        kept = [each for each in outcome.attempts if not each.lost]
        counted = [each for each in kept
                   if not (isinstance(each.answer, Retry) and each.answer.in_place)]  # fmt: skip
        if crash_after is None:
            assert [each.number for each in counted] == list(range(1, len(counted) + 1))
    for subject in "abc":
        own = [each for each in outcomes if each.event.subject == subject]
        turns = [each.attempts[-1].turn for each in own]
        assert turns == sorted(turns)
        if crash_after is None:
            every = [each.turn for outcome in own for each in outcome.attempts]
            assert every == sorted(every)


# the queue


async def test_an_owner_that_was_fenced_commits_nothing() -> None:
    """As with a transactional id of Kafka."""
    log = MemoryLog("q")
    first, second = (MemoryQueue(log, "q", now_ms=lambda: 0, wait=asyncio.sleep) for _ in range(2))
    await first.begin()
    await second.begin()

    with pytest.raises(Fenced):
        await first.commit([], [(b"k", b"v")], {"q": 1})
    assert (log.state, log.positions) == ({}, {})
    await second.commit([], [(b"k", b"v")], {"q": 1})
    assert (second.kept(b"k"), log.positions) == (b"v", {"q": 1})


def test_it_needs_no_kafka_client_and_no_broker() -> None:
    """A team's test run begins at once."""
    heavy = ("aiokafka", "rocksdict", "aiohttp", "typer")
    program = f"import sys, hookmill.testing; print([x for x in {heavy} if x in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )

    assert done.stdout.strip() == "[]", done.stderr
