"""The runner: in order, at least once, never skipping; only the handler's word sets aside."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from hookmill.core.event import Event, Links, ProviderEvent, Raw, encode
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.core.record import Record
from hookmill.handlers import runner as runner_module
from hookmill.handlers.api import Answer, Context, FunctionHandler, Handler
from hookmill.handlers.log import LogHandler
from hookmill.handlers.runner import PAUSE_SECS_MAX, Runner, pause_growing


def event(number: int) -> Event:
    """A normalized event."""
    return Event(
        id=f"hm_{number}", type="payment.succeeded", kind="payment", status="succeeded",
        endpoint="shop", provider="yoco", mode="live", occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z", subject=f"p_{number}", resource=None,
        amount=None, amount_paid=None, amount_refunded=None, discrepancy=None, links=Links(),
        failure=None, metadata={"card": "4111"}, provider_event=ProviderEvent(), late=False,
        raw=Raw("webhooks-raw", 0, 0, ""),
    )  # fmt: skip


def record(number: int, value: bytes | None = None) -> Record:
    """A record of the handler's queue; offsets have gaps, as after a transaction."""
    headers = (("hm-delivery", f"d-{number}".encode()),)
    data = encode(event(number)) if value is None else value
    return Record("handler-h", 2, number * 2, 0, b"k", data, headers)


class Exhausted(Exception):
    """The queue has been read to its end."""


class Queue:
    """A queue in memory; what happens to it is noted in its order."""

    def __init__(self, *batches: list[Record]) -> None:
        self._batches = list(batches)
        self.notes: list[Any] = []

    async def fetch(self, *, records_max: int, timeout_secs: float) -> list[Record]:
        """The next batch."""
        if not self._batches:
            raise Exhausted
        return self._batches.pop(0)

    async def set_aside(self, record: Record, reason: str, detail: str, attempt: int) -> None:
        """Note the dead letter."""
        self.notes.append(("aside", record.offset, reason, attempt))

    async def commit(self, next_offset: int) -> None:
        """Note the commit."""
        self.notes.append(("commit", next_offset))


class Observer:
    """Notes what the runner tells of itself."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def handled(self, record: Record, event: Event, seconds: float) -> None:
        """The event is done."""
        assert seconds >= 0
        self.notes.append(("handled", event.id))

    def retried(self, record: Record, reason: str, attempt: int) -> None:
        """The handler failed."""
        self.notes.append(("retried", record.offset, reason, attempt))

    def set_aside(self, record: Record, reason: str) -> None:
        """The event is a dead letter."""
        self.notes.append(("aside", record.offset, reason))


class Scripted:
    """A handler that answers what its script says, then None; exceptions are raised."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.seen: list[tuple[str, int]] = []
        self.contexts: list[Context] = []

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def handle(self, event: Event, context: Context) -> Answer:
        """The next line of the script."""
        self.seen.append((event.id, context.attempt))
        self.contexts.append(context)
        answer = self._script.pop(0) if self._script else None
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            await answer()
            return None
        return answer  # type: ignore[no-any-return]


class Run:
    """A runner with everything around it in memory."""

    def __init__(self, handler: Handler, *batches: list[Record], timeout_secs: float = 5) -> None:
        self.queue, self.observer = Queue(*batches), Observer()
        self.pauses: list[int] = []
        self.said: list[Any] = []
        self.runner = Runner(
            "h",
            handler,
            self.queue,
            timeout_secs=timeout_secs,
            observer=self.observer,
            say=lambda name, **fields: self.said.append((name, fields)),
            pause=self._pause,
        )

    async def _pause(self, attempt: int) -> None:
        self.pauses.append(attempt)

    async def to_the_end(self) -> "Run":
        """Run until the queue has no more."""
        with pytest.raises(Exhausted):
            await self.runner.run()
        return self


