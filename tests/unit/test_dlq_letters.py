"""Dead letters, pure: what is read of one, which are meant, what is decided, how one goes again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.record import Headers, Record
from hookmill.stages.failed import dead_letter
from hookmill.stages.letters import (
    Decision,
    Decisions,
    Letter,
    Place,
    Selection,
    Span,
    batches,
    may_be,
    place_of,
    sent_again,
    spans,
)

LEDGER = "handler-ledger-dlq"
NAMES = st.sampled_from(
    ["hm-error-reason", "hm-error-at", "hm-attempt", "hm-not-before", "hm-redrives",
     "hm-redriven-from", "hm-delivery", "hm-event-id", "hm-raw-offset", "traceparent", "other"]
)  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=8))).map(tuple)
TOPICS = st.text("abc-:0123456789", min_size=1, max_size=12)
NUMBERS = st.integers(0, 2**63 - 1)
PLACES = st.builds(Place, TOPICS, NUMBERS, NUMBERS)


def letter(
    offset: int = 0, *, topic: str = LEDGER, partition: int = 0, key: bytes = b"shop|p_1",
    reason: str = "declined", at_us: int = 1_000_000, headers: Headers = (), value: bytes = b"{}",
) -> Letter:  # fmt: skip
    """A letter as a handler's is written."""
    record = Record("queue", partition, 5, 1_000, key, value, headers)
    made = dead_letter(
        record, topic=topic, part="it", reason=reason, detail="why", attempt=2, at_us=at_us
    )
    at = Record("ns-" + topic, partition, offset, 2_000, key, value, made.headers)
    return Letter(Place(topic, partition, offset), at)


def test_a_letter_says_what_its_record_holds() -> None:
    """Endpoint and subject are in its key, wherever it failed."""
    found = letter(at_us=5, headers=(("hm-redrives", b"3"),))

    assert (found.reason, found.failed_at_us, found.redrives) == ("declined", 5, 3)
    assert (found.endpoint, found.subject) == ("shop", "p_1")


def test_the_endpoint_of_a_record_that_was_not_normalized_is_in_its_headers() -> None:
    """Dedup sets aside what has no proper key, too."""
    assert letter(key=b"", headers=(("hm-endpoint", b"shop"),)).endpoint == "shop"


def test_what_somebody_else_wrote_is_a_letter_too() -> None:
    """Whatever it holds, it can be listed."""
    found = Letter(Place(LEDGER, 0, 0), Record("t", 0, 0, 7, b"\xff", b"",
                   (("hm-redrives", b"many"), ("hm-error-at", b"-1"))))  # fmt: skip

    assert (found.reason, found.failed_at_us, found.redrives) == ("unknown", 7_000, 0)
    assert (found.endpoint, found.subject) == ("\ufffd", "")


@given(PLACES)
def test_a_place_is_read_as_it_is_written(place: Place) -> None:
    """Whatever the topic is called."""
    assert place_of(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "a", "a:1", ":1:2", "a:1:", "a::2", "a:-1:2", "a:1:x", "a:1:٢", "a:1:2:"]
)
def test_what_is_no_place_is_none(text: str) -> None:
    """Two numbers behind a topic's name."""
    assert place_of(text) is None


@given(st.lists(PLACES, unique=True))
def test_two_places_never_have_one_key(places: list[Place]) -> None:
    """Topics have no bars in their names."""
    assert len({each.key for each in places}) == len(places)


@given(HEADERS, st.binary(max_size=20), st.binary(max_size=20))
def test_what_is_sent_again_is_the_record_less_its_failure(
    headers: Headers, key: bytes, value: bytes
) -> None:
    """Key, value and every other header as they were, in their order."""
    record = Record("t", 1, 2, 3, key, value, headers)
    sent = sent_again(Letter(Place("it-dlq", 1, 2), record), "it")
    ours = ("hm-error-", "hm-attempt", "hm-not-before", "hm-redrive", "hm-redriven")
    kept = [pair for pair in headers if not pair[0].startswith(ours)]

    assert (sent.topic, sent.key, sent.value) == ("it", key, value)
    assert list(sent.headers[: len(kept)]) == kept
    assert [name for name, _ in sent.headers[len(kept) :]] == ["hm-redrives", "hm-redriven-from"]
    assert sent.headers[-1][1] == b"it-dlq:1:2"


def test_the_count_of_redrives_grows_with_each_failure() -> None:
    """A dead letter keeps the headers of the record that failed."""
    failed = letter()
    for times in range(1, 4):
        sent = sent_again(failed, "it")
        failed = letter(headers=sent.headers)
        assert failed.redrives == times


DECIDED = Decision("redriven", "2026-11-23T09:00:00.000000Z", 2_000, why="it works again", by="sam")


def test_a_decision_is_kept_as_json() -> None:
    """With a version, for whoever changes it."""
    encoded = msgspec.json.encode(DECIDED)
    decisions = Decisions()
    decisions.add(letter().place.key, encoded)

    assert msgspec.json.decode(encoded) == {
        "decision": "redriven", "at": "2026-11-23T09:00:00.000000Z", "letter_ms": 2000,
        "why": "it works again", "by": "sam", "v": 1,
    }  # fmt: skip
    assert decisions.of(letter()) == DECIDED
    assert decisions.of(letter(1)) is None


def test_the_last_decision_counts() -> None:
    """As compaction leaves it."""
    decisions, later = Decisions(), Decision("discarded", DECIDED.at, 2_000)
    for each in (DECIDED, later):
        decisions.add(letter().place.key, msgspec.json.encode(each))

    assert decisions.of(letter()) == later


