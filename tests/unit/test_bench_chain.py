"""What the benchmarks of the chain and of recovery make of a run, and that they see a wrong one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hookmill.bench import chain, noting, open_loop, recovery
from hookmill.bench.chain import PARTS, Run
from hookmill.bench.open_loop import Posted, Work
from hookmill.bench.recovery import Appended

CLOCK_US = 1_000_000_000
"""What the wall clock is ahead of the monotonic one here."""


def run() -> Run:
    """Two deliveries, due at 1 ms and 2 ms, one append of each part every 10 ms after it."""
    posted = [Posted(due * 1000, due * 1000 + 100, due * 1000 + 5_000, 200, f"d{due}")
              for due in (1, 2)]  # fmt: skip
    at_ms = CLOCK_US // 1000
    appended = {
        part: [(f"d{due}", at_ms + due + 10 * number) for due in (1, 2)]
        for number, part in enumerate(PARTS[:-1], start=1)
    }
    handled = [(f"d{due}", (due + 52) * 1000) for due in (1, 2)]
    return Run(posted, handled, appended, CLOCK_US)


def test_each_part_has_the_time_between_two_appends() -> None:
    """And all of them together are the whole."""
    parts = chain.by_part(run())

    assert {name: each.p50_ms for name, each in parts.items()} == {
        "ingress": 10.0, "dedup": 10.0, "normalize": 10.0, "route": 10.0, "handler": 12.0,
    }  # fmt: skip
    assert chain.total(run()).max_ms == 52.0
    assert chain.answered(run()).max_ms == 5.0
    assert chain.late_sends(run()).max_ms == pytest.approx(0.1)


def test_a_run_in_which_all_went_well_is_right() -> None:
    """Every check says so."""
    assert {each.good for each in chain.checks(run())} == {True}


def without(run: Run, part: str) -> Run:
    """Its first record is not in that part's topic."""
    return msgspec.structs.replace(run, appended={**run.appended, part: run.appended[part][1:]})


def twice(run: Run, part: str) -> Run:
    """Its first record is there twice."""
    there = run.appended[part]
    return msgspec.structs.replace(run, appended={**run.appended, part: [there[0], *there]})


@pytest.mark.parametrize("part", PARTS[:-1])
@pytest.mark.parametrize("spoil", [without, twice])
def test_what_is_missing_or_there_twice_is_told(
    spoil: Callable[[Run, str], Run], part: str
) -> None:
    """In the topic of any part."""
    wrong = [each.what for each in chain.checks(spoil(run(), part)) if not each.good]

    assert len(wrong) == 1
    assert f"that {part} writes" in wrong[0]


def test_an_event_that_a_handler_gets_twice_is_told() -> None:
    """Each reaches it once."""
    spoiled = msgspec.structs.replace(run(), handled=[*run().handled, ("d1", 99_000)])

    assert [each.what.rpartition(": ")[2] for each in chain.checks(spoiled) if not each.good] == [
        "0 missing, 1 more than once, of 2"
    ]


def test_a_delivery_that_was_refused_is_told() -> None:
    """A chain that refuses is fast."""
    refused = Posted(3_000, 3_100, 4_000, 503, None)
    spoiled = msgspec.structs.replace(run(), posted=[*run().posted, refused])

    assert not chain.checks(spoiled)[0].good


def test_the_longest_wait_of_each_partition_is_its_pause() -> None:
    """A partition that stood still shows in the record that waited longest."""
    read = [Appended("a", 0, 1_000), Appended("b", 0, 1_500), Appended("c", 1, 1_000)]
    written = [Appended("a", 0, 3_000), Appended("b", 0, 3_000), Appended("c", 1, 1_020)]

    assert recovery.pauses_secs(read, written) == {0: 2.0, 1: 0.02}


def test_a_record_that_is_lost_or_there_twice_is_told() -> None:
    """Whatever happened to the members."""
    once = [Appended("a", 0, 1), Appended("b", 1, 1)]

    assert recovery.check("kill", ["a", "b"], once).good
    assert not recovery.check("kill", ["a", "b", "c"], once).good
    assert not recovery.check("kill", ["a", "b"], [*once, once[0]]).good


def test_notes_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    """The handler may be writing."""
    file = tmp_path / "notes"
    file.write_text("d1 e1 5\nd2 e2 6\nd3")

    assert noting.notes(file) == [("d1", 5), ("d2", 6)]
    assert noting.notes(tmp_path / "none") == []


async def test_the_loader_keeps_its_schedule_though_nobody_answers() -> None:
    """The next request does not wait for the answer to the one before."""
    waiting: list[asyncio.StreamWriter] = []
    served: list[asyncio.Task[None] | None] = []
    came = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer nobody until all three have asked."""
        served.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        waiting.append(writer)
        if len(waiting) == 3:
            came.set()
        await came.wait()
        number = waiting.index(writer)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Hookmill-Delivery: d%d\r\n\r\nok" % number
        )
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    request = open_loop.request_bytes("127.0.0.1", "/", [("x-a", "b")], b"")
    work = Work("127.0.0.1", port, 1_000.0, [request] * 3)
    async with asyncio.timeout(10):
        posted = await open_loop.Loader(work).run()
        await asyncio.gather(*filter(None, served))
    server.close()
    await server.wait_closed()

    assert [each.status for each in posted] == [200, 200, 200]
    assert {each.delivery for each in posted} == {"d0", "d1", "d2"}
    assert [each.due_us for each in posted] == sorted(each.due_us for each in posted)
