"""A file that is read again when it changes: secrets and id lists are rotated without a restart."""

from collections.abc import Callable
from pathlib import Path

CHECK_EVERY_SECS = 1.0


class WatchedFile:
    """The text of a file, looked at no more than once a second. `clock` gives seconds.

    While it cannot be read (Kubernetes swaps links) the last good text stays, and `problem`
    says why; `tell` hears of it once.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        tell: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self.path = path
        self._tell = tell
        self.problem: str | None = None
        self._clock = clock
        self._checked_at = clock()
        self._stamp = self._look()
        self._text = self._exact_text()

    def text(self) -> str:
        """The latest text."""
        now = self._clock()
        if now - self._checked_at >= CHECK_EVERY_SECS:
            self._checked_at = now
            self._refresh()
        return self._text

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._text = self._exact_text()
                self._stamp = stamp
        except (OSError, UnicodeDecodeError) as error:
            if self.problem is None:
                self._tell(f"{self.path}: {type(error).__name__}")
            self.problem = f"{self.path}: {type(error).__name__}"
        else:
            self.problem = None

    def _exact_text(self) -> str:
        """Line ends as they are: `read_text` would change a secret that has one within."""
        return self.path.read_bytes().decode("utf-8")

    def _look(self) -> tuple[int, int, int]:
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