async def test_events_are_handled_in_order_and_committed_by_batch() -> None:
    """The commit is the offset behind the last one, gaps and all."""
    handler = Scripted()
    run = await Run(handler, [record(1), record(2)], [], [record(3)]).to_the_end()

    assert handler.seen == [("hm_1", 1), ("hm_2", 1), ("hm_3", 1)]
    assert run.queue.notes == [("commit", 5), ("commit", 7)]
    assert run.observer.notes == [("handled", "hm_1"), ("handled", "hm_2"), ("handled", "hm_3")]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Retry("ledger_unavailable"), "ledger_unavailable"),
        (RuntimeError("the detail may hold a card number"), "RuntimeError"),
        (TimeoutError(), "timeout"),
    ],
)
async def test_what_fails_is_tried_again_in_place(failure: Any, reason: str) -> None:
    """The next event waits: order holds, and nothing is skipped."""
    handler = Scripted(failure, failure)
    run = await Run(handler, [record(1), record(2)]).to_the_end()

    assert handler.seen == [("hm_1", 1), ("hm_1", 2), ("hm_1", 3), ("hm_2", 1)]
    assert run.pauses == [1, 2]
    assert run.observer.notes[:2] == [("retried", 2, reason, 1), ("retried", 2, reason, 2)]
    assert run.queue.notes == [("commit", 5)]


async def test_an_event_that_fails_a_hundred_times_is_still_not_skipped() -> None:
    """There is no last attempt."""
    handler = Scripted(*[Retry("down")] * 100)
    run = await Run(handler, [record(1)]).to_the_end()

    assert handler.seen[-1] == ("hm_1", 101)
    assert run.observer.notes[-1] == ("handled", "hm_1")


async def test_only_the_handlers_word_sets_an_event_aside() -> None:
    """It is kept before anything behind it is committed, and the next one goes on."""
    handler = Scripted(Retry("down"), DeadLetter("no_such_order", "order 7"))
    run = await Run(handler, [record(1), record(2)]).to_the_end()

    assert run.queue.notes == [("aside", 2, "no_such_order", 2), ("commit", 5)]
    assert run.observer.notes[-2:] == [("aside", 2, "no_such_order"), ("handled", "hm_2")]


@pytest.mark.parametrize("answer", [True, 0, "done", {}])
async def test_another_answer_is_a_defect_and_set_aside(answer: Any) -> None:
    """Trying it again would not mend it."""
    run = await Run(Scripted(answer), [record(1)]).to_the_end()

    assert run.queue.notes == [("aside", 2, "handler_answer", 1), ("commit", 3)]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b'{"id": 1}', b"[" * 100_000])
async def test_what_is_no_event_is_set_aside_unseen(value: bytes) -> None:
    """No handler could do anything with it."""
    handler = Scripted()
    run = await Run(handler, [record(1, value), record(2)]).to_the_end()

    assert handler.seen == [("hm_2", 1)]
    assert run.queue.notes == [("aside", 2, "undecodable_event", 1), ("commit", 5)]


async def test_a_handler_that_hangs_is_tried_again() -> None:
    """Its time is cut off."""
    run = await Run(Scripted(asyncio.Event().wait), [record(1)], timeout_secs=0.01).to_the_end()

    assert run.observer.notes == [("retried", 2, "timeout", 1), ("handled", "hm_1")]


