"""State on disk: never ahead of its bookmark, one process at a time, made anew when damaged."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options

from hookmill.kafka.memory import Memory
from hookmill.kafka.store import Bookmark, Overlay, RocksStore, lock_instance
from support.memory_log import MemoryStore

MARK = Bookmark(changelog_offset=41, incarnation="i-1", next_input_offset=7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store's files are; its parents do not exist yet."""
    return tmp_path / "0" / "hookmill-dedup" / "3"


@pytest.fixture
def store(folder: Path) -> Iterator[RocksStore]:
    """An empty store."""
    made = RocksStore(folder)
    yield made
    made.close()


def test_an_empty_store_knows_nothing(store: RocksStore) -> None:
    """No bookmark means: restore from the start."""
    assert store.bookmark() is None
    assert store.get_many([b"a"]) == {}
    assert store.get_many([]) == {}


def test_what_is_written_is_found_with_its_bookmark(store: RocksStore) -> None:
    """Keys that hold nothing are left out, a key asked for twice is found."""
    store.write([(b"a", b"1"), (b"b", b""), (b"\x00\xff", b"3")], MARK)

    assert store.bookmark() == MARK
    assert store.get_many([b"a", b"b", b"c", b"\x00\xff", b"a"]) == {
        b"a": b"1",
        b"b": b"",
        b"\x00\xff": b"3",
    }


def test_the_last_change_of_a_key_counts(store: RocksStore) -> None:
    """Within a batch and over batches; None deletes."""
    store.write([(b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"c", b"1")], MARK)
    store.write([(b"b", None), (b"c", b"2"), (b"never", None)], MARK)

    assert store.get_many([b"a", b"b", b"c", b"never"]) == {b"a": b"2", b"c": b"2"}


@pytest.mark.parametrize(
    "mark", [MARK, Bookmark(0, None, None), Bookmark(2**62, "i-2", 0)], ids=["full", "none", "long"]
)
def test_everything_is_there_after_a_restart(folder: Path, mark: Bookmark) -> None:
    """The bookmark says from where to read on."""
    first = RocksStore(folder)
    first.write([(b"a", b"1")], mark)
    first.close()
    second = RocksStore(folder)

    assert (second.bookmark(), second.get_many([b"a"])) == (mark, {b"a": b"1"})
    second.close()


def test_clear_forgets_everything(store: RocksStore) -> None:
    """And the store can be used at once."""
    store.write([(b"a", b"1")], MARK)
    store.clear()

    assert (store.bookmark(), store.get_many([b"a"])) == (None, {})
    store.write([(b"b", b"2")], MARK)
    assert store.get_many([b"a", b"b"]) == {b"b": b"2"}


@pytest.mark.parametrize(
    "bookmark", [b"", b"\xff", b"{}", b'{"offset":1}'], ids=["empty", "bytes", "object", "other"]
)
def test_a_bookmark_of_another_format_is_none(store: RocksStore, bookmark: bytes) -> None:
    """Then the state is made again from Kafka."""
    store.write([(b"\x00bookmark", b"x")], MARK)
    store._db.put(b"\x00bookmark", bookmark)

    assert store.bookmark() is None


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST*"])
def test_a_damaged_folder_is_made_anew(folder: Path, name: str) -> None:
    """The changelog is the truth: damage costs a restore, not a person's night."""
    first = RocksStore(folder)
    first.write([(b"a", b"1")], MARK)
    first.close()
    for file in folder.glob(name):
        file.write_bytes(b"not what RocksDB wrote")
    second = RocksStore(folder)

    assert (second.bookmark(), second.get_many([b"a"])) == (None, {})
    second.write([(b"b", b"2")], MARK)
    assert second.get_many([b"b"]) == {b"b": b"2"}
    second.close()


def filled(folder: Path) -> RocksStore:
    """A store whose values lie in a file, not only in memory."""
    store = RocksStore(folder)
    store.write([(b"%d" % number, os.urandom(500)) for number in range(2000)], MARK)
    store.close()
    return RocksStore(folder)


class Counted(Memory):
    """Memory of stores that count what they do."""

    def options(self) -> Options:
        """As ever, and RocksDB keeps statistics."""
        self.opened = super().options()
        self.opened.enable_statistics()
        return self.opened

    def count(self, ticker: str) -> int:
        """How often that happened in the store that was opened last."""
        lines = (line.split() for line in (self.opened.get_statistics() or "").splitlines())
        return next(int(words[3]) for words in lines if words and words[0] == ticker)


