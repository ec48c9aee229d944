"""Expired state leaves the store, and never a key that still decides anything."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookmill import pipeline
from hookmill.core.record import Output
from hookmill.kafka.store import Bookmark, RocksStore
from hookmill.kafka.sweep import KEYS_LEAST, expired
from hookmill.kafka.worker import Worker
from hookmill.stages import headers
from hookmill.stages.dedup import MARGIN_MS, Dedup, Seen
from support.memory_log import Exhausted, MemoryLog, MemoryStore

WINDOW_SECS = 100
WINDOW_MS = WINDOW_SECS * 1000
DAY_MS = 86_400_000


class Quiet:
    """A watcher that listens to nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: self


async def works_off(log: MemoryLog, store: MemoryStore, stage: Any) -> None:
    """An owner of the partition works to the end of the input."""
    port = await log.port(pipeline.DEDUP, 0)
    worker = Worker(
        stage, pipeline.DEDUP, port, store, watcher=Quiet(), pause=pytest.fail,
        now_us=lambda: 1, value_bytes_max=lambda topic: 100_000,
    )  # fmt: skip
    with pytest.raises(Exhausted):
        await worker.run()


def came(log: MemoryLog, event: str, at_ms: int) -> None:
    """A raw record of that event at that append time."""
    log.now_ms = at_ms
    pairs = ((headers.ENDPOINT, b"shop"), (headers.EVENT_ID, event.encode()))
    log.append(pipeline.RAW, 0, Output(pipeline.RAW, b"k", b"{}", pairs))


def went_on(log: MemoryLog) -> list[str | None]:
    """Where in the raw topic those lie that were forwarded."""
    return [each.header(headers.RAW_OFFSET) for each in log.topics[pipeline.UNIQUE, 0] if each]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([0, 1, WINDOW_MS // 2, WINDOW_MS, WINDOW_MS + 1, 3 * WINDOW_MS,
                             -WINDOW_MS // 2, -WINDOW_MS]),
            st.sampled_from(["", "", "", "restart", "lost disk"]),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_a_store_that_forgets_decides_as_one_that_does_not(
    arrivals: list[tuple[int, int, str]],
) -> None:
    """Whatever the times, clocks that go back included, and whoever owns the partition."""

    async def decided(stage: Dedup) -> list[str | None]:
        log, store, at_ms, latest_ms = MemoryLog(), MemoryStore(), 10 * WINDOW_MS, 0
        for number, after_ms, what in arrivals:
            at_ms = max(at_ms + after_ms, latest_ms - WINDOW_MS)  # clocks differ by no margin
            latest_ms = max(latest_ms, at_ms)
            came(log, f"e{number}", at_ms)
            if what:
                await works_off(log, store, stage)
                store = MemoryStore() if what == "lost disk" else store
        await works_off(log, store, stage)
        return went_on(log)

    class Remembers(Dedup):
        forgets = None  # type: ignore[assignment]

    kinds = [
        kind({"shop": WINDOW_SECS}, default_window_secs=WINDOW_SECS, to=pipeline.UNIQUE)
        for kind in (Dedup, Remembers)
    ]
    forgetting, remembering = [asyncio.run(decided(stage)) for stage in kinds]

    assert forgetting == remembering


def test_a_store_holds_little_that_has_expired() -> None:
    """Windows pass, and the store grows no more: at most as much again as what still counts."""

    async def run() -> int:
        log, store, largest = MemoryLog(), MemoryStore(), 0
        stage = Dedup({}, default_window_secs=WINDOW_SECS, to=pipeline.UNIQUE)
        for number in range(12_000):  # 500 a window: a thousand are kept
            came(log, f"e{number}", number * WINDOW_MS // 500)
            if number % 100 == 99:
                await works_off(log, store, stage)
                largest = max(largest, len(store.values))
        return largest

    assert asyncio.run(run()) < 2_200


def test_the_next_owner_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """Else one that is often started anew would only ever sweep the beginning."""
    store = RocksStore(tmp_path / "store")
    keys = [f"e{number:04d}".encode() for number in range(200)]
    store.write([(key, b"v") for key in keys], Bookmark(1, "i", 1, b"e0100"))
    store.close()
    opened = RocksStore(tmp_path / "store")
    bookmark = opened.bookmark()
    assert bookmark is not None
    gone, swept = expired(opened, lambda *_: True, bookmark.swept, changes=0, now_ms=0)
    opened.close()

    assert [key for key, _ in gone] == keys[101 : 101 + KEYS_LEAST]
    assert swept == keys[100 + KEYS_LEAST]


def test_a_pass_that_is_over_begins_anew(tmp_path: Path) -> None:
    """At the last key; the bookmark is none."""
    store = RocksStore(tmp_path / "store")
    store.write([(b"a", b"1"), (b"b", b"2")], Bookmark(1, "i", 1))
    gone, swept = expired(store, lambda key, *_: key == b"b", b"", changes=0, now_ms=0)
    store.close()

    assert (gone, swept) == ([(b"b", None)], b"")


@pytest.mark.parametrize(("window_days", "kept_days"), [(2, 4), (7, 14), (35, 42)])
def test_a_sighting_is_kept_beyond_its_window(window_days: int, kept_days: int) -> None:
    """As long again, at most a week."""
    stage = Dedup({"shop": window_days * 86_400}, default_window_secs=1, to="unique")
    seen = msgspec.json.encode(Seen(0, 0, 0))

    assert MARGIN_MS == 7 * DAY_MS
    assert not stage.forgets(b"shop|e|t", seen, kept_days * DAY_MS)
    assert stage.forgets(b"shop|e|t", seen, kept_days * DAY_MS + 1)
