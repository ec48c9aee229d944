"""What `hookmill trace` says of an event at a handler, from its records and the handler's state."""

from collections.abc import Mapping

import pytest

from hookmill.cli.kept_view import ParkedEvent
from hookmill.cli.trace_handlers import Standing, Told, story
from hookmill.cli.trace_steps import clock
from hookmill.core.record import Record
from hookmill.handlers.kept import Kept, Waiting
from hookmill.pipeline import HandlerTopics
from hookmill.stages import failed

NOW_MS = 1_795_424_400_000  # 2026-11-23T09:00:00Z
LEDGER = HandlerTopics("ledger")
GROUP = "hookmill-handler-ledger"
SUBJECT = b"shop|p_1"


def record(topic: str, offset: int, at_secs: int, headers: Mapping[str, object] = {}) -> Record:
    """A record, so many seconds after the first one."""
    pairs = tuple((name, str(value).encode()) for name, value in headers.items())
    return Record(f"eu-{topic}", 1, offset, NOW_MS - 60_000 + at_secs * 1000, SUBJECT, b"{}", pairs)


FIRST = record("webhooks-raw", 3, 0)
QUEUED = record(LEDGER.queue, 7, 1, {"ce_id": "hm_7"})


def failure(
    before: Record, offset: int, at_secs: int, *, delay_secs: int, attempt: int, due_secs: int
) -> tuple[str, Record]:
    """The retry record that the engine writes of that one, `due_secs` after the first step."""
    topic = LEDGER.retry(delay_secs)
    output = failed.retry(
        before, topic=topic, part=LEDGER.part, reason="http_503", detail="busy", attempt=attempt,
        at_us=0, not_before_ms=NOW_MS - 60_000 + due_secs * 1000,
    )  # fmt: skip
    made = record(topic, offset, at_secs)
    return topic, Record(made.topic, 1, offset, made.timestamp_ms, SUBJECT, b"{}", output.headers)


def letter(before: Record, offset: int, at_secs: int, *, attempt: int) -> Record:
    """The dead letter that the engine writes of that record."""
    output = failed.dead_letter(
        before, topic=LEDGER.dead_letters, part=LEDGER.part, reason="http_503",
        detail=f"failed {attempt} times", attempt=attempt, at_us=0,
    )  # fmt: skip
    made = record(LEDGER.dead_letters, offset, at_secs)
    return Record(made.topic, 1, offset, made.timestamp_ms, SUBJECT, b"{}", output.headers)


ONCE = failure(QUEUED, 2, 2, delay_secs=30, attempt=1, due_secs=32)
TWICE = failure(ONCE[1], 4, 33, delay_secs=300, attempt=2, due_secs=333)
IN_30, IN_300 = LEDGER.retry(30), LEDGER.retry(300)


def standing(
    *,
    committed: Mapping[str, int] | None = None,
    settled: Mapping[str, set[int]] | None = None,
    waiting: Mapping[str, int] | None = None,
    parked: tuple[int, ...] = (),
    ordered: bool = True,
) -> Standing:
    """Where the handler stands; of those that wait, when they failed."""
    events = {name: Waiting(IN_30, "http_503", 1, at_ms, 0)
              for name, at_ms in (waiting or {}).items()}  # fmt: skip
    return Standing(
        committed or {},
        Kept(waiting={SUBJECT: events} if events else {}, settled=dict(settled or {})),
        [ParkedEvent(SUBJECT, offset, f"hm_{offset}", 0) for offset in parked],
        ordered=ordered,
    )


def told(
    stands: Standing,
    *retries: tuple[str, Record],
    queue: tuple[Record, ...] = (QUEUED,),
    aside: tuple[Record, ...] = (),
) -> list[str]:
    """The outcomes, step by step."""  # fmt: skip
    steps = story(LEDGER, GROUP, FIRST, Told(queue, retries, aside), stands, NOW_MS)
    return [each.outcome for each in steps]


