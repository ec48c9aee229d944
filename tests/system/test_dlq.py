"""Dead letters from outside: set aside, looked at, sent again, discarded; nothing goes twice."""

import base64
import hashlib
import hmac
import json
import re
import shlex
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from support.program import PARTITIONS, YOCO_KEY, Program, headers_of

pytestmark = pytest.mark.broker

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "dead-letters.md"
LETTERS = "handler-ledger-dlq"
QUEUE = "handler-ledger"
FAILED_AT_US = 1_795_424_400_000_000
SLOWLY = "3"
"""Letters a second: so few that a process of two hundred is met while it works, on any machine."""


def set_aside(
    program: Program, numbers: Iterable[int], *, topic: str = LETTERS, reason: str = "declined"
) -> None:
    """Letters as the ledger would write them, over all partitions, three to a subject."""
    producer = Producer({"bootstrap.servers": ",".join(program.servers), "linger.ms": 5})
    for number in numbers:
        subject = number // 3
        headers = {"hm-delivery": f"d{number}", "hm-event-id": f"evt_{number}", "ce_id": "hm_1",
                   "hm-error-reason": reason, "hm-error-detail": "no such account",
                   "hm-error-stage": "handler-ledger", "hm-error-topic": f"ns-{QUEUE}",
                   "hm-error-partition": "0", "hm-error-offset": "7", "hm-attempt": "4",
                   "hm-error-at": str(FAILED_AT_US + number)}  # fmt: skip
        producer.produce(
            f"{program.namespace}-{topic}", json.dumps({"number": number}).encode(),
            f"shop|p_{subject}".encode(), partition=subject % PARTITIONS,
            headers=[(name, value.encode()) for name, value in headers.items()],
        )  # fmt: skip
    assert producer.flush(30) == 0


def numbers_of(messages: Iterable[Any]) -> list[int]:
    """The numbers of letters or of what was sent again, partition by partition."""
    ordered = sorted(messages, key=lambda each: (each.partition(), each.offset()))
    return [json.loads(each.value())["number"] for each in ordered]


def places(program: Program, topic: str = LETTERS) -> list[str]:
    """Where the letters lie."""
    return [f"{topic}:{each.partition()}:{each.offset()}" for each in program.read(topic)]


@pytest.fixture
def mill(program: Program) -> Program:
    """A cluster with hookmill's topics and nobody who reads them."""
    program.run("topics", "apply")
    return program


def test_a_killed_redrive_sends_every_letter_exactly_once(mill: Program) -> None:
    """SIGKILL again and again, wherever it hits; the last run finishes, the next finds nothing."""
    count = 600
    set_aside(mill, range(count))
    kills = 0
    for sent_before_the_kill in (1, 150, 300):
        process = mill.start("dlq", "redrive", "--all", "--rate", "400")
        mill.until(lambda least=sent_before_the_kill: len(mill.read(QUEUE)) >= least)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        kills += process.returncode == -signal.SIGKILL
        assert len(mill.read(QUEUE)) < count
    report = mill.json("dlq", "redrive", "--all", "--rate", "0")
    again = mill.json("dlq", "redrive", "--all")

    assert kills == 3
    assert 0 < report["letters"] < count
    assert again["letters"] == 0
    sent = mill.read(QUEUE)
    assert numbers_of(sent) == numbers_of(mill.read(LETTERS))
    assert sorted(numbers_of(sent)) == list(range(count))
    assert {headers_of(each)["hm-redrives"] for each in sent} == {"1"}
    assert [each for each in headers_of(sent[0]) if each.startswith(("hm-error", "hm-att"))] == []


def test_a_second_redrive_ends_the_first(mill: Program) -> None:
    """Which says so, with status 1; between them every letter goes once."""
    set_aside(mill, range(200))
    first = mill.start("dlq", "redrive", "--all", "--rate", SLOWLY)
    mill.until(lambda: len(mill.read(QUEUE)) >= 4)
    mill.run("dlq", "redrive", "--all", "--rate", "0")

    assert first.wait(30) == 1
    mill.processes.remove(first)
    said = (mill.folder / f"dlq-redrive---all---rate-{SLOWLY}-0.log").read_text()
    assert said.startswith("hookmill: another `hookmill dlq` has begun meanwhile")
    assert said.count("\n") == 1
    assert sorted(numbers_of(mill.read(QUEUE))) == list(range(200))


def test_an_interrupted_redrive_says_how_far_it_came(mill: Program) -> None:
    """Status 130; the rest is still open."""
    set_aside(mill, range(200))
    process = mill.start("dlq", "redrive", "--all", "--rate", SLOWLY)
    mill.until(lambda: len(mill.read(QUEUE)) >= 4)
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 130
    mill.processes.remove(process)
    said = (mill.folder / f"dlq-redrive---all---rate-{SLOWLY}-0.log").read_text()
    sent = len(mill.read(QUEUE))
    assert f"interrupted: {sent} letters are redriven" in said
    [group] = mill.json("dlq", "list")
    assert (group["open"], group["redriven"]) == (200 - sent, sent)