def test_a_store_that_is_opened_again_has_its_filters_and_the_shared_cache(folder: Path) -> None:
    """What is on disk already is opened as it is configured now, not as RocksDB saved it: that
    leaves out the filters, and each new key is then looked for in the tables themselves."""
    filled(folder).close()
    memory = Counted()
    store = RocksStore(folder, memory)
    assert store.get_many([b"%d.5" % number for number in range(1999)]) == {}

    assert memory.count("rocksdb.bloom.filter.useful") > 1900
    before = memory._cache.get_usage()
    assert store.get_many([b"7"])
    assert memory._cache.get_usage() > before
    store.close()


def test_a_damaged_block_costs_a_restore_too(folder: Path) -> None:
    """It is found only when it is read; from then on the same read fails for ever."""
    keys = [b"%d" % number for number in range(2000)]
    filled(folder).close()
    [table] = folder.glob("*.sst")
    table.write_bytes(
        bytes(each ^ 0xFF if at % 997 == 0 and at < 500_000 else each
              for at, each in enumerate(table.read_bytes()))
    )  # fmt: skip
    store = RocksStore(folder)
    with pytest.raises(Exception, match="Corruption"):
        store.get_many(keys)

    assert (store.bookmark(), store.get_many(keys)) == (None, {})
    store.write([(b"a", b"1")], MARK)
    store.close()


def test_a_disk_that_was_full_is_written_again(folder: Path) -> None:
    """RocksDB itself refuses every write after one that failed, until it is opened anew."""
    store = filled(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(Exception, match="IO error"):
            store.write([(b"a", b"1")], MARK)
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert store.bookmark() == MARK
    store.write([(b"a", b"1")], MARK)
    assert store.get_many([b"a", b"7"]).keys() == {b"a", b"7"}
    store.close()


def test_an_overlay_is_seen_but_changes_nothing_below() -> None:
    """Later records of a transaction see earlier ones; an aborted one leaves no trace."""
    store = MemoryStore()
    store.values = {b"a": b"1", b"b": b"1"}
    overlay = Overlay(store)
    overlay.look_up({b"a", b"b", b"x"})
    overlay.put([(b"a", b"2"), (b"c", b"3")])
    overlay.put([(b"c", b"4")])
    overlay.look_up({b"a", b"c", b"x"})

    assert overlay.values == {b"a": b"2", b"b": b"1", b"c": b"4"}
    assert overlay.changes == {b"a": b"2", b"c": b"4"}
    assert store.values == {b"a": b"1", b"b": b"1"}


HOLD = """
import pathlib, sys
from hookmill.kafka.store import lock_instance
lock = lock_instance(pathlib.Path(sys.argv[1]), "hookmill-dedup", sys.argv[2] or None)
print(lock.name, flush=True)
sys.stdin.read()
"""


class Other:
    """Another process that holds an instance until it is told to end, or killed."""

    def __init__(self, root: Path, name: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.name = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """As the kernel or a power cut would."""
        self._process.kill()
        self._process.communicate(timeout=10)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    """Another process that took the lowest free instance."""
    made = Other(tmp_path)
    yield made
    made.kill()


def test_an_instance_is_one_processs_alone(tmp_path: Path, other: Other) -> None:
    """Named, it is refused; unnamed, the next free number is taken; its death frees it."""
    assert other.name == "0"
    with pytest.raises(BlockingIOError, match="instance '0' of hookmill-dedup is in use"):
        lock_instance(tmp_path, "hookmill-dedup", "0")
    second = lock_instance(tmp_path, "hookmill-dedup", None)
    assert (second.name, second.folder) == ("1", tmp_path / "1" / "hookmill-dedup")

    other.kill()
    third = lock_instance(tmp_path, "hookmill-dedup", None)

    assert third.name == "0"
    second.release()
    third.release()


def test_another_group_of_the_same_instance_is_free(tmp_path: Path, other: Other) -> None:
    """Dedup and normalize on one machine are both instance 0."""
    lock = lock_instance(tmp_path, "hookmill-normalize", None)

    assert (other.name, lock.name) == ("0", "0")
    lock.release()


def test_a_released_instance_can_be_locked_again(tmp_path: Path) -> None:
    """With what it held: the folder is never deleted."""
    first = lock_instance(tmp_path, "hookmill-dedup", "blue")
    (first.folder / "3").mkdir()
    first.release()
    second = lock_instance(tmp_path, "hookmill-dedup", "blue")

    assert second.folder == tmp_path / "blue" / "hookmill-dedup"
    assert (second.folder / "3").is_dir()
    second.release()


def test_a_folder_that_this_process_holds_is_not_taken_for_damaged(folder: Path) -> None:
    """An earlier worker of the same partition may still be closing it."""
    first = filled(folder)
    with pytest.raises(Exception, match="lock hold"):
        RocksStore(folder)

    assert first.get_many([b"7"]).keys() == {b"7"}
    first.close()
    second = RocksStore(folder)
    assert second.get_many([b"7"]).keys() == {b"7"}
    second.close()
