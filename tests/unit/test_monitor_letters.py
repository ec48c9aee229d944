"""Which dead letters are open: any order of letters, decisions and rounds gives one answer."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.cli.monitor import letters as module
from hookmill.cli.monitor.letters import Letterbox, OpenLetters, portion
from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.pipeline import DECISIONS, Names
from hookmill.stages.letters import Decision, Place

TOPIC = "dedup-dlq"


def letter(offset: int, at_ms: int = 1, partition: int = 0) -> Record:
    """A dead letter."""
    return Record(TOPIC, partition, offset, at_ms, b"shop|p", b"body")


def decision(offset: int, letter_ms: int = 1, partition: int = 0, at: int = 0) -> Record:
    """What was decided of it; at that offset of `dlq-decisions`."""
    value = msgspec.json.encode(Decision("redriven", "2026-11-25T00:00:00.000000Z", letter_ms))
    return Record(DECISIONS, partition, at, 9, Place(TOPIC, partition, offset).key, value)


def forgotten(offset: int) -> Record:
    """The decision is deleted: its letter is gone."""
    return Record(DECISIONS, 0, 0, 9, Place(TOPIC, 0, offset).key, b"")


class Topics:
    """Topics in memory, and how much of them was read; offsets need not be filled."""

    def __init__(self, **records: list[Record]) -> None:
        self.records = {name.replace("_", "-"): each for name, each in records.items()}
        self.begins: dict[str, int] = {}
        self.read_offsets = 0

    async def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """First and next offset of the only partition."""
        end = max((each.offset + 1 for each in self.records.get(topic, ())), default=0)
        return {0: (self.begins.get(topic, 0), end)}

    async def read(
        self, topic: str, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[list[Record]]:
        """What lies there."""
        start, end = ranges[0]
        self.read_offsets += end - start
        yield [each for each in self.records.get(topic, ()) if start <= each.offset < end]


@given(
    st.lists(st.integers(0, 9), unique=True),
    st.lists(st.integers(0, 9), unique=True),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_the_order_of_reading_does_not_matter(
    offsets: list[int], decided: list[int], begin: int, chance: Any
) -> None:
    """Letters without a decision that the broker still has."""
    steps = [("letter", each) for each in offsets] + [("decision", each) for each in decided]
    chance.shuffle(steps)
    found = OpenLetters()
    for step, offset in steps:
        if step == "letter":
            found.letter(TOPIC, letter(offset))
        else:
            found.decision(decision(offset))
    found.begins(TOPIC, 0, begin)

    assert found.count(TOPIC) == len([each for each in set(offsets) - set(decided)
                                      if each >= begin])  # fmt: skip


def test_a_decision_about_an_earlier_letter_of_that_place_says_nothing() -> None:
    """A topic that is made anew has other letters at the same places."""
    found = OpenLetters()
    found.decision(decision(3, letter_ms=1))
    found.letter(TOPIC, letter(3, at_ms=2))
    found.letter(TOPIC, letter(4, at_ms=2))
    found.decision(decision(4, letter_ms=1))

    assert found.count(TOPIC) == 2


def test_a_decision_that_is_deleted_is_forgotten() -> None:
    """What comes to its place later is open."""
    found = OpenLetters()
    found.decision(decision(3))
    found.decision(forgotten(3))
    found.letter(TOPIC, letter(3))

    assert found.count(TOPIC) == 1


def test_a_decision_of_a_later_release_is_an_error() -> None:
    """Better no figure than a wrong one."""
    record = msgspec.structs.replace(decision(3), value=b'{"v":2}')
    with pytest.raises(HookmillError, match="no decision"):
        OpenLetters().decision(record)


@given(
    st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 50), st.integers(0, 50))),
    st.integers(0, 200),
)
def test_a_round_takes_its_portion_and_says_what_is_left(
    spans: dict[int, tuple[int, int]], offsets_max: int
) -> None:
    """From the start of each range on, never more than there is room for."""
    ranges = {each: (start, start + count) for each, (start, count) in spans.items()}
    taken, left = portion(ranges, offsets_max)
    sizes = [end - start for start, end in taken.values()]

    assert sum(sizes) == min(offsets_max, sum(end - start for start, end in ranges.values()))
    assert sum(sizes) + left == sum(end - start for start, end in ranges.values())
    assert all(taken[each][0] == ranges[each][0] for each in ranges)


async def test_nothing_is_shown_before_all_was_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters whose decisions were not read yet would look open. Then it reads what is new."""
    monkeypatch.setattr(module, "READ_OFFSETS_MAX", 4)
    topics: Any = Topics(dedup_dlq=[letter(each) for each in range(6)],
                         dlq_decisions=[decision(0), decision(5, at=1)])  # fmt: skip
    box = Letterbox(Names(), [TOPIC])

    assert await box.counts(topics) == {}
    assert await box.counts(topics) == {TOPIC: 4}
    assert topics.read_offsets == 8
    topics.records[TOPIC].append(letter(6))
    assert await box.counts(topics) == {TOPIC: 5}
    assert topics.read_offsets == 9


async def test_what_retention_takes_is_open_no_more() -> None:
    """And a topic that is made anew is read from its beginning."""
    topics: Any = Topics(dedup_dlq=[letter(each) for each in range(6)])
    box = Letterbox(Names(), [TOPIC])
    assert await box.counts(topics) == {TOPIC: 6}
    topics.begins[TOPIC] = 4
    assert await box.counts(topics) == {TOPIC: 2}
    topics.begins[TOPIC] = 0
    topics.records[TOPIC] = [letter(0, at_ms=50)]
    assert await box.counts(topics) == {TOPIC: 1}
