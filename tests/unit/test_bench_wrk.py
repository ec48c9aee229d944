"""wrk as the client of a benchmark: what it is handed, and what it tells."""

from pathlib import Path

import pytest

from hookmill.bench import wrk
from hookmill.core.errors import HookmillError

SAID = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
told 7 2004000 1
"""


def test_requests_go_through_a_file_whatever_is_in_them(tmp_path: Path) -> None:
    """Each by its length: a body may have lines of its own."""
    command = wrk.command("/usr/bin/wrk", "http://x/", [b"POST\r\n\r\n{}\n", b"GET"],
                          connections=8, secs=2, folder=tmp_path)  # fmt: skip

    asked, told = command[-2:]
    assert Path(asked).read_bytes() == b"11\nPOST\r\n\r\n{}\n3\nGET"
    assert command[command.index("--connections") + 1] == "8"
    assert command[command.index("--duration") + 1] == "2s"
    assert Path(command[command.index("--script") + 1]).read_text() == wrk.SCRIPT
    assert Path(told).parent == tmp_path


def test_what_it_tells_is_read(tmp_path: Path) -> None:
    """Its summary, and the ids of what it was told is kept."""
    (tmp_path / "wrk.deliveries").write_text("d-1\nd-2\n")

    told = wrk.told(SAID, tmp_path)

    assert told == wrk.Told(7, 2.004, 1, frozenset({"d-1", "d-2"}))


def test_one_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    """With what it did say."""
    with pytest.raises(HookmillError, match="told nothing: unable to connect"):
        wrk.told("unable to connect", tmp_path)
