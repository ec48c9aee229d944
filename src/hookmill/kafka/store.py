"""A partition's state on disk: never ahead of what is committed, always made again from Kafka."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
from rocksdict import Rdict, ReadOptions, WriteBatch, WriteOptions

from hookmill.kafka.memory import Memory

Changes = Sequence[tuple[bytes, bytes | None]]
"""Keys and their new values; None deletes."""


class Bookmark(msgspec.Struct, frozen=True):
    """What the store knows of its changelog: the offset of the last record it holds, the
    changelog's incarnation (a new one for every changelog made anew), the next input offset; and
    up to which key it was last looked through for what has expired."""

    changelog_offset: int
    incarnation: str | None
    next_input_offset: int | None
    swept: bytes = b""


class Store(Protocol):
    """What the engine wants of a store. Its calls are short and block."""

    def bookmark(self) -> Bookmark | None:
        """Up to where the store is complete; None for an empty one."""

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and its value, for a store that is small."""

    def after(self, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """So many keys behind that one and their values, in the order of the keys."""

    def write(self, changes: Changes, bookmark: Bookmark) -> None:
        """Apply the changes and move the bookmark, all or nothing."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Let go of the files."""


_BOOKMARK_KEY = b"\x00bookmark"


class RocksStore:
    """A store in a RocksDB folder. It is not synced on write: the changelog is the truth.

    RocksDB refuses everything for good after a write that failed (a full disk), and a damaged
    block stays damaged; so after a failure the next `bookmark` opens the database anew, and makes
    a damaged one anew, before it answers.
    """

    def __init__(self, folder: Path, memory: Memory | None = None) -> None:
        self._folder = folder
        self._memory = memory or Memory()
        self._db: Any = self._open()
        self._failed = self._damaged = False

    def bookmark(self) -> Bookmark | None:
        """Up to where the store is complete; None for an empty one or one of another format."""
        if self._failed:
            self._open_anew()
        with self._watched():
            value = self._db.get(_BOOKMARK_KEY)
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=Bookmark)
        except msgspec.MsgspecError:
            return None

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one, looked up in one call."""
        wanted: list[Any] = list(keys)
        with self._watched():
            values: list[bytes | None] = self._db.get(wanted) or []
        return {key: value for key, value in zip(wanted, values, strict=True) if value is not None}

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and its value, in the order of the keys."""
        with self._watched():
            for key, value in self._db.items():
                if key != _BOOKMARK_KEY:
                    yield key, value

    def after(self, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """So many keys behind that one and their values, in the order of the keys."""
        with self._watched():
            found = list(
                islice(self._db.items(from_key=key, read_opt=_past_the_cache()), count + 2)
            )
        return [pair for pair in found if pair[0] not in (key, _BOOKMARK_KEY)][:count]

    def write(self, changes: Changes, bookmark: Bookmark) -> None:
        """Apply the changes and move the bookmark in one write batch."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_BOOKMARK_KEY, msgspec.json.encode(bookmark))
        with self._watched():
            self._db.write(batch, WriteOptions())

    def clear(self) -> None:
        """Delete the folder and begin an empty one."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._db = self._open()

    def close(self) -> None:
        """Close the database; what it can no longer write is in the changelog."""
        closing, self._db = self._db, None  # a failed close keeps RocksDB's lock while it lives
        if closing is not None:
            with contextlib.suppress(Exception):
                closing.close()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # rocksdict raises nothing narrower
            self._failed = True
            self._damaged = self._damaged or str(error).startswith("Corruption")
            raise

    def _open_anew(self) -> None:
        if self._damaged:
            self.clear()
        else:
            self.close()
            self._db = self._open()
        self._failed = self._damaged = False

    def _open(self) -> Rdict:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        options = self._memory.options()
        # Without this, rocksdict opens what is there already as it was saved on disk, and that
        # knows neither the filters of the tables nor the cache that all stores share.
        families = {"default": options}
        try:
            return Rdict(str(self._folder), options, families)
        except Exception as error:
            if "lock hold" in str(error):  # by ourselves, elsewhere in this process
                raise
            # The instance's lock is ours, so nobody else has it open: it is damaged.
            shutil.rmtree(self._folder, ignore_errors=True)
            return Rdict(str(self._folder), options, families)


class InstanceLock:
    """The exclusive right of one process to the state folders of a group's instance.

    The lock dies with the process, so a folder that another process holds is never touched.
    """

    def __init__(self, folder: Path, file: IO[str], name: str) -> None:
        self.folder = folder
        self.name = name
        self._file = file

    def release(self) -> None:
        """Let another process have the instance."""
        self._file.close()


def lock_instance(root: Path, group: str, name: str | None) -> InstanceLock:
    """Lock `root/{name}/{group}`; without a name the lowest number that is free.

    Raises BlockingIOError if the named instance is another process's.
    """
    candidates: Iterable[str] = [name] if name is not None else map(str, range(10_000))
    for candidate in candidates:
        folder = root / candidate / group
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return InstanceLock(folder, file, candidate)
    raise BlockingIOError(f"instance '{name}' of {group} is in use by another process")


def _past_the_cache() -> ReadOptions:
    """For a walk through all there is: it would drive out of the cache what is asked for, and fill
    it for nothing (30 MB less memory with a million keys)."""
    options = ReadOptions()
    options.fill_cache(False)  # type: ignore[call-arg]  # its stub forgets `self`
    return options


class Overlay:
    """What a transaction has changed so far, over the store: thrown away unless it is committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.values: dict[bytes, bytes] = {}
        self.changes: dict[bytes, bytes] = {}

    def look_up(self, keys: set[bytes]) -> dict[bytes, bytes]:
        """The values of these keys, as far as they have one: a copy."""
        values = self.values
        if wanted := keys - values.keys():
            values |= self._store.get_many(wanted)
        return {key: values[key] for key in keys if key in values}

    def put(self, changes: Iterable[tuple[bytes, bytes]]) -> None:
        """Let later records of the transaction see these changes."""
        for key, value in changes:
            self.values[key] = value
            self.changes[key] = value
