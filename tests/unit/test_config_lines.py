"""On which line of a TOML file a key stands: the same keys as tomllib finds, where they are."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookmill.config.lines import Keys, Lines, dotted

ROOT = Path(__file__).parents[2]

ODD = r'''# [[routes]] in a comment
title = """
[[routes]]
name = "not a table" \
\""" [x]
"""""
'quoted.key' = 'C:\'   # "
"a \"b\"" . c = [ # ]
  1, # ,
  "]",
  [ "x", { y = 2, 'z.z' = [ {} ] } ],
]
when = 1979-05-27 07:32:00  # with a blank
empty = ""
none = ''
lines = ''' + "'''" + r'''
[x]
''' + "''''" + r'''
[[routes]]
match.metadata."checkout id" = { exists = true }
handlers = [ "a",
  "b" ]
[routes.match.amount]
currency = "ZAR"
[ endpoints . "shop.za" ]
[[routes]]
[[ routes.more ]]
n = 11
[[routes.more]]
n = 2
[routes.more.deep]
at = 3
[endpoints]
x = {a.b = 1, a.c = 2}'''  # fmt: skip


def keys_in(value: Any, way: Keys = ()) -> Iterator[Keys]:
    """The way to every table, key and list element that tomllib has read."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in inner:
        yield (*way, key)
        if isinstance(below, dict | list):
            yield from keys_in(below, (*way, key))


def line_of(text: str, part: str) -> int:
    """The line on which the part of the text begins; it must be there once."""
    assert text.count(part) == 1, part
    return text[: text.index(part)].count("\n") + 1


def test_it_finds_what_tomllib_finds_in_an_odd_file() -> None:
    """Strings that look like tables, lists over lines, quoted and dotted keys, any order."""
    assert set(keys_in(tomllib.loads(ODD))) == set(Lines(ODD).known())


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        (("title",), "title ="),
        (("quoted.key",), "'quoted.key'"),
        (('a "b"', "c"), r'"a \"b\""'),
        (('a "b"', "c", 1), '"]",'),
        (('a "b"', "c", 2, 1, "z.z", 0), "'z.z'"),
        (("when",), "when ="),
        (("lines",), "lines ="),
        (("routes",), '[[routes]]\nmatch'),
        (("routes", 0, "match"), "match.metadata"),
        (("routes", 0, "match", "metadata", "checkout id", "exists"), "match.metadata"),
        (("routes", 0, "handlers", 1), '"b" ]'),
        (("routes", 0, "match", "amount", "currency"), "currency ="),
        (("routes", 1), "[[routes]]\n[["),
        (("routes", 1, "more", 0, "n"), "n = 11"),
        (("routes", 1, "more", 1, "n"), "n = 2"),
        (("routes", 1, "more", 1, "deep", "at"), "at = 3"),
        (("endpoints", "shop.za"), "[ endpoints"),
        (("endpoints",), "[endpoints]\n"),
        (("endpoints", "x", "a", "c"), "x = {"),
    ],
    ids=lambda each: dotted(each) if isinstance(each, tuple) else "",
)  # fmt: skip
def test_each_stands_where_one_sees_it(keys: Keys, part: str) -> None:
    """A table at its header, a key at its name, an element at itself."""
    assert Lines(ODD).at(keys) == line_of(ODD, part)


def test_what_is_not_in_the_text_is_at_what_should_hold_it() -> None:
    """So a missing key points at its table; and nothing at all at nothing."""
    lines = Lines("[[routes]]\nname = 1\n\n[[routes]]\nname = 2\n")

    assert lines.at(("routes", 1, "handlers", 3)) == 4
    assert lines.at(("routes", 7)) == 1
    assert lines.at(("ingress", "port")) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ingress.port: expected int", 2),
        ("ingress.ports is no option", 1),
        ("ingress is no option", 1),
        ("endpoints.shop-za.secrets: at least one", 4),
        ("endpoints.shop-za-2.secrets: at least one", 5),
        ("endpoints.shop.secrets", 3),
        ("kafka.partitions", None),
        ("a[0]", None),
    ],
)
def test_a_name_at_the_beginning_of_a_line_is_found(text: str, line: int | None) -> None:
    """The longest that the file has, and never a part of a word."""
    toml = "[ingress]\nport = 1\n[endpoints.shop-za]\nsecrets = []\n[endpoints.shop-za-2]\n"

    assert line == Lines(toml).named(text)


def test_line_ends_of_windows_count_once() -> None:
    """As they do in an editor."""
    assert Lines('a = """\r\n"""\r\n# c\r\nb = 1\r\n').at(("b",)) == 4


def test_the_example_is_read_as_tomllib_reads_it() -> None:
    """And so is the project's own file."""
    for name in ("hookmill.example.toml", "pyproject.toml"):
        text = (ROOT / name).read_text(encoding="utf-8")

        assert set(keys_in(tomllib.loads(text))) == set(Lines(text).known())


WORDS = st.text(alphabet="ab\"'\\#[]{}=., \n\t", max_size=6)
BARE = st.text(alphabet="ab-_1", min_size=1, max_size=3)
GAPS = st.sampled_from(["", " ", "\n", " # ]}\n", "\n\n  "])


def quoted(text: str) -> str:
    """As a basic string on one line."""
    for sign, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(sign, escaped)
    return f'"{text}"'


KEYS = BARE | WORDS.map(quoted) | st.sampled_from(["''", "'a.b'", "'#'"])
SCALARS = (
    st.sampled_from(["1", "-0.5e3", "true", "1979-05-27", "07:32:00", "1979-05-27T00:00:00-07:00",
                     "''", "'\\'", "'''\n'a''#[\\'''''", '""""""', '"""\n\\"""]\\\n  x"" """""'])
    | WORDS.map(quoted)
    | WORDS.map(lambda text: f'"""{quoted(text)[1:-1]}\n"""')
)  # fmt: skip


def lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Lists over several lines, with comments and a comma at the end."""
    element = st.tuples(GAPS, inner, GAPS).map("".join)
    return st.tuples(st.lists(element, max_size=3), st.booleans(), GAPS).map(
        lambda parts: f"[{','.join(parts[0])}{',' if parts[0] and parts[1] else ''}{parts[2]}]"
    )


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Inline tables; their keys may be dotted."""
    key = st.lists(KEYS, min_size=1, max_size=2).map(" . ".join)
    entry = st.tuples(key, inner).map(" = ".join)
    return st.lists(entry, max_size=3).map(lambda parts: f"{{ {', '.join(parts)} }}")


VALUES = st.recursive(SCALARS, lambda inner: lists(inner) | tables(inner), max_leaves=6)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
STATEMENTS = (
    st.tuples(PATHS, VALUES).map(lambda parts: f"{parts[0]} = {parts[1]}")
    | PATHS.map(lambda path: f"[{path}]")
    | PATHS.map(lambda path: f"[[ {path} ]] # [x]")
    | st.just("# a = 1")
)


@settings(deadline=None)
@given(st.lists(STATEMENTS, max_size=8))
def test_it_finds_what_tomllib_finds_in_any_file(statements: list[str]) -> None:
    """Those that tomllib refuses never come here; the lines are those of their statements."""
    taken: list[str] = []
    for each in statements:
        try:
            tomllib.loads("\n".join([*taken, each]))
        except tomllib.TOMLDecodeError:
            continue
        taken.append(each)
    text = "\n".join(taken)
    known = Lines(text).known()
    begins = [text.count("\n", 0, len("\n".join(taken[:n])) + 1) + 1 for n in range(len(taken))]

    assert set(known) == set(keys_in(tomllib.loads(text)))
    assert {line for keys, line in known.items() if len(keys) == 1} <= {1, *begins}
