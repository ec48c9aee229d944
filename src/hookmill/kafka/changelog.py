"""A partition's state: the local store, and the changelog in Kafka that it is made again from."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from hookmill.core.record import Output
from hookmill.kafka.store import Bookmark, Changes, Store
from hookmill.kafka.sweep import Forgets, expired

RESTORE_WRITE_RECORDS = 10_000
MARK_KEY = b"\x00hookmill-mark"


class Entry(Protocol):
    """A record of the changelog: as the client made it, there may be millions."""

    @property
    def key(self) -> bytes:
        """Under what it is kept."""

    @property
    def value(self) -> bytes | None:
        """What is kept; nothing deletes."""

    @property
    def offset(self) -> int:
        """Where it lies."""


class Source(Protocol):
    """Where the changelog is read from. After a fence its end is final."""

    async def changelog_bounds(self) -> tuple[int, int]:
        """First and next stable offset of the changelog partition."""

    def read_changelog(self, start: int, end: int) -> AsyncIterator[Sequence[Entry]]:
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

    def __init__(
        self,
        topic: str,
        source: Source,
        store: Store,
        watcher: Watcher,
        *,
        forgets: Forgets | None = None,
    ) -> None:
        self.topic = topic
        self._forgets = forgets
        self._swept = b""
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

    def write(
        self, changes: Changes, offset: int, next_input_offset: int, *, now_ms: int = 0
    ) -> None:
        """After the commit: what it wrote up to that offset of the changelog, to the store.

        What has expired at `now_ms` goes at the same time, a few keys each time.
        """
        gone: Changes = ()
        if self._forgets is not None:
            gone, self._swept = expired(
                self.store, self._forgets, self._swept, changes=len(changes), now_ms=now_ms
            )
        bookmark = Bookmark(offset, self._incarnation, next_input_offset, self._swept)
        self.store.write([*gone, *changes], bookmark)  # a key that is written anew stays

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
            read = await self._replay(bookmark.changelog_offset, end, bookmark)
        rebuilt = read == 0 and bookmark is not None
        if read == 0:
            self.store.clear()  # without a bookmark too: what lies there is nobody's
            read = await self._replay(begin, end, None)
        after = self.store.bookmark()
        self._incarnation = (after.incarnation if after else None) or secrets.token_hex(8)
        self._swept = after.swept if after else b""
        self._watcher.restored(read, rebuilt=rebuilt)

    async def _replay(self, start: int, end: int, since: Bookmark | None) -> int:
        """Apply the changelog from `start`; returns the records read.

        With a bookmark it reads on from there: 0 says that the first mark found (the bookmark's
        own, or a later one where compaction took it) is another changelog's, or none.
        """
        read, mark, waiting = 0, None, list[tuple[bytes, bytes | None]]()
        last, swept = start, since.swept if since else b""
        async for records in self._source.read_changelog(start, end):
            for record in records:
                if record.key == MARK_KEY:
                    mark = _MARKS.decode(record.value or b"")
                    if since is not None and mark.incarnation != since.incarnation:
                        return 0
                else:
                    waiting.append((record.key, record.value or None))
            last = records[-1].offset if records else last
            read += len(records)
            self._watcher.restoring(max(0, end - 1 - last), len(records))
            if len(waiting) >= RESTORE_WRITE_RECORDS and since is None:
                self.store.write(waiting, _bookmark(last, mark, swept))
                waiting = []
        if since is not None and mark is None:
            return 0
        if read:
            self.store.write(waiting, _bookmark(last, mark, swept))
        return read


_MARKS = msgspec.json.Decoder(Mark)


def _bookmark(offset: int, mark: Mark | None, swept: bytes) -> Bookmark:
    return Bookmark(
        offset,
        mark.incarnation if mark else None,
        mark.next_input_offset if mark else None,
        swept,
    )
