"""Notes on this machine which events are in a handler, so that one that kills its process is known.

A process that dies leaves them in the file; the next one counts it against each of them. Nothing
rests on it but that an event which kills every process it meets is set aside in the end.
"""

import contextlib
from collections import Counter
from pathlib import Path
from typing import IO

CRASHES_MAX = 2
FILE_BYTES_MAX = 256 * 1024

BEGUN, ENDED, CRASHED = "+", "-", "!"


class Journal:
    """The events that are being handled by one process: one line as each begins and ends.

    A disk that takes no line loses the note, and stops nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._crashes = _crashes(path)
        self._open = Counter[str]()
        self._file: IO[str] | None = None
        self._written = 0
        self._rewrite()

    def crashes(self, event_id: str) -> int:
        """How many processes in a row died while they handled the event."""
        return self._crashes.get(event_id, 0)

    def begin(self, event_id: str) -> None:
        """It is handed to the handler."""
        self._open[event_id] += 1
        self._note(BEGUN, event_id)

    def end(self, event_id: str) -> None:
        """The handler gave it back, or this process did; what was counted against it is gone."""
        self._open[event_id] -= 1
        if self._open[event_id] <= 0:
            del self._open[event_id]
        self._crashes.pop(event_id, None)
        self._note(ENDED, event_id)
        if self._written > FILE_BYTES_MAX:
            self._rewrite()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _note(self, what: str, event_id: str) -> None:
        line = f"{what}{event_id}\n"
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.write(line)
                self._file.flush()
                self._written += len(line)

    def _rewrite(self) -> None:
        """Begin the file anew with what still holds."""
        lines = [f"{CRASHED}{event_id}\n" * count for event_id, count in self._crashes.items()]
        lines += [f"{BEGUN}{event_id}\n" for event_id in self._open.elements()]
        old, self._file = self._file, None
        with contextlib.suppress(OSError):
            if old is not None:
                old.close()
            self._file = self._path.open("w", encoding="utf-8")
            self._file.write("".join(lines))
            self._file.flush()
        self._written = 0


def _crashes(path: Path) -> dict[str, int]:
    """By event, what the file says: earlier crashes, and one more for what had not ended."""
    counted, under_way = Counter[str](), Counter[str]()
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return {}
    for line in lines:
        what, event_id = line[:1], line[1:]
        if what == CRASHED:
            counted[event_id] += 1
        elif what == BEGUN:
            under_way[event_id] += 1
        elif what == ENDED:
            under_way[event_id] -= 1
            counted.pop(event_id, None)
    for event_id, times in under_way.items():
        if times > 0:
            counted[event_id] += 1
    return dict(counted)
