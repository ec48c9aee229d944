"""hookmill.example.toml shows every option there is, and says the default that the code has."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookmill.config import options
from hookmill.config.load import load
from hookmill.config.options import Configuration
from hookmill.providers.endpoint import build_all

EXAMPLE = Path(__file__).parents[2] / "hookmill.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")

TABLE = re.compile(r"^\[\[?([\w.-]+)\]\]?$")
OPTION = re.compile(r"^(?P<out># )?(?P<key>[a-z_]+) = (?P<value>.+?)  # (?P<about>.+)$")
BEGINS_AS_OPTION = re.compile(r"^(# )?[a-z_]+ = ")
ENDING = re.compile(r"(required|default (?P<default>none|\S.*?))(?: \([^)]*\))?$")

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": Configuration,
    "kafka": options.Kafka,
    "local": options.Local,
    "ingress": options.Ingress,
    "log": options.Log,
    "telemetry": options.Telemetry,
    "providers": options.Providers,
    r"endpoints\.[\w-]+": options.Endpoint,
    r"endpoints\.[\w-]+\.secrets": options.SecretSource,
    r"handlers\.[\w-]+": options.Handler,
    "routes": options.Route,
    r"routes\.match": options.Match,
    r"routes\.match\.amount": options.AmountMatch,
    r"routes\.match\.metadata\.[\w-]+": options.MetadataMatch,
}
SHOWN_AS_TABLES = {
    Configuration: {
        "kafka",
        "local",
        "ingress",
        "log",
        "telemetry",
        "providers",
        "endpoints",
        "handlers",
        "routes",
    },
    options.Route: {"match"},
    options.Match: {"amount", "metadata"},
}
"""Options that are a table or a list of tables in the file, not a line."""


class Line(msgspec.Struct, frozen=True):
    """An option as the example shows it; `left_out` where its line is a comment."""

    number: int
    struct: type[msgspec.Struct]
    key: str
    value: Any
    left_out: bool
    ending: str

    def __str__(self) -> str:
        return f"{self.number}-{self.struct.__name__}.{self.key}"


def struct_of(table: str) -> type[msgspec.Struct]:
    """The section of options.py that a table of the file is."""
    return next(struct for name, struct in SECTIONS.items() if re.fullmatch(name, table))


def lines() -> Iterator[Line]:
    """Every option in the example, those in comments too."""
    struct: type[msgspec.Struct] = Configuration
    for number, text in enumerate(TEXT.splitlines(), start=1):
        if table := TABLE.match(text):
            struct = struct_of(table[1])
        elif found := OPTION.match(text):
            value = tomllib.loads(f"x = {found['value']}")["x"]
            ending = found["about"].rpartition("; ")[2]
            yield Line(number, struct, found["key"], value, found["out"] is not None, ending)


LINES = list(lines())


def field_of(line: Line) -> msgspec.structs.FieldInfo | None:
    """The option in the code, None if there is none."""
    fields = {each.name: each for each in msgspec.structs.fields(line.struct)}
    return fields.get(line.key)


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """The code's default as TOML would give it."""
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    default = msgspec.to_builtins(field.default)
    return list(default) if isinstance(default, tuple) else default


def is_fixed(line: Line) -> bool:
    """Whether its table is there once, so that the value shown can be the default itself."""
    return line.struct in (
        Configuration, options.Kafka, options.Local, options.Ingress, options.Log,
        options.Providers,
    )  # fmt: skip


def test_every_line_that_looks_like_an_option_is_understood() -> None:
    """Else the other tests would hold of less than the file shows."""
    looks = [n for n, text in enumerate(TEXT.splitlines(), 1) if BEGINS_AS_OPTION.match(text)]

    assert [line.number for line in LINES] == looks


@pytest.mark.parametrize("struct", SECTIONS.values(), ids=lambda struct: struct.__name__)
def test_every_option_of_the_code_is_shown(struct: type[msgspec.Struct]) -> None:
    """A new option comes with a line in the example."""
    options_there_are = set(struct.__struct_fields__) - SHOWN_AS_TABLES.get(struct, set())

    assert {line.key for line in LINES if line.struct is struct} >= options_there_are


def test_every_section_of_the_code_is_known_here() -> None:
    """A new table of options.py must be shown too."""
    there_are = {
        each
        for each in vars(options).values()
        if isinstance(each, type) and issubclass(each, options.Section)
    }

    assert there_are - {options.Section} == set(SECTIONS.values())


def test_what_is_shown_as_tables_is_there() -> None:
    """The tables that are not held line by line."""
    config = tomllib.loads(TEXT)

    assert set(config) >= SHOWN_AS_TABLES[Configuration]
    assert config["routes"][0]["match"]["metadata"]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_every_option_shown_is_in_the_code(line: Line) -> None:
    """An option that went away goes from the example too."""
    assert field_of(line) is not None


@pytest.mark.parametrize("line", LINES, ids=str)
def test_the_default_in_the_comment_is_the_codes(line: Line) -> None:
    """After the last semicolon: `required`, or the default as TOML; `none` where it has none."""
    field, ending = field_of(line), ENDING.fullmatch(line.ending)
    assert field is not None
    assert ending is not None, line.ending

    if ending["default"] is None:
        assert field.required or (line.struct, line.key) == (options.Endpoint, "secrets")
    elif ending["default"] == "none":
        assert not field.required
        assert default_of(field) is None
    else:
        said = tomllib.loads(f"x = {ending['default']}")["x"]
        assert (type(said), said) == (type(default_of(field)), default_of(field))


@pytest.mark.parametrize("line", [each for each in LINES if is_fixed(each)], ids=str)
def test_a_value_in_a_fixed_section_is_the_default(line: Line) -> None:
    """Such a line changes nothing; an option without a default is left out."""
    field = field_of(line)
    assert field is not None

    assert line.left_out is (default_of(field) is None)
    if not line.left_out:
        assert line.value == default_of(field)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_value_shown_is_one_that_the_option_takes(line: Line) -> None:
    """Lines in comments can be taken as they stand."""
    field = field_of(line)
    assert field is not None

    msgspec.convert(line.value, field.type)


def test_the_example_loads_and_its_fixed_sections_are_the_defaults() -> None:
    """As it stands, copied to hookmill.toml."""
    config = load(EXAMPLE, {})

    assert config.kafka == Configuration().kafka
    assert config.local == Configuration().local
    assert config.ingress == Configuration().ingress
    assert config.log == Configuration().log
    assert config.allow_inline_secrets is False


def test_the_packs_take_the_endpoints_of_the_example() -> None:
    """Their options and tolerances too."""
    endpoints = build_all(load(EXAMPLE, {}).endpoints)

    assert set(endpoints) == {"shop-za", "naira"}


def test_the_windows_shown_are_the_packs_own() -> None:
    """The example calls them the pack's defaults."""
    config = load(EXAMPLE, {}).endpoints["shop-za"]
    pack = build_all({"shop-za": config})["shop-za"].pack

    assert config.tolerance_secs == pack.tolerance_secs
    assert config.dedup_window_secs == pack.dedup_window_secs
