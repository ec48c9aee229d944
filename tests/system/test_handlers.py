"""A team's handler from outside: it fails, hangs, crashes its process and answers nonsense.

Every subject's events are handled in order, none is lost or stuck, retries come on time, the ledger
beside it counts each effect once; and what was set aside comes back when it is sent again.
"""

import json
import os
import random
import signal
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from support.program import Program, headers_of, yoco

pytestmark = pytest.mark.broker

EVENTS = int(os.environ.get("HOOKMILL_TESTS_EVENTS", "300"))
SUBJECTS = max(20, EVENTS // 50)
DELAYS_SECS = (1, 2, 4)
LATE_SECS_MAX = 3.0
SECONDS = max(240, EVENTS // 20)

HANDLER = """
import asyncio, json, os, time
from pathlib import Path

from hookmill.handlers import DeadLetter, Retry

HERE = Path(__file__).parent
calls = 0


def note(**what):
    line = json.dumps({"at": time.time(), **what}) + "\\n"
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(line)


async def handle(event, context):
    global calls
    calls += 1
    call = {"id": event.id, "subject": event.subject, "attempt": context.attempt}
    note(begins=True, **call)
    try:
        answer = await behave(event, int(event.id[3:11], 16) % 100, context.attempt)
    except ValueError:
        note(ended=context.attempt > 3, answer="Retry: ValueError", **call)
        raise
    note(ended=not isinstance(answer, Retry) or context.attempt > 3, answer=repr(answer), **call)
    return answer


async def behave(event, luck, attempt):
    if (HERE / "mended").exists():
        return None
    if event.links.refund == "rfd_POISON" and attempt == 1:
        os._exit(1)
    if luck in (1, 2) and attempt == 1:
        await asyncio.sleep(60)
    if luck == 3:
        return "nonsense"
    if luck == 4:
        return DeadLetter("no_such_order")
    if luck == 5:
        raise ValueError("never works")
    return Retry("third_time") if calls % 3 == 0 else None
"""

CONFIGURATION = """
[handlers.orders]
type = "orders:handle"
retry_delays_secs = [1, 2, 4]
timeout_secs = 1

[[routes]]
name = "orders"
handlers = ["orders"]
"""


class Handled:
    """The program with that handler, and what the handler noted of its calls."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._folder = program.folder
        (self._folder / "orders.py").write_text(HANDLER.replace("POISON", str(SUBJECTS + 3)))
        with program.config.open("a") as file:
            file.write(CONFIGURATION)

    def calls(self) -> list[dict[str, Any]]:
        """Every note, in order."""
        path = self._folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def mend(self) -> None:
        """From now on it succeeds."""
        Path(self._folder / "mended").touch()

    def ended(self) -> set[str]:
        """The events that came to an end."""
        return {each["id"] for each in self.calls() if each.get("ended")}

    def succeeded(self) -> set[str]:
        """The events that the handler was content with."""
        return {each["id"] for each in self.calls() if each.get("answer") == "None"}

    def kill(self, name: str) -> None:
        """SIGKILL to the process of a part; `hookmill up` starts it again."""
        for pid in self.program.children_of(self.program.processes[0].pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if name.encode() in command:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def handled(program: Program) -> Handled:
    """Running, with everything ready."""
    handled = Handled(program)
    program.start("up")
    program.until(program.ready)
    return handled


def queue_of(program: Program) -> dict[str, list[str]]:
    """The events of each subject as they lie in the handler's queue, redriven ones left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in sorted(
        program.read("handler-orders"), key=lambda each: (each.partition(), each.offset())
    ):
        headers = headers_of(message)
        if "hm-redrives" not in headers:
            found[headers["ce_subject"]].append(headers["ce_id"])
    return found


def test_through_failures_hangs_crashes_and_nonsense(handled: Handled) -> None:
    """Order in every subject, each effect once in the ledger, nothing stuck, retries on time."""
    program, chance = handled.program, random.Random(1)
    for number in range(EVENTS):
        assert program.post(*delivery(number))[0] == 200
        if chance.random() < 3 / EVENTS:
            handled.kill(chance.choice(["orders", "ledger"]))
    program.until(lambda: len(program.read("handler-orders")) >= EVENTS, timeout_secs=SECONDS)
    program.until(lambda: len(handled.ended()) >= EVENTS, timeout_secs=SECONDS)
    queue = queue_of(program)
    calls = handled.calls()

    assert sum(map(len, queue.values())) == EVENTS
    assert overtaken(queue, calls) == []
    assert_on_time(calls)
    assert_counted_once(program)

    letters = set_aside(program)
    hopeless = {each["id"] for each in calls if each.get("answer") in
                ("'nonsense'", "DeadLetter(reason='no_such_order', detail='')")}  # fmt: skip
    assert hopeless <= set(letters)
    assert max(letters.values()) == 1
    handled.mend()
    program.run("dlq", "redrive", "--topic", "handler-orders-dlq")
    program.until(lambda: len(handled.succeeded()) == EVENTS, timeout_secs=SECONDS)
    program.until(lambda: lag_of(program, "handler-orders") == 0)

    assert set_aside(program) == letters


def delivery(number: int) -> tuple[str, bytes, dict[str, str]]:
    """A payment for each subject, then refunds that go round them."""
    if number < SUBJECTS:
        return yoco(number)
    return yoco(number, kind="refund.succeeded", payment=number % SUBJECTS)


def overtaken(queue: dict[str, list[str]], calls: list[dict[str, Any]]) -> list[str]:
    """Events that began before an earlier one of their subject had come to an end."""
    ended: set[str] = set()
    wrong = []
    for call in calls:
        if call.get("begins"):
            subject = queue[call["subject"]]
            earlier = subject[: subject.index(call["id"])]
            wrong += [f"{call['id']} before {each}" for each in earlier if each not in ended]
        elif call["ended"]:
            ended.add(call["id"])
    return wrong


def assert_on_time(calls: list[dict[str, Any]]) -> None:
    """Each attempt comes its delay after the failure before, or a little later.

    Most of them: a process that was killed meanwhile has to come back first.
    """
    failed: dict[tuple[str, int], float] = {}
    late_secs = []
    for call in calls:
        if call.get("answer", "").startswith("Retry"):
            failed[call["id"], call["attempt"]] = call["at"]
        elif call.get("begins") and (at := failed.get((call["id"], call["attempt"] - 1))):
            late_secs.append(call["at"] - at - DELAYS_SECS[call["attempt"] - 2])
    assert len(late_secs) > EVENTS / 10
    assert min(late_secs) > -0.05
    in_time = [each for each in late_secs if each < LATE_SECS_MAX]
    assert len(in_time) > 0.5 * len(late_secs), sorted(late_secs)[-20:]


def assert_counted_once(program: Program) -> None:
    """What the ledger has is what was posted, to the cent."""
    paid = sum(900 + number for number in range(SUBJECTS))
    refunded = sum(900 + number for number in range(SUBJECTS, EVENTS))

    def accounts() -> dict[str, int]:
        found = program.json("ledger", "balance")
        return {each["account"]: abs(int(each["balance"])) for each in found}

    program.until(lambda: lag_of(program, "handler-ledger") == 0, timeout_secs=SECONDS)
    assert accounts() == {
        "payments": paid, "refunds": refunded, "provider": abs(paid - refunded),
    }  # fmt: skip
    program.run("ledger", "check")


def set_aside(program: Program) -> Counter[str]:
    """How often each event is among the handler's dead letters."""
    return Counter(headers_of(each)["ce_id"] for each in program.read("handler-orders-dlq"))


def lag_of(program: Program, part: str) -> int:
    """Events of the handler that are not through, parked and waiting ones too."""
    [found] = program.json("lag", "--group", part)
    parked = (found["parked"] or {"events": 0})["events"]
    return int(found["records"] + parked + sum(each["events"] for each in found["retries"]))