async def test_a_cancellation_commits_what_was_done() -> None:
    """And nothing of the event that was being handled."""
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    run = Run(Scripted(None, hang), [record(1), record(2), record(3)])
    task = asyncio.create_task(run.runner.run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert run.queue.notes == [("commit", 3)]


async def test_a_cancellation_at_the_first_event_commits_nothing() -> None:
    """It is handed over again to whoever comes next."""
    run = Run(Scripted(asyncio.Event().wait), [record(1)])
    task = asyncio.create_task(run.runner.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert run.queue.notes == []


async def test_a_dead_letter_that_cannot_be_kept_ends_the_run_before_it() -> None:
    """The event must not be lost between two places."""
    run = Run(Scripted(None, DeadLetter("bad")), [record(1), record(2)])

    async def fails(*_: Any) -> None:
        raise ConnectionError

    run.queue.set_aside = fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await run.runner.run()

    assert run.queue.notes == [("commit", 3)]
    assert run.observer.notes == [("handled", "hm_1")]


async def test_a_handler_knows_what_it_is_given() -> None:
    """The idempotency key is the event's id at every attempt."""
    handler = Scripted(Retry("down"))
    await Run(handler, [record(4)]).to_the_end()
    told = [msgspec.structs.asdict(each) for each in handler.contexts]

    assert [each.pop("attempt") for each in told] == [1, 2]
    assert [each["idempotency_key"] for each in told] == ["hm_4", "hm_4"]
    assert told[0] == told[1]
    assert told[0]["delivery"] == "d-4"
    assert (told[0]["topic"], told[0]["partition"], told[0]["offset"]) == ("handler-h", 2, 8)
    assert (told[0]["handler"], told[0]["deadline_secs"]) == ("h", 5)


def plain(event: Event, context: Context) -> Answer:
    """A function as a team writes it."""
    return None if context.attempt > 1 else Retry("first")


async def awaited(event: Event, context: Context) -> Answer:
    """The same, asynchronous."""
    return plain(event, context)


@pytest.mark.parametrize("function", [plain, awaited])
async def test_a_function_is_a_handler(function: Callable[[Event, Context], Any]) -> None:
    """Plain or asynchronous, it answers in the same words."""
    run = await Run(FunctionHandler(function), [record(1)]).to_the_end()

    assert run.observer.notes == [("retried", 2, "first", 1), ("handled", "hm_1")]


async def test_a_plain_function_that_hangs_is_not_run_twice_at_once() -> None:
    """Its thread cannot be cut off: the next attempts wait for it, and take its answer."""
    calls: list[int] = []
    release = threading.Event()

    def slow(event: Event, context: Context) -> Answer:
        calls.append(context.attempt)
        assert release.wait(10)
        return None

    run = Run(FunctionHandler(slow), [record(1)], timeout_secs=0.02)

    async def pause(attempt: int) -> None:
        if attempt == 3:
            run.runner._timeout_secs = 30
            release.set()

    run.runner._pause = pause
    await run.to_the_end()
    retried = [each for each in run.observer.notes if each[0] == "retried"]

    assert len(retried) >= 3
    assert calls == [1]
    assert run.observer.notes[-1] == ("handled", "hm_1")


async def test_a_plain_function_that_fails_is_called_again() -> None:
    """Each attempt is a call of its own once the last one has ended."""
    calls: list[int] = []

    def fails(event: Event, context: Context) -> Answer:
        calls.append(context.attempt)
        if context.attempt < 3:
            raise OSError
        return None

    await Run(FunctionHandler(fails), [record(1)]).to_the_end()

    assert calls == [1, 2, 3]


async def test_the_log_handler_says_what_came_but_no_metadata() -> None:
    """Customers' data stay out of the log."""
    run = await Run(LogHandler(), [record(1)]).to_the_end()
    ((name, fields),) = run.said

    assert name == "event_handled"
    assert (fields["id"], fields["delivery"]) == ("hm_1", "d-1")
    assert "4111" not in str(fields)


async def test_pauses_double_up_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jittered downwards only, so that members do not come back all at once."""
    slept: list[float] = []

    async def sleep(secs: float) -> None:
        slept.append(secs)

    monkeypatch.setattr(runner_module.asyncio, "sleep", sleep)
    wait: Callable[[int], Awaitable[None]] = pause_growing
    longest = [0.5, 1, 2, 4, 8, 16, 30, 30]
    for attempt in [*range(1, 8), 10_000]:
        await wait(attempt)

    assert all(most / 2 <= secs <= most for secs, most in zip(slept, longest, strict=True))
    assert max(slept) <= PAUSE_SECS_MAX
