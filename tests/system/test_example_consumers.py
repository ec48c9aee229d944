"""The examples for downstream teams read what hookmill writes: in four languages, the same."""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from hookmill.core.event import STATUSES, Discrepancy, Event, Failure, Resource
from hookmill.core.money import Money
from hookmill.core.record import Headers
from support.events import ABSENT, altered, payment, sent, without
from support.examples import EXAMPLES, LANGUAGES, ROOT, built, sources, start

pytestmark = pytest.mark.broker

PARTITIONS = 3
FIRST_RUN = 10
PATIENCE_SECS = 60
ENDED_BY_SIGTERM = {"java": 143}
"""A JVM that has shut down in good order says so; the others end with 0."""
KEEPS_IDS = {"python"}
"""The example that remembers in a database; the others begin anew when they are started."""

Written = tuple[bytes, bytes | None, Headers]
REFUSED = re.compile(r"^refused (\S+)/(\d+)@(\d+): \S", re.MULTILINE)

WRONG: list[tuple[tuple[str, ...], Any]] = [
    (("status",), "lost_in_space"),
    (("type",), "payment.lost_in_space"),
    (("schema_version",), 2),
    (("mode",), "sandbox"),
    (("occurred_at",), "2024-06-15"),
    (("received_at",), "2026-11-23T09:00:00.123456Z\n"),
    (("received_at",), "٢٠٢٦-11-23T09:00:00.123456Z"),
    (("amount", "minor"), 900),
    (("amount", "minor"), "9.00"),
    (("amount", "minor"), "9" * 39),
    (("amount", "minor"), "900\n"),
    (("amount", "minor"), "٩٠٠"),
    (("amount", "exponent"), "2"),
    (("resource", "version"), "1"),
    (("links", "payment"), 7),
    (("metadata",), None),
    (("late",), "no"),
    (("raw", "offset"), None),
    (("amount_paid",), ABSENT),
]


class World:
    """The topic as route writes it, and what a reader must make of it."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.topic = f"x{uuid.uuid4().hex[:8]}-events-payment"
        self.events: dict[str, Event] = {}
        self.repeated: set[str] = set()
        self.refused: set[tuple[int, int]] = set()
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self._producer = Producer(
            {"bootstrap.servers": servers, "transactional.id": f"{self.topic}-route"}
        )
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result()
        self._producer.init_transactions()

    def good(self, events: list[Event]) -> None:
        """Events that a reader must handle."""
        self._write([sent(each) for each in events])
        self.events |= {each.id: each for each in events}

    def again(self, events: list[Event]) -> None:
        """Events that it has had: route has written them once more, after the window."""
        self._write([sent(each) for each in events])
        self.repeated |= {each.id for each in events}

    def bad(self, records: Sequence[Written]) -> None:
        """Records that it must refuse, and go on."""
        self.refused |= self._write(records)

    def aborted(self, events: list[Event]) -> None:
        """Events that it must never see."""
        self._write([sent(each) for each in events], commit=False)

    def _write(self, records: Sequence[Written], *, commit: bool = True) -> set[tuple[int, int]]:
        """One transaction; returns where the records are."""
        where: set[tuple[int, int]] = set()

        def delivered(error: object, message: Any) -> None:
            assert error is None
            where.add((message.partition(), message.offset()))

        self._producer.begin_transaction()
        for number, (key, value, headers) in enumerate(records):
            self._producer.produce(
                self.topic, value, key, number % PARTITIONS, delivered, headers=list(headers)
            )
        self._producer.flush()
        if commit:
            self._producer.commit_transaction()
            for partition, offset in where:
                self.ends[partition] = max(self.ends[partition], offset + 1)
        else:
            self._producer.abort_transaction()
        return where

    def committed(self, group: str) -> dict[int, int]:
        """What the group has committed."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group})
        found = consumer.committed([TopicPartition(self.topic, each) for each in self.ends])
        consumer.close()
        return {each.partition: each.offset for each in found}


def every_kind() -> list[Event]:
    """An event of every type, with everything that one can have."""
    return [
        payment(
            1000 + number, type=f"{kind}.{status}", kind=kind, status=status, mode="unknown",
            resource=Resource(kind, f"r_{number}", status, 2, True),
            amount=(None, Money("-1205", "ZAR", 2), Money("7", "JPY", 0), Money("9" * 38, "XXX", None))[
                number % 4
            ],
            amount_paid=Money("1", "ZAR", 2), amount_refunded=Money("0", "ZAR", 2),
            discrepancy=Discrepancy("over", None), failure=Failure("51", "no\nfunds"), late=True,
            occurred_at="0001-01-01T00:00:00.000000Z", subject=f"ünïcode \u2028 {number}",
        )
        for number, (kind, status) in enumerate(
            (kind, status) for kind, several in STATUSES.items() for status in several
        )
    ]  # fmt: skip


