"""What the configuration points at: functions of one's own, and files of ids."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hookmill.config.watched import WatchedFile
from hookmill.core.errors import ConfigurationError


def import_function(reference: str) -> Callable[..., Any]:
    """The function that `package.module:name` means; the current folder is importable.

    Raises ConfigurationError that says what failed.
    """
    module_name, _, name = reference.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of one's own may fail in any way
        raise ConfigurationError(
            f"'{reference}' cannot be imported: {type(error).__name__}: {error}"
        ) from None
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigurationError(f"'{reference}': {module_name} has no function '{name}'")
    return found  # type: ignore[no-any-return]  # whatever it is, it can be called


def id_file(
    path: Path,
    *,
    clock: Callable[[], float],
    tell: Callable[[str], None] = lambda problem: None,
) -> Callable[[str], bool]:
    """Whether an id is in the file: one a line, `#` begins a comment; read again on change.

    Raises ConfigurationError if the file cannot be read at the start.
    """
    try:
        file = WatchedFile(path, clock=clock, tell=tell)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
    known_text = file.text()
    ids = _ids(known_text)

    def listed(value: str) -> bool:
        nonlocal known_text, ids
        text = file.text()
        if text is not known_text:
            known_text, ids = text, _ids(text)
        return value in ids

    return listed


def _ids(text: str) -> frozenset[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)
