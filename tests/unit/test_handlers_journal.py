"""The journal of events under way: what a process that died leaves to the next one."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.handlers import journal as journal_module
from hookmill.handlers.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Its file, which is not there yet."""
    return tmp_path / "in-flight"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Journal]]:
    """Opens it as the next process does; none of them ends what it began."""
    journals: list[Journal] = []

    def open_() -> Journal:
        journals.append(Journal(path))
        return journals[-1]

    yield open_
    for journal in journals:
        journal.close()


Open = Callable[[], Journal]


def test_who_dies_with_an_event_has_it_counted(opened: Open) -> None:
    """Each process adds one; an event that came back has nothing against it."""
    first = opened()
    first.begin("a")
    first.begin("b")
    first.end("b")
    second = opened()
    second.begin("a")
    third = opened()

    assert (first.crashes("a"), second.crashes("a"), third.crashes("a")) == (0, 1, 2)
    assert third.crashes("b") == 0


def test_what_came_back_is_forgiven(opened: Open) -> None:
    """For this process and for the next."""
    opened().begin("a")
    second = opened()
    second.begin("a")
    second.end("a")

    assert second.crashes("a") == opened().crashes("a") == 0


def test_a_count_stays_until_the_event_is_met_again(opened: Open) -> None:
    """A process that never sees it forgets nothing."""
    opened().begin("a")
    opened()
    opened().begin("other")

    assert opened().crashes("a") == 1


def test_a_half_written_line_is_no_event(opened: Open, path: Path) -> None:
    """The process died while it wrote."""
    path.write_text("+a\n+b\n-b\n+c")
    journal = opened()

    assert [journal.crashes(each) for each in "abc"] == [1, 0, 0]


def test_the_file_does_not_grow_for_ever(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written anew with what still holds."""
    monkeypatch.setattr(journal_module, "FILE_BYTES_MAX", 200)
    journal = opened()
    journal.begin("open")
    for number in range(1000):
        journal.begin(f"e{number}")
        journal.end(f"e{number}")

    assert path.stat().st_size < 400
    assert opened().crashes("open") == 1


def test_a_disk_that_takes_no_line_stops_nothing(tmp_path: Path) -> None:
    """The note is lost, and the event is handled."""
    journal = Journal(tmp_path / "no" / "such" / "folder")
    journal.begin("a")
    journal.end("a")
    journal.close()

    assert journal.crashes("a") == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "end"]), st.sampled_from(["a", "b", "c"])), max_size=30
    )
)
def test_only_what_had_not_ended_is_counted(steps: list[tuple[str, str]]) -> None:
    """Whatever came before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        journal = Journal(path)
        under_way = dict.fromkeys("abc", 0)
        for what, event_id in steps:
            if what == "begin":
                journal.begin(event_id)
                under_way[event_id] += 1
            elif under_way[event_id]:
                journal.end(event_id)
                under_way[event_id] -= 1
        journal.close()
        following = Journal(path)

        assert {each: following.crashes(each) > 0 for each in "abc"} == {
            each: count > 0 for each, count in under_way.items()
        }
        following.close()
