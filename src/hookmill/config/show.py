"""The configuration as it holds, for people and programs; a secret is only named."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from hookmill.config.options import Configuration

HIDDEN = "(hidden)"
_USER_INFO = re.compile(r"(?<=://)(?!/).*(?=@)")
_QUERY = re.compile(r"(?<=\?).+", re.DOTALL)


def shown(config: Configuration) -> dict[str, Any]:
    """Plain data of every option; inline secrets, and what may be one in an address, are hidden."""
    data: dict[str, Any] = msgspec.to_builtins(config)
    parts = [*data["endpoints"].values(), *data["handlers"].values()]
    secrets = [each for part in parts for each in part["secrets"]]
    secrets += [each["api_key"] for each in data["endpoints"].values() if each["api_key"]]
    if data["kafka"]["sasl_password"]:
        secrets.append(data["kafka"]["sasl_password"])
    secrets += [each["password"] for each in data["handlers"].values() if each["password"]]
    for secret in secrets:
        if secret["value"] is not None:
            secret["value"] = HIDDEN
    for handler in data["handlers"].values():
        if handler["url"] is not None:
            handler["url"] = _QUERY.sub(HIDDEN, _USER_INFO.sub(HIDDEN, handler["url"]))
    return data


def rows(config: Configuration) -> list[tuple[str, str]]:
    """Every option by its dotted name."""
    return list(_rows(shown(config), ""))


def _rows(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _rows(inner, f"{path}.{key}" if path else key)
    else:
        yield path, msgspec.json.encode(value).decode()