def misleading() -> list[Written]:
    """Records that are not what they say, or nothing at all."""
    key, value, headers = sent(payment(1))
    unknown = (*without(headers, "ce_dataschema"), ("ce_dataschema", b"urn:of:another"))
    other = (*without(headers, "ce_id"), ("ce_id", b"hm_of_another"))
    type_ = (*without(headers, "ce_type"), ("ce_type", b"hookmill.payment.failed"))
    refund = (*without(headers, "ce_dataschema"), ("ce_dataschema", b"urn:hookmill:schema:event:refund:1"))  # fmt: skip
    values = [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        value + b"}",
        value.replace(b"1.10", b"NaN"),
        b"\xff\xfe",
    ]
    pairs = [without(headers, "ce_dataschema"), unknown, other, type_, refund, ()]
    return [(key, each, headers) for each in values] + [(key, value, each) for each in pairs]


@pytest.fixture(scope="module")
def world(broker_servers: list[str]) -> Iterator[World]:
    """Transactions that were committed and one that was not, good records and bad ones."""
    world = World(",".join(broker_servers))
    world.good([payment(number) for number in range(20)])
    world.aborted([payment(number) for number in range(500, 510)])
    world.bad([altered(payment(600), where, value) for where, value in WRONG] + misleading())
    world.again([payment(number) for number in range(6)])
    world.good(every_kind())
    world.good([payment(number) for number in range(700, 710)])
    yield world


def major(money: Money | None) -> str | None:
    """The amount as the examples say it, by moving the point in the text."""
    if money is None:
        return None
    if money.exponent is None:
        return f"{money.minor} minor units of {money.currency}"
    sign, digits = ("-", money.minor[1:]) if money.minor[0] == "-" else ("", money.minor)
    digits = digits.rjust(money.exponent + 1, "0")
    point = len(digits) - money.exponent
    text = f"{digits[:point]}.{digits[point:]}".rstrip(".")
    return f"{sign}{text} {money.currency}"


def lines(output: Path) -> list[dict[str, Any]]:
    """What the example printed, as far as its lines are whole."""
    text = output.with_suffix(".out").read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def refusals(output: Path) -> list[tuple[int, int]]:
    """Where the records were that it refused."""
    found = REFUSED.findall(output.with_suffix(".err").read_text())
    return [(int(partition), int(offset)) for _, partition, offset in found]


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_reads_the_topic_as_a_service_should(
    language: str, world: World, tmp_path: Path
) -> None:
    """Stopped by its count, started again, stopped by a signal: each event handled, none skipped.

    What was aborted is not seen, what is no event is refused and does not stop it, a repeated id
    has no second effect, and amounts are exact to the last of 38 digits.
    """
    folder = built(language)
    group = f"{world.topic}-{language}"
    settings = {
        "KAFKA_SERVERS": world.servers, "GROUP": group, "TOPIC": world.topic,
        "SCHEMAS": str(ROOT / "schemas"), "DATABASE": str(tmp_path / "billing.db"),
    }  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"

    counted = start(language, folder, first, **settings, COUNT=str(FIRST_RUN))
    status = ended(counted, first)
    assert (status, len(lines(first))) == (0, FIRST_RUN)
    running = start(language, folder, second, **settings)
    try:
        wait_for_all(world, [first, second], running)
    finally:
        running.terminate()
        status = ended(running, second)

    assert status == ENDED_BY_SIGTERM.get(language, 0)
    handled = lines(first) + lines(second)
    times = Counter(each["id"] for each in handled)
    assert set(times) == set(world.events)
    assert {id_ for id_, count in times.items() if count > 1} <= (
        set() if language in KEEPS_IDS else world.repeated
    )
    for each in handled:
        event = world.events[each["id"]]
        expected = (event.type, event.subject, major(event.amount))
        assert (each["type"], each["subject"], each["amount"]) == expected
    assert sorted(refusals(first) + refusals(second)) == sorted(world.refused)
    for run in (first, second):
        for partition in range(PARTITIONS):
            offsets = [each["offset"] for each in lines(run) if each["partition"] == partition]
            assert offsets == sorted(offsets)
    assert world.committed(group) == world.ends


def wait_for_all(world: World, outputs: list[Path], running: Any) -> None:
    """Wait until every event was handled and every bad record refused."""
    deadline = time.monotonic() + PATIENCE_SECS
    while True:
        handled = {each["id"] for output in outputs for each in lines(output)}
        refused = {each for output in outputs for each in refusals(output)}
        if handled >= set(world.events) and refused >= world.refused:
            return
        said = outputs[-1].with_suffix(".err").read_text()[-3000:]
        assert running.poll() is None, said
        assert time.monotonic() < deadline, (
            f"waited in vain: {set(world.events) - handled}, {world.refused - refused}\n{said}"
        )
        time.sleep(0.05)


def ended(process: Any, output: Path) -> int:
    """The exit status, within the limit."""
    try:
        return int(process.wait(PATIENCE_SECS))
    finally:
        process.kill()
        process.wait()
        print(output.with_suffix(".err").read_text()[-3000:])
