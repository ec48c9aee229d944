"""Reads the configuration: TOML, the environment over it, then the checks.

What is wrong is told in words an operator can act on, with its line in the file. The cluster is
not asked, and of the providers only what the caller tells.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hookmill.config.checks import problems
from hookmill.config.environment import overlay
from hookmill.config.lines import Lines, names
from hookmill.config.options import Configuration, Endpoint
from hookmill.config.route_checks import ModesOf, Problem, route_problems
from hookmill.config.shape import unknown_keys, wrong_values
from hookmill.core.errors import ConfigurationError
from hookmill.core.event import MODES

DEFAULT_PATH = "hookmill.toml"
PATH_VARIABLE = "HOOKMILL_CONFIG"


def any_mode(endpoint: Endpoint) -> frozenset[str]:
    """The modes of an endpoint's events, as far as one can say without its provider."""
    return frozenset(MODES)


def load(
    path: Path | None, environ: Mapping[str, str], *, modes_of: ModesOf = any_mode
) -> Configuration:
    """The configuration from `path`, else HOOKMILL_CONFIG, else hookmill.toml here, else defaults.

    Raises ConfigurationError with one line for each thing that is wrong.
    """
    source = _find(path, environ)
    text, raw = _read(source) if source is not None else ("", {})
    setters = overlay(raw, environ)

    def refuse(found: Iterable[str | Problem]) -> None:
        if wrong := list(found):
            lines = Lines(text)
            told = (_told(each, source, lines, setters) for each in wrong)
            raise ConfigurationError("\n".join(told))

    refuse(unknown_keys(raw, Configuration))
    refuse(wrong_values(raw, Configuration))
    config = msgspec.convert(raw, Configuration)
    refuse([*problems(config), *route_problems(config, modes_of)])
    return config


def _told(
    problem: str | Problem, source: Path | None, lines: Lines, setters: Mapping[str, str]
) -> str:
    """The problem after the variable that it is about, or the file and where it knows, the line."""
    if isinstance(problem, Problem):
        said, line = problem.text, lines.at(problem.keys)
    else:
        said, line = problem, lines.named(problem)
        for option, variable in setters.items():
            if names(problem, option):
                return f"{variable}: {problem}"
    if source is None:
        return said
    return f"{source}: {said}" if line is None else f"{source}:{line}: {said}"


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"there is no configuration file {named}")
        return named
    here = Path(DEFAULT_PATH)
    return here if here.is_file() else None


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text, and what it says."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}"
        ) from None
