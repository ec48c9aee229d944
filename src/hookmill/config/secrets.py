"""Secrets by reference: from the environment, from a file that may change, or inline for a trial.

Their texts are in no message and in no `repr`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from hookmill.config.options import SecretSource
from hookmill.config.watched import WatchedFile
from hookmill.core.errors import ConfigurationError

Keys = TypeVar("Keys")


class SecretTexts:
    """The live secrets of an endpoint or handler. Raises ConfigurationError if one is missing."""

    def __init__(
        self,
        sources: Sequence[SecretSource],
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        tell: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._read = [(each.name, _reader(each, environ, clock, tell)) for each in sources]
        self._fixed: list[tuple[str, str]] | None = None
        texts = self.read()
        if all(each.file is None for each in sources):
            self._fixed = texts  # nothing of it can change; it is asked at each delivery

    def read(self) -> list[tuple[str, str]]:
        """Every secret's name and its text as it is now."""
        return self._fixed or [(name, read()) for name, read in self._read]


def live_keys(
    texts: SecretTexts,
    keys_of: Callable[[list[tuple[str, str]]], Keys],
    tell: Callable[[str], None],
) -> Callable[[], Keys]:
    """Gives the keys behind the texts, made anew where a text changed.

    Raises ConfigurationError now if `keys_of` does; later the last good keys stay, as with a file
    that is lost, and `tell` hears of it.
    """
    known_texts = texts.read()
    known = keys_of(known_texts)

    def live() -> Keys:
        nonlocal known, known_texts
        latest = texts.read()
        if latest is not known_texts and latest != known_texts:
            known_texts = latest
            try:
                known = keys_of(latest)
            except ConfigurationError as error:
                tell(str(error))
        return known

    return live


def read_once(source: SecretSource, *, environ: Mapping[str, str]) -> str:
    """One secret's text; raises ConfigurationError if it is missing or empty."""
    return _reader(source, environ, lambda: 0.0, lambda problem: None)()


def _reader(
    source: SecretSource,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    tell: Callable[[str], None],
) -> Callable[[], str]:
    if source.file is not None:
        return _file_reader(source, clock, tell)
    if source.env is not None:
        text = environ.get(source.env, "")
        if not text:
            raise ConfigurationError(
                f"secret '{source.name}': the environment variable {source.env} is not set"
            )
    else:
        text = source.value or ""
        if not text:
            raise ConfigurationError(f"secret '{source.name}' is empty")
    return lambda: text


def _file_reader(
    source: SecretSource, clock: Callable[[], float], tell: Callable[[str], None]
) -> Callable[[], str]:
    assert source.file is not None
    try:
        file = WatchedFile(Path(source.file), clock=clock, tell=tell)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"secret '{source.name}': {source.file} cannot be read ({type(error).__name__})"
        ) from None
    last = _one_line(file.text())
    if not last:
        raise ConfigurationError(f"secret '{source.name}': {source.file} is empty")

    def read() -> str:
        nonlocal last
        last = _one_line(file.text()) or last  # a file being written anew is empty for a moment
        return last

    return read


def _one_line(text: str) -> str:
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