def test_the_plain_case_is_one_note_at_the_place_in_the_queue() -> None:
    """As the README shows it: no time, the group, the position."""
    [step] = story(LEDGER, GROUP, FIRST, Told((QUEUED,), (), ()),
                   standing(committed={LEDGER.queue: 8}), NOW_MS)  # fmt: skip

    assert (step.at, step.topic, step.position, step.outcome) == (
        None, GROUP, "1:7", "handled by ledger",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stands", "outcome"),
    [
        (standing(), "waits for ledger"),
        (standing(committed={LEDGER.queue: 7}), "waits for ledger"),
        (standing(committed={LEDGER.queue: 5}, settled={LEDGER.queue: {7}}), "handled by ledger"),
        (standing(waiting={"hm_5": 1}), "waits for ledger, behind event hm_5"),
        (standing(waiting={"hm_5": 1}, ordered=False), "waits for ledger"),
        (standing(committed={LEDGER.queue: 9}, parked=(7,), waiting={"hm_5": 2, "hm_4": 1}),
         "parked behind event hm_4"),
        (standing(committed={LEDGER.queue: 9}, parked=(6, 7, 8)), "parked behind event hm_6"),
        (standing(committed={LEDGER.queue: 9}, parked=(7, 8)),
         "parked behind no other any more: it is next"),
    ],
)  # fmt: skip
def test_an_event_that_never_failed(stands: Standing, outcome: str) -> None:
    """It waits, is parked, or is handled, in its turn or before it."""
    assert told(stands) == [outcome]


def test_each_failure_is_a_step_and_then_it_waits() -> None:
    """In the order of time, whatever order the topics were read in."""
    stands = standing(committed={LEDGER.queue: 8, IN_30: 3}, waiting={"hm_7": 1})

    assert told(stands, TWICE, ONCE) == [
        "failed: http_503 (attempt 1), again at 08:59:32Z",
        "failed: http_503 (attempt 2), again at 09:04:33Z",
        "waits in handler-ledger-retry-300 for attempt 3 until 09:04:33Z",
    ]


def test_one_whose_time_has_come_is_due() -> None:
    """It is being tried, or nobody does it."""
    assert told(standing(committed={LEDGER.queue: 8}), ONCE)[-1] == (
        "waits in handler-ledger-retry-30 due for attempt 2 since 08:59:32Z"
    )


@pytest.mark.parametrize(
    "stands",
    [
        standing(committed={IN_30: 3, IN_300: 5}),
        standing(committed={IN_30: 3}, settled={IN_300: {4}}),
    ],
)
def test_one_that_succeeded_in_the_end_says_in_which_attempt(stands: Standing) -> None:
    """Its last retry record is done with, in its turn or before it, and nothing came of it."""
    assert told(stands, ONCE, TWICE)[-1] == "handled by ledger (attempt 3)"


def test_a_wait_longer_than_any_topics_delay_is_no_failure() -> None:
    """It goes through one more retry topic, and no attempt is counted."""
    long = failure(QUEUED, 2, 2, delay_secs=30, attempt=1, due_secs=90)
    moved = failure(long[1], 3, 32, delay_secs=30, attempt=1, due_secs=90)

    assert told(standing(committed={IN_30: 3}), long, moved) == [
        "failed: http_503 (attempt 1), again at 09:00:30Z",
        "waits on, again at 09:00:30Z",
        "waits in handler-ledger-retry-30 for attempt 2 until 09:00:30Z",
    ]


def test_a_dead_letter_ends_it() -> None:
    """There is nothing more to say, wherever the positions are."""
    aside = letter(TWICE[1], 0, 40, attempt=3)

    assert told(standing(), ONCE, TWICE, aside=(aside,))[2:] == [
        "set aside: http_503 (failed 3 times)"
    ]


def test_one_sent_again_begins_anew() -> None:
    """Its second life is told behind the first, with failures and end of its own."""
    aside = letter(ONCE[1], 0, 40, attempt=2)
    again = record(
        LEDGER.queue,
        20,
        50,
        {"ce_id": "hm_7", "hm-redrives": 1, "hm-redriven-from": "handler-ledger-dlq:3:0"},
    )
    anew = failure(again, 9, 52, delay_secs=30, attempt=1, due_secs=82)

    assert told(standing(committed={LEDGER.queue: 21, IN_30: 9}), anew, ONCE, aside=(aside,),
                queue=(QUEUED, again)) == [
        "failed: http_503 (attempt 1), again at 08:59:32Z",
        "set aside: http_503 (failed 2 times)",
        "sent again from handler-ledger-dlq:3:0, 1 redrive so far",
        "failed: http_503 (attempt 1), again at 09:00:22Z",
        "waits in handler-ledger-retry-30 for attempt 2 until 09:00:22Z",
    ]  # fmt: skip


def test_another_days_time_has_its_date() -> None:
    """An hour's delay may end tomorrow."""
    assert clock(NOW_MS + 3_600_000, NOW_MS) == "10:00:00Z"
    assert clock(NOW_MS + 86_400_000, NOW_MS) == "2026-11-24T09:00:00Z"
