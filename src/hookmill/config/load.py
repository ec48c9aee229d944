"""Reads the configuration: TOML, the environment over it, then the checks.

What is wrong is told in words an operator can act on. Providers and the cluster are not asked.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hookmill.config.checks import problems
from hookmill.config.environment import overlay
from hookmill.config.options import Configuration
from hookmill.config.shape import unknown_keys
from hookmill.core.errors import ConfigurationError

DEFAULT_PATH = "hookmill.toml"
PATH_VARIABLE = "HOOKMILL_CONFIG"

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)


def load(path: Path | None, environ: Mapping[str, str]) -> Configuration:
    """The configuration from `path`, else HOOKMILL_CONFIG, else hookmill.toml here, else defaults.

    Raises ConfigurationError with one line for each thing that is wrong.
    """
    source = _find(path, environ)
    raw = _read(source) if source is not None else {}
    where = f"{source}: " if source is not None else ""
    found = unknown_keys(raw, Configuration)
    if found:
        raise ConfigurationError("\n".join(f"{where}{each}" for each in found))
    overlay(raw, environ)
    try:
        config = msgspec.convert(raw, Configuration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}{_in_plain_words(error)}") from None
    found = problems(config)
    if found:
        raise ConfigurationError("\n".join(f"{where}{each}" for each in found))
    return config


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"there is no configuration file {named}")
        return named
    here = Path(DEFAULT_PATH)
    return here if here.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}"
        ) from None


def _in_plain_words(error: msgspec.ValidationError) -> str:
    """`Expected `int`, got `str` - at `$.ingress.port`` becomes `ingress.port: expected int…`."""
    match = _AT.match(str(error))
    assert match is not None
    what = match["what"].replace("`str`", "text").replace("`", "")
    what = what.replace("Object missing required field", "missing")
    path = (match["path"] or "").removeprefix(".").replace("[...]", ".*")
    if what.startswith("missing "):
        return f"{path}.{what.removeprefix('missing ')} is missing"
    return f"{path or 'the file'}: {what[:1].lower()}{what[1:]}"
