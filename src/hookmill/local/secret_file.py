"""Writes a secret into a file that only its owner can read: whole or not at all, never over one."""

import os
import secrets
from pathlib import Path
from types import TracebackType

from hookmill.core.errors import ConfigurationError, HookmillError

OWNER_ONLY = 0o600


class SecretFile:
    """A place for a secret, made sure of before the secret is asked for.

    `with SecretFile(path) as place: place.keep(text)`. Entering raises ConfigurationError where
    nothing can be written, or a file is there already that may not be replaced.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self.path = path
        self._replace = replace
        self._new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        self._open: int | None = None

    def __enter__(self) -> "SecretFile":
        if self.path.exists() and not self._replace:
            raise ConfigurationError(
                f"{self.path} is there already: a secret may be in use; give --force to replace it"
            )
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._open = os.open(self._new, flags, OWNER_ONLY)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written ({type(error).__name__})"
            ) from None
        return self

    def keep(self, text: str) -> None:
        """The text becomes the file; raises HookmillError that says where it lies instead."""
        assert self._open is not None
        try:
            os.write(self._open, text.encode() + b"\n")
            os.fsync(self._open)
        except OSError as error:
            raise HookmillError(
                f"{self.path} cannot be written ({type(error).__name__}): the secret is lost"
            ) from None
        new, self._new = self._new, Path()
        try:
            if self._replace:
                os.replace(new, self.path)
            else:
                os.link(new, self.path)  # fails where a file has come meanwhile
                new.unlink()
        except OSError as error:
            raise HookmillError(
                f"{self.path} could not be put in its place ({type(error).__name__}): the secret "
                f"lies in {new}"
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._open is not None:
            os.close(self._open)
        if self._new != Path():
            self._new.unlink(missing_ok=True)