def test_a_topic_made_anew_has_new_letters() -> None:
    """What was decided of another one at that place says nothing of this."""
    decisions = Decisions()
    decisions.put(letter().place, msgspec.structs.replace(DECIDED, letter_ms=1_999))

    assert decisions.of(letter()) is None


def test_decisions_of_letters_that_are_gone_are_found() -> None:
    """By topic, partition and offset; and a record without a value takes one back."""
    decisions = Decisions()
    kept = [Place("it", 1, 1), Place("it", 1, 10), Place("it", 11, 0), Place("it-dlq", 1, 0)]
    for place in kept:
        decisions.put(place, DECIDED)

    assert decisions.before("it", 1, 10) == [kept[0].key]
    decisions.add(kept[0].key, b"")
    assert decisions.before("it", 1, 10) == []


@pytest.mark.parametrize("value", [b"{}", b"\xff", b"null", b'{"v":2,"decision":"redriven"}'])
def test_what_is_no_decision_is_not_passed_over(value: bytes) -> None:
    """A letter could be sent twice."""
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        Decisions().add(b"k", value)


@pytest.mark.parametrize(
    ("word", "before", "named", "may"),
    [
        ("redriven", None, False, True),
        ("discarded", None, False, True),
        ("redriven", "redriven", False, False),
        ("redriven", "redriven", True, False),
        ("redriven", "discarded", False, False),
        ("redriven", "discarded", True, True),
        ("discarded", "redriven", True, False),
        ("discarded", "discarded", True, False),
    ],
)
def test_nothing_is_sent_twice(word: str, before: str | None, named: bool, may: bool) -> None:
    """An open letter may be decided; a discarded one still be sent, if it is named."""
    decided = None if before is None else msgspec.structs.replace(DECIDED, decision=before)
    selection = Selection(places=frozenset({letter().place}) if named else frozenset())

    assert may_be(word, letter(), decided, selection) is may  # type: ignore[arg-type]


MEANT = {
    "everything": Selection(),
    "its topic": Selection(topics=frozenset({LEDGER, "other"})),
    "its reason": Selection(reasons=frozenset({"declined"})),
    "its endpoint": Selection(endpoints=frozenset({"shop"})),
    "its subject": Selection(subjects=frozenset({"p|1"})),
    "its subject as in its key": Selection(subjects=frozenset({"p%7C1"})),
    "its key": Selection(subjects=frozenset({"shop|p%7C1"})),
    "its place": Selection(places=frozenset({Place(LEDGER, 0, 0)})),
    "since it failed": Selection(since_us=10),
    "until after it failed": Selection(until_us=11),
    "all of it": Selection(reasons=frozenset({"declined"}), since_us=9, topics=frozenset({LEDGER})),
}
NOT_MEANT = {
    "another topic": Selection(topics=frozenset({"other"})),
    "another reason": Selection(reasons=frozenset({"decline"})),
    "another endpoint": Selection(endpoints=frozenset({"shop|p%7C1"})),
    "another subject": Selection(subjects=frozenset({"p"})),
    "another place": Selection(places=frozenset({Place(LEDGER, 1, 0)})),
    "since later": Selection(since_us=11),
    "until it failed": Selection(until_us=10),
    "not all of it": Selection(reasons=frozenset({"declined"}), since_us=11),
}


@pytest.mark.parametrize("selection", MEANT.values(), ids=list(MEANT))
def test_a_letter_that_fits_is_meant(selection: Selection) -> None:
    """Every field that is given must fit; the times are those of the failure."""
    assert selection.takes(letter(key=b"shop|p%7C1", at_us=10))
    assert selection.takes_topic(LEDGER)


@pytest.mark.parametrize("selection", NOT_MEANT.values(), ids=list(NOT_MEANT))
def test_a_letter_that_does_not_fit_is_not(selection: Selection) -> None:
    """One field is enough."""
    assert not selection.takes(letter(key=b"shop|p%7C1", at_us=10))


BOUNDS = st.dictionaries(
    st.integers(0, 3), st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted).map(tuple)
)
OFFSETS = st.tuples(st.integers(0, 3), st.integers(0, 9))


@given(BOUNDS, st.frozensets(OFFSETS))
def test_what_is_read_holds_every_letter_meant(
    bounds: dict[int, tuple[int, int]], named: frozenset[tuple[int, int]]
) -> None:
    """Named ones alone where there are any, else all; each once, each partition in order."""
    selection = Selection(places=frozenset(Place("it", *each) for each in named))
    found = list(spans(selection, "it", bounds))
    read = [(each.partition, at) for each in found for at in range(each.start, each.end)]
    there = [(p, at) for p in sorted(bounds) for at in range(*bounds[p])]

    assert read == [each for each in there if not named or each in named]


def test_letters_of_another_topic_are_not_read() -> None:
    """Though their places have the same numbers."""
    selection = Selection(places=frozenset({Place("it", 0, 3), Place("other", 0, 5)}))

    assert list(spans(selection, "it", {0: (0, 9)})) == [Span("it", 0, 3, 4)]
    assert not selection.takes_topic("third")


@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(1, 120))
def test_batches_are_the_letters_in_order_within_the_limits(
    sizes: list[int], records_max: int, bytes_max: int
) -> None:
    """A letter that is too large goes alone."""
    letters = [Letter(Place("it", 0, n), Record("it", 0, n, 0, b"", b"x" * size))
               for n, size in enumerate(sizes)]  # fmt: skip
    found = list(batches(letters, records_max=records_max, bytes_max=bytes_max))

    assert [each for batch in found for each in batch] == letters
    for batch in found:
        assert 1 <= len(batch) <= records_max
        assert len(batch) == 1 or sum(len(each.record.value) for each in batch) <= bytes_max
