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
from hookmill.config.shape import unknown_keys, wrong_values
from hookmill.core.errors import ConfigurationError

DEFAULT_PATH = "hookmill.toml"
PATH_VARIABLE = "HOOKMILL_CONFIG"


def load(path: Path | None, environ: Mapping[str, str]) -> Configuration:
    """The configuration from `path`, else HOOKMILL_CONFIG, else hookmill.toml here, else defaults.

    Raises ConfigurationError with one line for each thing that is wrong.
    """
    source = _find(path, environ)
    raw = _read(source) if source is not None else {}
    setters = overlay(raw, environ)
    _refuse(unknown_keys(raw, Configuration), source, setters)
    _refuse(list(wrong_values(raw, Configuration)), source, setters)
    config = msgspec.convert(raw, Configuration)
    _refuse(problems(config), source, setters)
    return config


def _refuse(found: list[str], source: Path | None, setters: Mapping[str, str]) -> None:
    """Raise with every line, each naming the variable or the file that it is about."""
    if found:
        raise ConfigurationError(
            "\n".join(f"{_where(each, source, setters)}{each}" for each in found)
        )


def _where(line: str, source: Path | None, setters: Mapping[str, str]) -> str:
    for option, variable in setters.items():
        if re.match(re.escape(option) + r"(?![\w-])", line):
            return f"{variable}: "
    return f"{source}: " if source is not None else ""


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