def test_a_rate_is_kept(mill: Program) -> None:
    """Thirty letters at twenty a second take more than a second."""
    set_aside(mill, range(30))
    began = time.monotonic()
    mill.run("dlq", "redrive", "--all", "--rate", "20")

    assert time.monotonic() - began > 1.4
    assert len(mill.read(QUEUE)) == 30


def test_letters_are_listed_in_groups_and_one_by_one(mill: Program) -> None:
    """Topic, reason, how many, how old; with or without the namespace."""
    set_aside(mill, range(6))
    set_aside(mill, [6], reason="odd")
    set_aside(mill, [7], topic="route-dlq", reason="odd")
    groups = mill.json("dlq", "list")
    table = mill.run("dlq", "list", "--topic", f"{mill.namespace}-{LETTERS}").splitlines()
    [line] = mill.json("dlq", "list", "--each", "--reason", "odd", "--topic", LETTERS)

    assert [(each["topic"], each["reason"], each["open"]) for each in groups] == [
        ("route-dlq", "odd", 1), (LETTERS, "declined", 6), (LETTERS, "odd", 1),
    ]  # fmt: skip
    assert groups[1] == {
        "topic": LETTERS, "reason": "declined", "again_to": QUEUE, "open": 6, "redriven": 0,
        "discarded": 0, "oldest": "2026-11-23T09:00:00.000000Z",
        "newest": "2026-11-23T09:00:00.000005Z",
    }  # fmt: skip
    assert [each.split()[:3] for each in table] == [
        ["topic", "reason", "open"], [LETTERS, "declined", "6"], [LETTERS, "odd", "1"],
    ]  # fmt: skip
    assert line == {
        "place": f"{LETTERS}:2:0", "failed_at": "2026-11-23T09:00:00.000006Z", "reason": "odd",
        "endpoint": "shop", "key": "shop|p_2", "event": "evt_6", "delivery": "d6", "redrives": 0,
        "again_to": QUEUE, "decision": None,
    }  # fmt: skip


def test_what_the_dry_run_prints_is_what_is_sent(mill: Program) -> None:
    """And it sends nothing itself."""
    set_aside(mill, range(6))
    set_aside(mill, [6, 7], topic="route-dlq", reason="odd")
    sent: list[int] = []
    for selection, meant in [
        (["--reason", "odd", "--until", "2026-11-23T11:00:00.000007+02:00"], [6]),
        (["--subject", "p_0", "--count", "2"], [0, 1]),
        ([f"{LETTERS}:1:1"], [4]),
        (["--all"], [2, 3, 5, 7]),
    ]:
        rehearsal = mill.json("dlq", "redrive", *selection, "--dry-run")["letters"]
        assert sorted(int(each["event"][4:]) for each in rehearsal) == meant
        assert len(mill.read("dlq-decisions")) == len(sent)
        mill.run("dlq", "redrive", *selection)
        sent += meant
        queued = mill.read(QUEUE) + mill.read("events-normalized")
        assert sorted(json.loads(each.value())["number"] for each in queued) == sorted(sent)


def test_a_letter_is_shown_in_full(mill: Program) -> None:
    """Its error, its headers, its value, where it would go, what was decided."""
    set_aside(mill, [0])
    [place] = places(mill)
    [full] = mill.json("dlq", "show", place)
    text = mill.run("dlq", "show", "--reason", "declined")

    assert full["error"] == {"detail": "no such account", "stage": "handler-ledger",
                             "topic": f"ns-{QUEUE}", "partition": "0", "offset": "7",
                             "attempt": "4"}  # fmt: skip
    assert full["value"] == {"number": 0}
    assert full["headers"]["hm-event-id"] == "evt_0"
    assert full["decision"] is None
    for part in (place, "no such account", "handler-ledger, partition 0", '"number": 0',
                 "hm-delivery: d0", "attempt 4"):  # fmt: skip
        assert part in text


def test_a_discarded_letter_is_kept_with_its_reason(mill: Program) -> None:
    """Nothing is sent; it is open no more; it can still be read, and sent if it is named."""
    set_aside(mill, range(2))
    first, second = places(mill)
    why = "booked by hand, see the note of Monday"
    mill.run("dlq", "discard", first, "--why", why)
    mill.run("dlq", "redrive", "--all")
    said = mill.run("dlq", "list")
    decided = {each["place"]: each["decision"] for each in
               mill.json("dlq", "list", "--each", "--decided")}  # fmt: skip

    assert said == ""
    assert (decided[first]["decision"], decided[first]["why"]) == ("discarded", why)
    assert decided[second]["decision"] == "redriven"
    assert numbers_of(mill.read(QUEUE)) == [1]
    assert why in mill.run("dlq", "show", first)
    assert mill.json("dlq", "redrive", first)["letters"] == 1
    assert mill.json("dlq", "redrive", first, second)["letters"] == 0
    assert numbers_of(mill.read(QUEUE)) == [1, 0]


