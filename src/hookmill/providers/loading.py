"""Reads a pack's TOML file; what is wrong with it is told by file, line, key and nearest word."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from hookmill.config.shape import nearest, unknown_keys
from hookmill.core.errors import ConfigurationError, Reason
from hookmill.providers.declaration import TYPES, AnyScheme, Declaration, Shape
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.schemes.template import parts_of, several

SCHEMES: dict[str, type[Scheme]] = {
    str(each.__struct_config__.tag): each for each in get_args(AnyScheme)
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_HEADER = re.compile(r"^\s*\[(\[?)\s*([^\]]+?)\s*\]?\]")
_KEY = re.compile(r"""^\s*("?[\w:./ -]+"?)\s*=""")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_READING_ONLY = ("message_id", "time", "key", "param", "query")


def read(path: Path) -> Declaration:
    """The declaration in a file; raises ConfigurationError, one line for each thing wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
    return declared(text, str(path))


def declared(text: str, name: str) -> Declaration:
    """The declaration in the text of the file of that name; raises ConfigurationError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from None
    found = [*_wrong_schemes(raw), *_unknown(raw)]
    declaration = None
    if not found:
        try:
            declaration = msgspec.convert(raw, Declaration)
        except msgspec.ValidationError as error:
            found = [_told(str(error))]
        else:
            found = list(problems(declaration))
    if found or declaration is None:
        raise ConfigurationError("\n".join(f"{name}{_line(text, each)}: {each}" for each in found))
    return declaration


def problems(declaration: Declaration) -> Iterator[str]:
    """What the types cannot say: names that exist, expressions that can be read."""
    if not _NAME.fullmatch(declaration.name):
        yield f"name: '{declaration.name}': lower-case letters, digits and hyphens"
    variants = {f"variants.{name}": each for name, each in declaration.variants.items()}
    for path, scheme in {"verification": declaration.verification, **variants}.items():
        yield from (f"{path}.{each}" for each in scheme.problems())
    for number, row in enumerate(declaration.rows):
        where = f"events[{number}]"
        for becomes in (row.becomes, *(each.becomes for each in row.also)):
            if becomes not in TYPES:
                yield f"{where}.becomes: '{becomes}' is no type{nearest(becomes, list(TYPES))}"
        if row.shape and row.shape not in declaration.shapes:
            hint = nearest(row.shape, list(declaration.shapes))
            yield f"{where}.shape: no shape is called '{row.shape}'{hint}"
    for word in declaration.refusal_statuses:
        if word not in set(Reason):
            yield f"refusal_statuses.{word} is no reason{nearest(word, list(Reason))}"
    for story in declaration.stories:
        for step in story.steps:
            if step.becomes not in TYPES:
                hint = nearest(step.becomes, list(TYPES))
                yield f"stories: '{story.name}': '{step.becomes}' is no type{hint}"
    yield from _expression_problems(declaration)


def _expression_problems(declaration: Declaration) -> Iterator[str]:
    kept = {name.lower() for name in declaration.keep_headers}
    for scheme in (declaration.verification, *declaration.variants.values()):
        try:
            kept.update(scheme.evidence_headers)
        except ValueError:
            return  # told by the scheme itself
    choices = set(declaration.options) | ({"variant"} if declaration.variants else set())
    for where, expression in _expressions(declaration):
        try:
            parts = list(parts_of(expression))
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        for part in parts:
            if part.kind == "header" and part.name.lower() not in kept:
                yield f"{where}: put '{part.name}' into keep_headers, or it is not kept"
            if part.kind == "option" and part.name not in choices:
                yield f"{where}: no option '{part.name}'{nearest(part.name, sorted(choices))}"
            if part.kind in _READING_ONLY:
                yield f"{where}: {part.kind} is known while verifying only"


def _expressions(declaration: Declaration) -> Iterator[tuple[str, str]]:
    yield from (("word", each) for each in several(declaration.word))
    if declaration.mode:
        yield from (("mode.value", each) for each in several(declaration.mode.value))
    for number, row in enumerate(declaration.rows):
        yield from ((f"events[{number}].when", each) for each in row.when)
        for other in row.also:
            yield from ((f"events[{number}].also", each) for each in several(other.resource))
    shapes = {f"shapes.{name}": each for name, each in declaration.shapes.items()}
    for name, shape in {"default": declaration.default, **shapes}.items():
        yield from _of_shape(name, shape)


def _of_shape(where: str, shape: Shape) -> Iterator[tuple[str, str]]:
    for key in ("resource", "subject", "event_id", "status", "occurred_at", "metadata",
                "failure_code", "failure_message"):  # fmt: skip
        yield from ((f"{where}.{key}", each) for each in several(getattr(shape, key) or ()))
    for name, link in shape.links.items():
        yield from ((f"{where}.links.{name}", each) for each in several(link))
    for key in ("amount", "amount_paid", "amount_refunded"):
        rule = getattr(shape, key)
        if rule is not None:
            yield from ((f"{where}.{key}.figure", each) for each in several(rule.figure))
            yield from ((f"{where}.{key}.currency", each) for each in several(rule.currency))


def _wrong_schemes(raw: dict[str, Any]) -> Iterator[str]:
    variants = raw.get("variants")
    tables = {"verification": raw.get("verification")}
    if isinstance(variants, dict):
        tables |= {f"variants.{name}": each for name, each in variants.items()}
    for path, table in tables.items():
        if not isinstance(table, dict):
            yield f"{path} is missing: a table with `scheme` and what belongs to it"
            continue
        scheme = table.get("scheme")
        if scheme not in SCHEMES:
            hint = nearest(str(scheme), list(SCHEMES))
            yield f"{path}.scheme: no scheme is called '{scheme}'{hint}"
            continue
        rest = {key: value for key, value in table.items() if key != "scheme"}
        yield from _bare(unknown_keys(rest, SCHEMES[scheme]), f"{path}.")


def _unknown(raw: dict[str, Any]) -> Iterable[str]:
    rest = {key: value for key, value in raw.items() if key not in ("verification", "variants")}
    return _bare(unknown_keys(rest, Declaration), "")


def _bare(lines: Iterable[str], path: str) -> Iterator[str]:
    return (f"{path}{line}".replace("is no option", "is no key") for line in lines)


def _told(said: str) -> str:
    at = _AT.search(said)
    where = at[1] if at else ""
    return f"{where}: {_AT.sub('', said)}" if where else said


def _line(text: str, problem: str) -> str:
    """`:12` for the line that the problem's dotted key stands in, as near as can be told."""
    match = re.match(r"[\w.\[\]/-]+", problem)
    wanted = re.split(r"\.", match[0].rstrip(".:")) if match else []
    table: list[str] = []
    counts: dict[str, int] = {}
    best, depth = 0, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header[2]
            if header[1]:
                counts[name] = counts.get(name, -1) + 1
                name = f"{name}[{counts[name]}]"
            table = name.split(".")
            path = table
        elif key := _KEY.match(line):
            path = [*table, *key[1].strip('" ').split(".")]
        else:
            continue
        common = 0
        while common < min(len(path), len(wanted)) and path[common] == wanted[common]:
            common += 1
        if common > depth and common == len(path):
            best, depth = number, common
    return f":{best}" if best else ""
