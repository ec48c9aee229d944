"""`hookmill lag` and `hookmill trace` while a handler fails on command: the truth, from outside."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from support.program import Program, yoco

pytestmark = pytest.mark.broker

GUIDE = (Path(__file__).parents[2] / "docs/guides/watch-lag.md").read_text()
HANDLER = '''
"""A handler that does what the files beside it say."""

from pathlib import Path

from hookmill.core.outcome import DeadLetter, Retry

HERE = Path(__file__).parent


def handle(event, context):
    """Fail as long as there is a file named like the event's subject."""
    verdict = HERE / event.subject
    if not verdict.exists():
        return None
    reason = verdict.read_text()
    return DeadLetter(reason) if reason == "refused" else Retry(reason)
'''
WAREHOUSE = """
[handlers.warehouse]
type = "warehouse:handle"
retry_delays_secs = {delays}
{more}
"""
SHORT, LONG = 2, 3600
ALL_FIVE = ["dedup", "normalize", "route", "handler-ledger", "handler-warehouse"]


class Shop:
    """The program with a handler that may fail beside the ledger."""

    def __init__(self, program: Program) -> None:
        self.program = program
        (program.folder / "warehouse.py").write_text(HANDLER)
        self._plain = program.config.read_text()
        self.configure()

    def configure(self, delays_secs: tuple[int, ...] = (SHORT, LONG), more: str = "") -> None:
        """Write the configuration anew."""
        text = self._plain.replace('handlers = ["ledger"]', 'handlers = ["ledger", "warehouse"]')
        warehouse = WAREHOUSE.format(delays=list(delays_secs), more=more)
        self.program.config.write_text(text + warehouse)

    def start(self) -> "subprocess.Popen[bytes]":
        """Everything, ready."""
        up = self.program.start("up")
        self.program.until(self.program.ready)
        return up

    def says(self, subject: str, reason: str | None) -> None:
        """What the handler does with events of that subject from now on."""
        verdict = self.program.folder / subject
        verdict.unlink(missing_ok=True) if reason is None else verdict.write_text(reason)

    def pay(self, number: int) -> str:
        """Post a payment; returns the delivery's id."""
        return self._post(number, "payment.succeeded")

    def refund(self, number: int) -> str:
        """Post its refund, an event of the same subject."""
        return self._post(number, "refund.succeeded")

    def _post(self, number: int, kind: str) -> str:
        status, said = self.program.post(*yoco(number, kind=kind))
        assert status == 200
        return str(said["delivery"])

    def lag(self, *arguments: str) -> dict[str, Any]:
        """The groups by their part's name."""
        prefix = f"{self.program.namespace}-hookmill-"
        found = self.program.json("lag", *arguments)
        return {each["group"].removeprefix(prefix): each for each in found}

    def warehouse(self, *arguments: str) -> dict[str, Any]:
        """The lag of the warehouse handler."""
        found: dict[str, Any] = self.lag("--group", "warehouse", *arguments)["handler-warehouse"]
        return found

    def retries(self) -> dict[int, dict[str, Any]]:
        """What waits for it, by delay."""
        return {each["delay_secs"]: each for each in self.warehouse()["retries"]}

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition with a limit."""
        self.program.until(condition)

    def forget_offsets(self) -> bool:
        """Delete what groups have no member any more; whether that was all of them."""
        admin = AdminClient({"bootstrap.servers": ",".join(self.program.servers)})
        groups = [f"{self.program.namespace}-hookmill-{part}" for part in ALL_FIVE]
        ends = [
            each.exception(timeout=30) for each in admin.delete_consumer_groups(groups).values()
        ]
        codes = {end.args[0].code() for end in ends if end is not None}
        assert codes <= {KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND}
        return KafkaError.NON_EMPTY_GROUP not in codes

    def outcomes(self, delivery: str, handler: str = "warehouse") -> list[str]:
        """What `trace` says of the handler, step by step: topic or group, and outcome."""
        [journey] = self.program.json("trace", delivery)
        prefix = f"{self.program.namespace}-"
        steps = [(each["topic"].removeprefix(prefix), each["outcome"])
                 for each in journey["steps"]]  # fmt: skip
        return [f"{topic}: {outcome}" for topic, outcome in steps
                if topic.removeprefix("hookmill-").startswith(f"handler-{handler}")]  # fmt: skip


@pytest.fixture
def shop(program: Program) -> Shop:
    """The program with a handler that may fail, not started yet."""
    return Shop(program)


def total(groups: dict[str, Any]) -> int:
    """Everything that is behind, waits or is parked."""
    return sum(
        each["records"]
        + sum(retry["events"] for retry in each["retries"])
        + ((each["parked"] or {}).get("events") or 0)
        for each in groups.values()
    )


def test_a_chain_that_is_through_shows_zeros_everywhere(shop: Shop) -> None:
    """Though markers of transactions lie between every group's position and the end."""
    shop.start()
    for number in range(20):
        shop.pay(number)
    shop.until(lambda: total(shop.lag()) == 0 and len(shop.program.read("handler-warehouse")) == 20)
    groups = shop.lag("--partitions")
    gaps = [part["end"] - part["position"] for each in groups.values()
            for part in each["partitions"]]  # fmt: skip

    assert list(groups) == ALL_FIVE
    assert max(gaps) > 0, "there are no markers: the test shows nothing"
    for each in groups.values():
        for part in (each, *each["partitions"]):
            assert (part["records"], part["age_secs"], part["exact"]) == (0, 0, True)
    assert [each["delay_secs"] for each in groups["handler-warehouse"]["retries"]] == [SHORT, LONG]
    assert groups["dedup"]["parked"] is None
    lines = shop.program.run("lag").splitlines()[1:]
    assert len(lines) == 3 + 1 + 3 + 1 + 1 + 2 + 1
    assert all(re.search(r" 0 +0 s$", line.rstrip()) for line in lines), lines


def test_a_group_whose_offsets_kafka_forgot_stands_where_its_changelog_says(shop: Shop) -> None:
    """As after a week's rest: it will go on there, so nothing lags and nothing waits."""
    shop.program.environ["HOOKMILL_KAFKA__SESSION_TIMEOUT_SECS"] = "6"  # the groups empty sooner
    up = shop.start()
    payment, again = shop.pay(1), shop.pay(1)
    shop.until(lambda: len(shop.program.read("handler-warehouse")) == 1)
    shop.until(lambda: total(shop.lag()) == 0)
    up.terminate()
    assert up.wait(60) == 0
    shop.until(shop.forget_offsets)
    [journey] = shop.program.json("trace", again)

    assert total(shop.lag()) == 0
    assert shop.outcomes(payment)[-1] == "hookmill-handler-warehouse: handled by warehouse"
    assert journey["steps"][-1]["outcome"] == f"dropped: duplicate of delivery {payment}"


def test_what_nobody_reads_lags_from_the_start_of_the_log(shop: Shop) -> None:
    """A group that was never there has no position; its oldest record grows older."""
    shop.program.run("topics", "apply")
    shop.program.start("ingress")
    shop.until(shop.program.ready)
    before = time.monotonic()
    for number in range(30):
        shop.pay(number)
    groups = shop.lag("--group", "dedup", "--group", "ledger", "--partitions")
    dedup = groups["dedup"]
    took_secs = time.monotonic() - before

    assert list(groups) == ["dedup", "handler-ledger"]
    assert (dedup["records"], dedup["exact"]) == (30, True)
    assert 0 < dedup["age_secs"] < took_secs + 1
    assert sum(each["records"] for each in dedup["partitions"]) == 30
    assert dedup["age_secs"] == max(each["age_secs"] for each in dedup["partitions"])
    assert groups["handler-ledger"]["records"] == 0
    later = shop.lag("--group", "dedup")["dedup"]
    assert later["age_secs"] > dedup["age_secs"]
    assert "partitions" not in later


def test_an_event_that_fails_waits_and_holds_up_its_subject_only(shop: Shop) -> None:
    """Counted where they are: in the delay's topic, parked; others pass; then all is zero again."""
    shop.says("p_1", "http_503")
    shop.start()
    payment = shop.pay(1)
    shop.until(lambda: shop.retries()[LONG]["events"] == 1)
    refund = shop.refund(1)
    other = shop.pay(2)
    shop.until(
        lambda: (shop.warehouse()["parked"]["events"], shop.warehouse()["records"]) == (1, 0)
    )
    warehouse = shop.warehouse("--partitions")
    [short, long] = warehouse["retries"]
    waiting = [each for each in warehouse["partitions"] if each["parked"]["events"]]

    assert (short["events"], short["next_due"], short["age_secs"]) == (0, None, 0)
    assert (long["events"], long["overdue_secs"], long["configured"]) == (1, 0, True)
    assert 0 < long["age_secs"] < 60
    assert warehouse["parked"]["subjects"] == 1
    assert 0 < warehouse["parked"]["age_secs"] < long["age_secs"]
    assert [each["retries"][1]["events"] for each in waiting] == [1]
    table = shop.program.run("lag", "--group", "warehouse", "--partitions")
    assert re.search(
        rf"handler-warehouse-retry-{LONG} +\d +1 +[\d.]+ s +next at \d\d:\d\d:\d\dZ", table
    )
    assert re.search(r"parked +\d +1 +[\d.]+ s +of 1 subject *\n", table)

    [queued, first, second, now] = shop.outcomes(payment)
    assert queued == "handler-warehouse: routed as payment.succeeded"
    failed, at = r"failed: http_503 \(attempt {}\), again at ", r"[\d:TZ-]{9,20}"
    assert re.fullmatch(f"handler-warehouse-retry-{SHORT}: {failed.format(1)}{at}", first)
    assert re.fullmatch(f"handler-warehouse-retry-{LONG}: {failed.format(2)}{at}", second)
    waits = f"waits in handler-warehouse-retry-{LONG} for attempt 3 until {at}"
    assert re.fullmatch(f"hookmill-handler-warehouse: {waits}", now)
    [journey] = shop.program.json("trace", payment)
    event = journey["normalized_id"]
    assert shop.outcomes(refund) == [
        "handler-warehouse: routed as refund.succeeded",
        f"hookmill-handler-warehouse: parked behind event {event}",
    ]
    assert shop.outcomes(other)[-1] == "hookmill-handler-warehouse: handled by warehouse"
    assert shop.outcomes(payment, "ledger")[-1] == "hookmill-handler-ledger: handled by ledger"
    the_guide_is_true(shop.program)


def the_guide_is_true(program: Program) -> None:
    """Each of its commands, as it stands there, prints the lines that it shows: but for figures."""
    ran = 0
    for command, shown in re.findall(r"```console\n\$ hookmill (.*)\n((?:.*\n)*?)```", GUIDE):
        if "--watch" not in command:
            printed = alike(program.run(*command.split()).replace(f"{program.namespace}-", ""))
            assert [line for line in alike(shown) if line not in printed] == [], printed
            ran += 1
    [example] = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    [real] = program.json("lag", "--group", "warehouse")

    assert ran == 4
    assert shape(json.loads(example)[0]) == shape(real)


def alike(text: str) -> list[str]:
    """Lines without what differs from run to run: figures and the room they take, and the date of
    a time that is tomorrow's."""
    plain = re.sub(r"hm_[0-9a-f]{32}", "hm_#", re.sub(r"\d{4}-\d\d-\d\dT", "", text))
    return [" ".join(re.sub(r"\d+(\.\d+)?", "#", line).split()) for line in plain.splitlines()]


def shape(value: Any) -> Any:
    """The fields of a JSON value, in their order, and those of what is in it."""
    match value:
        case dict():
            return [(name, shape(each)) for name, each in value.items()]
        case list():
            return [shape(each) for each in value]
        case _:
            return type(value).__name__ if isinstance(value, bool) else None


def test_after_the_retries_all_is_handled_and_zero(shop: Shop) -> None:
    """The attempt that succeeded is told, and what was parked is handled behind it."""
    shop.configure((SHORT, SHORT + 1))
    shop.says("p_1", "http_503")
    shop.start()
    payment = shop.pay(1)
    shop.until(lambda: shop.retries()[SHORT]["events"] == 1)
    refund = shop.refund(1)
    shop.says("p_1", None)
    shop.until(lambda: total(shop.lag()) == 0)

    [_, failed, handled] = shop.outcomes(payment)
    assert "failed: http_503 (attempt 1)" in failed
    assert handled == "hookmill-handler-warehouse: handled by warehouse (attempt 2)"
    assert shop.outcomes(refund)[-1] == "hookmill-handler-warehouse: handled by warehouse"


def test_what_is_set_aside_is_told_with_its_reason(shop: Shop) -> None:
    """At once, or after the last retry; and nothing waits for it any more."""
    shop.configure((1,))
    shop.says("p_1", "refused")
    shop.says("p_2", "http_503")
    shop.start()
    refused, failing = shop.pay(1), shop.pay(2)
    shop.until(lambda: len(shop.program.read("handler-warehouse-dlq")) == 2)
    shop.until(lambda: total(shop.lag()) == 0)

    assert shop.outcomes(refused) == [
        "handler-warehouse: routed as payment.succeeded",
        "handler-warehouse-dlq: set aside: refused",
    ]
    [_, first, last] = shop.outcomes(failing)
    assert "failed: http_503 (attempt 1)" in first
    assert last == "handler-warehouse-dlq: set aside: http_503 (failed 2 times)"


def test_a_delay_that_is_configured_no_more_is_shown_and_followed(shop: Shop) -> None:
    """Its topic is there still, and what waits in it."""
    shop.says("p_1", "http_503")
    shop.configure((LONG,))
    shop.start()
    payment = shop.pay(1)
    shop.until(lambda: shop.retries()[LONG]["events"] == 1)
    shop.configure((SHORT,))
    retries = shop.retries()

    assert {delay: each["configured"] for delay, each in retries.items()} == {
        SHORT: True,
        LONG: False,
    }
    assert retries[LONG]["events"] == 1
    assert "not configured any more" in shop.program.run("lag", "--group", "warehouse")
    assert f"retry-{LONG} for attempt 2 until" in shop.outcomes(payment)[-1]


def test_watch_goes_on_until_it_is_interrupted(shop: Shop) -> None:
    """One JSON value a line, or, where there is no terminal, lines that begin with the time."""
    shop.program.run("topics", "apply")
    values = watched(shop.program, "--group", "route", "--json", lines=2)
    lines = watched(shop.program, "--group", "route", lines=2)

    assert [json.loads(each)[0]["records"] for each in values] == [0, 0]
    name = shop.program.namespace
    row = rf"20[\dT:-]+Z  {name}-hookmill-route  {name}-events-normalized  0  0 s"
    assert all(re.fullmatch(row, line) for line in lines), lines


def watched(program: Program, *arguments: str, lines: int) -> list[str]:
    """The first lines of `hookmill lag --watch`, which is then interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hookmill", "lag", "--watch", *arguments,
         "--config", str(program.config)],
        cwd=program.folder, env=program.environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
    process.terminate()
    process.stdout.close()
    assert process.wait(30) == 130
    return found


def test_wrong_names_missing_topics_and_no_kafka_are_told(program: Program) -> None:
    """Each with the status and the advice that belong to it."""
    unknown = program.fails("lag", "--group", "ledgr", status=2)
    missing = program.fails("lag", status=1)
    program.environ["HOOKMILL_KAFKA__BOOTSTRAP_SERVERS"] = "127.0.0.1:9"
    away = program.fails("lag", status=1)

    assert "no group is called 'ledgr'; there are: dedup, normalize, route, handler-l" in unknown
    assert "topics missing" in missing
    assert "topics apply" in missing
    assert away.startswith("hookmill: Kafka at 127.0.0.1:9: ")
