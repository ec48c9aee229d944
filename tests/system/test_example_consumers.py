"""The examples for downstream teams read what hookmill writes: in four languages, the same."""

import contextlib
import json
import re
import signal
import sqlite3
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from hookmill.core.cloudevents import schema_id
from hookmill.core.event import STATUSES, Discrepancy, Event, Failure, Resource
from hookmill.core.money import Money
from hookmill.core.record import Headers
from support.events import ABSENT, altered, payment, sent, without
from support.examples import EXAMPLES, LANGUAGES, ROOT, built, run, start

pytestmark = pytest.mark.broker

PARTITIONS = 3
FIRST_RUN = 10
PATIENCE_SECS = 60
ENDED_BY_SIGTERM = {"java": 143}
"""A JVM that has shut down in good order says so; the others end with 0."""
KEEPS_IDS = {"python"}
"""The example that remembers in a database; the others begin anew when they are started."""

GUIDE = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs" / "guides" / "read-events.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = {
    "example": (EXAMPLES / "python" / "with_hookmill.py").read_text(),
    "guide": GUIDE[0],
    "guide, with on_bad": GUIDE[2],
}
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

    def of_a_later_release(self, event: Event) -> None:
        """An event with a key that this release does not know."""
        key, value, headers = sent(event)
        self._write([(key, value[:-1] + b',"risk":{"score":3}}', headers)])
        self.events[event.id] = event

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


AMOUNTS = [None, Money("-1205", "ZAR", 2), Money("7", "JPY", 0), Money("9" * 38, "XXX", None)]


def every_kind() -> list[Event]:
    """An event of every type, with everything that one can have."""
    return [
        payment(
            1000 + number, type=f"{kind}.{status}", kind=kind, status=status, mode="unknown",
            resource=Resource(kind, f"r_{number}", status, 2, True), amount=AMOUNTS[number % 4],
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
    lies = {
        "ce_dataschema": (b"urn:of:another", schema_id("refund").encode()),
        "ce_id": (b"hm_of_another",),
        "ce_type": (b"hookmill.payment.failed", b"payment.succeeded"),
    }
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
    pairs = [(*without(headers, name), (name, lie)) for name, told in lies.items() for lie in told]
    pairs += [without(headers, name) for name in lies]
    return [(key, each, headers) for each in values] + [(key, value, each) for each in pairs]


@pytest.fixture(scope="module")
def world(broker_servers: list[str]) -> World:
    """Transactions that were committed and one that was not, good records and bad ones."""
    world = World(",".join(broker_servers))
    world.good([payment(number) for number in range(20)])
    world.aborted([payment(number) for number in range(500, 510)])
    world.bad([altered(payment(600), where, value) for where, value in WRONG] + misleading())
    world.again([payment(number) for number in range(6)])
    world.good(every_kind())
    world.of_a_later_release(payment(800))
    world.good([payment(number) for number in range(700, 710)])
    return world


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

    What was aborted is not seen, what is no event is refused and does not stop it, an unknown key
    is passed over, a repeated id has no second effect, and amounts are exact to the last digit.
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
    for output in (first, second):
        for partition in range(PARTITIONS):
            offsets = [each["offset"] for each in lines(output) if each["partition"] == partition]
            assert offsets == sorted(offsets)
    assert world.committed(group) == world.ends


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_service_with_hookmill_needs_a_few_lines(
    program: str, broker_servers: list[str], tmp_path: Path
) -> None:
    """The short example, and the programs in the guide as they stand there, see every event."""
    world = World(",".join(broker_servers))
    world.good([payment(number) for number in range(6)])
    world.aborted([payment(number) for number in range(6, 9)])
    world.good([payment(number) for number in range(9, 12)])
    script, output = tmp_path / "reader.py", tmp_path / "reader"
    script.write_text(
        PROGRAMS[program]
        .replace(', "events-refund"', "")
        .replace("events-payment", world.topic)
        .replace("localhost:9092", world.servers)
    )
    settings = {"KAFKA_SERVERS": world.servers, "GROUP": world.topic, "TOPIC": world.topic}
    reading = run([sys.executable, str(script)], tmp_path, output, **settings)

    def printed() -> list[str]:
        return re.findall(r"^(hm_\w+).*\n", output.with_suffix(".out").read_text(), re.MULTILINE)

    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while len(printed()) < len(world.events) and time.monotonic() < deadline:
            assert reading.poll() is None, output.with_suffix(".err").read_text()
            time.sleep(0.05)
    finally:
        reading.send_signal(signal.SIGINT)
        ended(reading, output)

    assert sorted(printed()) == sorted(world.events)


def test_booking_as_the_guide_says_has_one_effect() -> None:
    """The same event twice, and its money once."""
    names: dict[str, Any] = {}
    exec(GUIDE[1], names)
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY)")
        database.execute("CREATE TABLE bookings (subject TEXT, minor TEXT, currency TEXT)")
        event = payment(1)
        answers = [names["book"](database, event) for _ in range(2)]

        assert answers == [True, False]
        assert database.execute("SELECT * FROM bookings").fetchall() == [
            ("p_1", "10000000000000000000000000000000000001", "ETH")
        ]


def test_the_example_in_python_is_tried_with_the_versions_it_pins() -> None:
    """And stands without hookmill: a downstream team does not install it."""
    pins = (EXAMPLES / "python" / "requirements.txt").read_text().split()
    locked = (ROOT / "requirements.lock").read_text()

    assert [pin for pin in pins if f"\n{pin} \\" not in "\n" + locked] == []
    assert "import hookmill" not in (text := (EXAMPLES / "python" / "consumer.py").read_text())
    assert "from hookmill" not in text


def test_no_lock_file_names_a_registry() -> None:
    """Whoever installs has a registry of their own; the hashes say that it is the same package."""
    lock = json.loads((EXAMPLES / "typescript" / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}

    assert [name for name, each in packages.items() if "resolved" in each] == []
    assert [name for name, each in packages.items() if "integrity" not in each] == []


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
