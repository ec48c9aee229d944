"""A partition's state: the local store, and the changelog in Kafka that it is made again from."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from hookmill.core.record import Output, Record
from hookmill.kafka.store import Bookmark, Changes, Store

RESTORE_WRITE_RECORDS = 10_000
MARK_KEY = b"\x00hookmill-mark"


class Source(Protocol):
    """Where the changelog is read from. After a fence its end is final."""

    async def changelog_bounds(self) -> tuple[int, int]:
        """First and next stable offset of the changelog partition."""

    def read_changelog(self, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        """The committed records of the changelog from `start` to before `end`."""


class Watcher(Protocol):
    """What a restore tells of itself."""

    def restoring(self, left: int, read: int) -> None:
        """Changelog records still to read, and how many were just read."""

    def restored(self, records: int, *, rebuilt: bool) -> None:
        """The state is complete."""


class Mark(msgspec.Struct, frozen=True):
    """The changelog's own record, last in every transaction: which changelog this is, and the
    next input offset, which serves when the group's committed offset is gone."""

    incarnation: str
    next_input_offset: int
    v: Literal[1] = 1


def encode_mark(incarnation: str, next_input_offset: int) -> bytes:
    """The mark as it is kept, under `MARK_KEY`."""
    return msgspec.json.encode(Mark(incarnation, next_input_offset))


class State:
    """The store of one partition, restored from its changelog and written after each commit."""

    def __init__(self, topic: str, source: Source, store: Store, watcher: Watcher) -> None:
        self.topic = topic
        self.store = store
        self._source = source
        self._watcher = watcher
        self._incarnation = ""

    @property
    def next_input_offset(self) -> int | None:
        """The position that the changelog tells, None where it holds none."""
        bookmark = self.store.bookmark()
        return bookmark.next_input_offset if bookmark else None

    def records(self, changes: Changes, next_input_offset: int) -> list[Output]:
        """The changelog's share of a transaction; its mark comes last."""
        mark = encode_mark(self._incarnation, next_input_offset)
        return [Output(self.topic, key, value) for key, value in (*changes, (MARK_KEY, mark))]

    def write(self, changes: Changes, offset: int, next_input_offset: int) -> None:
        """After the commit: what it wrote up to that offset of the changelog, to the store."""
        self.store.write(changes, Bookmark(offset, self._incarnation, next_input_offset))

    async def restore(self) -> None:
        """Bring the store up to the changelog's end, from its bookmark where that still holds."""
        begin, end = await self._source.changelog_bounds()
        bookmark = self.store.bookmark()
        usable = (
            bookmark is not None
            and bookmark.incarnation is not None
            and begin <= bookmark.changelog_offset < end
        )
        read = 0
        if bookmark is not None and usable:
            read = await self._replay(bookmark.changelog_offset, end, bookmark.incarnation)
        rebuilt = read == 0 and bookmark is not None
        if read == 0:
            self.store.clear()  # without a bookmark too: what lies there is nobody's
            read = await self._replay(begin, end, None)
        after = self.store.bookmark()
        self._incarnation = (after.incarnation if after else None) or secrets.token_hex(8)
        self._watcher.restored(read, rebuilt=rebuilt)

    async def _replay(self, start: int, end: int, incarnation: str | None) -> int:
        """Apply the changelog from `start`; returns the records read.

        With an incarnation it reads on from a bookmark: 0 says that the first mark found (the
        bookmark's own, or a later one where compaction took it) is another changelog's, or none.
        """
        read, mark, waiting = 0, None, list[tuple[bytes, bytes | None]]()
        last = start
        async for records in self._source.read_changelog(start, end):
            for record in records:
                if record.key == MARK_KEY:
                    mark = msgspec.json.decode(record.value, type=Mark)
                    if incarnation is not None and mark.incarnation != incarnation:
                        return 0
                else:
                    waiting.append((record.key, record.value or None))
                last = record.offset
            read += len(records)
            self._watcher.restoring(max(0, end - 1 - last), len(records))
            if len(waiting) >= RESTORE_WRITE_RECORDS and incarnation is None:
                self.store.write(waiting, _bookmark(last, mark))
                waiting = []
        if incarnation is not None and mark is None:
            return 0
        if read:
            self.store.write(waiting, _bookmark(last, mark))
        return read


def _bookmark(offset: int, mark: Mark | None) -> Bookmark:
    return Bookmark(
        offset,
        mark.incarnation if mark else None,
        mark.next_input_offset if mark else None,
    )