def test_a_letter_that_is_not_there_is_a_failure(mill: Program) -> None:
    """Status 1, and nothing else is done; but nothing to do is no failure."""
    set_aside(mill, [0])
    [place] = places(mill)
    missing = mill.fails("dlq", "redrive", place, f"{LETTERS}:3:99", status=1)

    assert f"there is no letter at {LETTERS}:3:99" in missing
    assert mill.read(QUEUE) == []
    assert mill.json("dlq", "redrive", "--reason", "another")["letters"] == 0


def test_without_its_topics_nothing_is_sent(program: Program) -> None:
    """The decision would have no place."""
    said = program.fails("dlq", "redrive", "--all", status=1)

    assert "topics missing" in said
    assert "hookmill topics apply" in said


def test_a_record_that_was_set_aside_and_sent_again_can_be_traced(program: Program) -> None:
    """Its letter, what was decided of it, and how it went on."""
    program.start("up")
    program.until(program.ready)
    status, said = program.post(*no_json())
    assert status == 200
    program.until(lambda: len(program.read("normalize-dlq")) == 1)
    [place] = places(program, "normalize-dlq")
    program.run("dlq", "redrive", "--reason", "unparseable_body", "--why", "a new version")
    program.until(lambda: len(program.read("normalize-dlq")) == 2)
    [journey] = program.json("trace", said["delivery"])
    steps = [(each["topic"].removeprefix(program.namespace + "-"), each["outcome"])
             for each in journey["steps"]]  # fmt: skip

    assert [outcome for topic, outcome in steps if topic == "webhooks-unique"][1:] == [
        f"sent again from {place}, 1 redrive so far"
    ]
    asides = [outcome for topic, outcome in steps if topic == "normalize-dlq"]
    assert asides[0].startswith("set aside: unparseable_body")
    assert asides[1].startswith("set aside after 1 redrive: unparseable_body")
    [decided] = [outcome for topic, outcome in steps if topic == "dlq-decisions"]
    assert decided.startswith("redriven")
    assert decided.endswith("a new version")
    [again] = program.json("dlq", "list", "--each")
    assert again["redrives"] == 1


def no_json(number: int = 1) -> tuple[str, bytes, dict[str, str]]:
    """A body that Yoco signed and that is no JSON."""
    body, stamp, name = b"this is no JSON", str(int(time.time())), f"msg_{number}"
    mac = hmac.new(YOCO_KEY, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "shop", body, {
        "webhook-id": name, "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }  # fmt: skip


def test_the_guide_is_true(mill: Program) -> None:
    """Its commands, one after another as they stand there, on letters as it speaks of."""
    consoles = re.findall(r"```console\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    commands = [line[2:] for block in consoles for line in block.splitlines() if line]
    set_aside(mill, range(3), topic="normalize-dlq", reason="unparseable_body")
    set_aside(mill, [9], topic="route-dlq", reason="undecodable_event")
    [place] = places(mill, "route-dlq")
    printed, sent = {}, []
    for command in commands:
        words = [place if each == "PLACE" else each for each in shlex.split(command)]
        assert words[0] == "hookmill"
        printed[command] = mill.run(*words[1:])
        sent.append(len(mill.read("webhooks-unique")))

    assert sent == [0, 0, 0, 0, 1, 3, 3, 3]
    assert re.search(r"normalize-dlq +unparseable_body +3 ", printed[commands[0]])
    assert printed[commands[1]].count("unparseable_body") == 3
    assert "sent again to  events-normalized" in printed[commands[2]]
    assert printed[commands[3]].count("unparseable_body") == 3
    assert len(re.findall(r"the new version\s+reads them", printed[commands[7]])) == 2
    assert "nothing was paid" in printed[commands[7]]
    assert mill.json("dlq", "list", "--each") == []


def test_the_guide_names_where_letters_go(mill: Program) -> None:
    """Its table, against what the program says."""
    rows = re.findall(r"\| `(\S+-dlq)` \| `([^`]+)`", GUIDE.read_text())
    for topic, _ in rows:
        set_aside(mill, [0], topic=topic.replace("NAME", "ledger"))
    groups = mill.json("dlq", "list")

    assert {each["topic"]: each["again_to"] for each in groups} == {
        topic.replace("NAME", "ledger"): to.replace("NAME", "ledger") for topic, to in rows
    }
    assert len(rows) == 4
