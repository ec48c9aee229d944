"""The environment over the file: HOOKMILL_<SECTION>__<KEY>, only names with `__` in them.

Kubernetes sets `HOOKMILL_PORT` and the like by itself, so a name without `__` is not ours.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from hookmill.config.options import Configuration
from hookmill.config.shape import Known, fields_of, is_list, nearest, scalar, values_of
from hookmill.core.errors import ConfigurationError

PREFIX = "HOOKMILL_"


def overlay(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Set in `raw` what the environment says; returns which variable set which dotted option.

    Raises ConfigurationError naming the variable.
    """
    setters: dict[str, str] = {}
    for name in sorted(environ):
        upper = name.upper()
        if upper.startswith(PREFIX) and "__" in upper[len(PREFIX) :]:
            segments = name[len(PREFIX) :].split("__")
            option = _set(raw, inspect.type_info(Configuration), segments, environ[name], name)
            if option in setters:
                raise ConfigurationError(f"{setters[option]} and {name} both set {option}")
            setters[option] = name
    return setters


def _set(table: dict[str, Any], type_: Known, segments: list[str], text: str, name: str) -> str:
    key, inner = _named(table, type_, segments[0], name)
    if len(segments) == 1:
        table[key] = _value(text, inner, name)
        return key
    below = table.setdefault(key, {})
    if not isinstance(below, dict) or inner is None:
        raise ConfigurationError(f"{name}: '{key}' has nothing called '{segments[1].lower()}'")
    return f"{key}.{_set(below, inner, segments[1:], text, name)}"


def _named(
    table: dict[str, Any], type_: Known, segment: str, name: str
) -> tuple[str, Known | None]:
    """The key that a segment stands for, and the type of what it holds."""
    fields, values = fields_of(type_), values_of(type_)
    if fields is not None:
        if _plain(segment) == "routes":
            raise ConfigurationError(f"{name}: routes cannot be set by the environment")
        found = [key for key in fields if _plain(key) == _plain(segment)]
        if not found:
            hint = nearest(segment.lower(), list(fields))
            raise ConfigurationError(f"{name}: '{segment.lower()}' is no option{hint}")
        return found[0], fields[found[0]]
    if values is None and not isinstance(type_, inspect.AnyType):
        raise ConfigurationError(f"{name}: there is no option of that name")
    found = [key for key in table if _plain(key) == _plain(segment)]
    if len(found) > 1:
        raise ConfigurationError(f"{name} is ambiguous: it may mean {' or '.join(sorted(found))}")
    free_text = isinstance(values, inspect.AnyType)
    new = segment.lower() if free_text else segment.lower().replace("_", "-")
    return (found[0] if found else new), values


def _value(text: str, type_: Known | None, name: str) -> Any:
    if type_ is None or isinstance(type_, inspect.AnyType):
        return text
    structured = fields_of(type_) is not None or values_of(type_) is not None
    if structured or (is_list(type_) and text.lstrip().startswith("[")):
        try:
            return msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ConfigurationError(f"{name}: not JSON") from None
    if is_list(type_):
        return [part.strip() for part in text.split(",") if part.strip()]
    return scalar(text, type_)


def _plain(key: str) -> str:
    return key.lower().replace("-", "_")
