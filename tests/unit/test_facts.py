"""A declaration as functions: they give what its expressions say, and nothing is read in vain."""

from collections.abc import Mapping
from typing import Any

import pytest

from hookmill.core.parse import Number, parse_json
from hookmill.core.resource import Change
from hookmill.providers.declaration import Also, Row, Shape
from hookmill.providers.facts import Facts, Line
from hookmill.providers.kept import Kept
from hookmill.providers.schemes.moments import moment
from hookmill.providers.schemes.template import Source, text_reader, value_reader

BODY = b"""{"id": "e1", "empty": "", "none": null, "n": 7, "yes": true, "half": 1.50,
 "data": {"id": "d1", "n": 0, "list": [{"id": "i0"}, {"id": "i1"}], "object": {"id": "o1"}},
 "text": "abc"}"""

POINTERS: dict[str, Any] = {
    "/id": "e1", "/empty": "", "/none": None, "/n": 7, "/yes": True, "/half": Number("1.50"),
    "/gone": None, "/data/id": "d1", "/data/n": 0, "/data/gone": None, "/gone/id": None,
    "/text/id": None, "/data/object/id": "o1", "/data/object/gone": None, "/data/gone/id": None,
    "/data/list/1": {"id": "i1"}, "/data/list/1/id": "i1", "/data/list/2/id": None,
}  # fmt: skip


@pytest.mark.parametrize("parsed", [True, False], ids=["parsed", "not parsed yet"])
@pytest.mark.parametrize("pointer", POINTERS)
def test_a_pointer_is_followed_through_objects_and_lists(pointer: str, parsed: bool) -> None:
    """Whatever its length; as text only a text that is not empty, or a whole number."""
    source = Source(BODY, parsed=parse_json(BODY) if parsed else None)
    value = POINTERS[pointer]
    text = value or None if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)

    assert value_reader(pointer)(source) == value
    assert text_reader(pointer)(source) == text


@pytest.mark.parametrize("body", [b"no JSON", b"[1]", b"1"])
def test_nothing_is_found_where_there_is_no_object(body: bytes) -> None:
    """And nothing is raised."""
    source = Source(body)

    assert [text_reader(each)(source) for each in ("/a", "/a/b", "/a/b/c")] == [None] * 3
    assert [value_reader(each)(source) for each in ("/a", "/a/b", "/a/b/c")] == [None] * 3


def test_the_first_that_gives_something_counts() -> None:
    """Pointers, headers and templates alike; without any expression there is nothing."""
    source = Source(BODY, headers={"x-id": ["h1"]})

    assert text_reader(("/empty", "header:x-id", "/id"))(source) == "h1"
    assert text_reader(("{/gone}:{/id}", "{/data/id}:{/id}"))(source) == "d1:e1"
    assert value_reader(("/none", "/empty"))(source) == ""
    assert value_reader(("header:gone", "{/gone}", "/half"))(source) == Number("1.50")
    assert text_reader(())(source) is value_reader(())(source) is None


def test_a_row_asks_for_a_status_and_for_values() -> None:
    """An absent value is as an empty one, an absent status is none of those asked for."""
    facts = Facts(Shape(status="/status"))
    row = Row(word="w", becomes="payment.failed", status=("", "bad"), when={"/live": (True, "")})
    line = Line(3, row, facts)

    def fits(body: bytes) -> bool:
        return line.fits(Source(parsed=parse_json(body)))

    assert fits(b'{"status": "bad", "live": true}')
    assert fits(b'{"status": "bad"}')
    assert not fits(b'{"status": "bad", "live": false}')
    assert not fits(b'{"status": "good", "live": true}')
    assert not fits(b'{"live": true}')


def test_a_row_may_say_something_of_other_resources() -> None:
    """Of those that the event names."""
    also = (
        Also(becomes="payment.failed", resource="/payment"),
        Also(becomes="dispute.opened", resource="/gone"),
    )
    line = Line(2, Row(word="w", becomes="refund.pending", also=also), Facts(Shape()))
    source = Source(parsed={"payment": "p1"})

    assert line.changes(source, "r1", 9) == (
        Change("refund", "r1", "pending", 2, 9, 2),
        Change("payment", "p1", "failed", 5, 0, 2),
    )


def test_a_moment_is_the_time_and_our_text_of_it() -> None:
    """None for what is no time, and for a day that no calendar has."""
    assert moment("1742505638", "s") == (1_742_505_638_000_000, "2025-03-20T21:20:38.000000Z")
    assert moment("2026-01-02T03:04:05.5+01:00", "rfc3339") == (
        1_767_319_445_500_000, "2026-01-02T02:04:05.500000Z",
    )  # fmt: skip
    assert moment("9" * 15, "s") is moment("soon", "rfc3339") is moment(None, "ms") is None


def test_kept_headers_are_found_when_one_is_asked_for() -> None:
    """Once, however many are asked for."""
    asked = []

    def find(name: str) -> Mapping[str, list[str]]:
        asked.append(name)
        return {name: ["1"]}

    kept = Kept(find, "a")

    assert asked == []
    assert (kept["a"], kept.get("b"), len(kept), list(kept)) == (["1"], None, 1, ["a"])
    assert asked == ["a"]
