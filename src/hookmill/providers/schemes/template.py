"""A small language for "this part of a request": what is signed, and where a fact stands.

An expression is `/a/pointer` into the body's JSON (RFC 6901), `header:NAME`, `query:NAME`,
`form:NAME`, `param:LABEL` (of the signature header), `option:NAME`, `outer:/a/pointer` (into the
whole delivery, where the body is one item of it), or one of the words `body`, `body_hash`
(SHA-256, hex), `crc32` (of the body, decimal), `message_id`, `time`, `word`, `status`, `key`.
A template is text with expressions in braces: `{header:id}.{time}.{body}`; with `?` at its end an
absent one counts as empty, `{=text}` is the text itself, and what stands in square brackets is
left out where a part of it is absent: `[id:{query:data.id};]ts:{param:ts};`.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from hookmill.core.errors import UnparseableBody
from hookmill.core.parse import Number, as_text, parse_json

NAMED = ("header", "query", "form", "param", "option", "outer")
WORDS = ("body", "body_hash", "crc32", "message_id", "time", "word", "status", "key")

_PIECE = re.compile(r"\{([^{}]+)\}|([\[\]])|([^{}\[\]]+)|([{}])")
FORM_FIELDS_MAX = 1000


class Part(NamedTuple):
    """A piece of a template: `kind` is one of NAMED or WORDS, `field`, or `text` for itself."""

    kind: str
    name: str = ""
    optional: bool = False

    def __str__(self) -> str:
        return self.name if self.kind == "field" else f"{self.kind}:{self.name}".rstrip(":")


Expressions = str | tuple[str, ...]
"""One, or several that are tried in order."""

Group = tuple[bool, tuple[Part, ...]]
"""Parts that stand or fall together where the first is true."""


class Missing(Exception):
    """A part that the request does not have."""

    def __init__(self, part: Part) -> None:
        super().__init__(str(part))
        self.part = part


class Source(msgspec.Struct, gc=False):
    """What expressions are looked up in. Header names are lower case; `values` hold the words.

    `parsed` is the body's JSON, where it was parsed already; else it is parsed when asked for.
    `outer` is the whole delivery's, where the body is one item of it.
    """

    body: bytes = b""
    headers: Mapping[str, Sequence[str]] = {}
    query: str = ""
    options: Any = None
    values: Mapping[str, str | bytes] = {}
    params: Mapping[str, Sequence[str]] = {}
    parsed: Any = None
    outer: Any = None

    @property
    def fields(self) -> Any:
        """The body's JSON; raises UnparseableBody."""
        if self.parsed is None:
            self.parsed = parse_json(self.body)
        return self.parsed

    def value(self, part: Part) -> Any:
        """What stands there, None where it is absent or, of a header, sent twice."""
        if part.kind == "field":  # nearly every fact of an event
            return pointed(self.fields, part.name)
        if part.kind == "header":  # and of a signature
            return self.header(part.name)
        match part.kind:
            case "text":
                return part.name
            case "body":
                return self.body
            case "body_hash":
                return hashlib.sha256(self.body).hexdigest()
            case "crc32":
                return str(zlib.crc32(self.body))
            case "outer":
                return pointed(self.outer or self.fields, part.name)
            case "param":
                return _only(self.params.get(part.name, []))
            case "query":
                return _only(form_values(self.query, part.name))
            case "form":
                return _only(form_values(self.body.decode("latin-1"), part.name))
            case "option":
                return getattr(self.options, part.name, None)
            case _:
                return self.values.get(part.kind)

    def header(self, name: str) -> str | None:
        """The only value of that header; None where it is absent or sent more than once."""
        values = self.headers.get(name.lower())
        return values[0] if values is not None and len(values) == 1 else None

    def text(self, expression: str) -> str | None:
        """What an expression or a template gives as text, None where a part of it is absent.

        Of a bare expression only a text or a whole number is one, as in every id.
        """
        bare = _bare(expression)
        try:
            if bare is not None:
                return as_text(self.value(bare))
            return render(expression, self).decode("utf-8", "surrogateescape") or None
        except (Missing, UnparseableBody, UnicodeEncodeError):
            return None

    def first(self, expressions: Expressions) -> str | None:
        """The first of several that gives something."""
        return text_reader(expressions)(self)

    def first_value(self, expressions: Expressions) -> Any:
        """The first of several that is there, as it is: an object, a number, a text."""
        return value_reader(expressions)(self)


def several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """One or several, as several; an empty text is none."""
    return ((value,) if value else ()) if isinstance(value, str) else value


def render(template: str, source: Source) -> bytes:
    """The bytes that the template stands for; raises Missing, UnparseableBody, or
    UnicodeEncodeError for a surrogate that stands for no byte of a request."""
    found: list[bytes] = []
    for optional, parts in groups(template):
        try:
            inner = [_bytes(part, source) for part in parts]
        except Missing:
            if not optional:
                raise
            continue
        found += inner
    return b"".join(found)


def text_of(value: Any) -> str | None:
    """A scalar as it is written in JSON without its quotes; None for null, lists and objects."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Number():
            return value.text
        case _:
            return None


def pointed(value: Any, pointer: str) -> Any:
    """What a JSON pointer means in a parsed value, None where there is nothing."""
    return _walked(value, _steps(pointer))


def _walked(value: Any, steps: tuple[str, ...]) -> Any:
    for key in steps:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 6:
            value = value[int(key)] if int(key) < len(value) else None
        else:
            return None
    return value


@lru_cache(maxsize=4096)
def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def form_values(text: str, name: str) -> list[str]:
    """Every value of that name in a query or a form; none where it cannot be read."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX,
                          errors="surrogateescape")  # fmt: skip
    except ValueError:
        return []
    return [value for key, value in pairs if key == name]


@lru_cache(maxsize=4096)
def groups(template: str) -> tuple[Group, ...]:
    """The template in parts; raises ValueError that says what is wrong with it."""
    bare = "{" not in template and "[" not in template
    if bare and (template[:1] == "/" or template.partition(":")[0] in NAMED or template in WORDS):
        return ((False, (expression_part(template),)),)
    found: list[Group] = []
    current: list[Part] = []
    inside = False
    for match in _PIECE.finditer(template):
        expression, bracket, text, brace = match.groups()
        if brace:
            raise ValueError(f"'{template}': a brace without its other")
        if bracket:
            if inside is (bracket == "["):
                raise ValueError(f"'{template}': square brackets do not match")
            found.append((inside, tuple(current)))
            current, inside = [], not inside
        else:
            current.append(expression_part(expression) if expression else Part("text", text))
    if inside:
        raise ValueError(f"'{template}': a square bracket is not closed")
    found.append((False, tuple(current)))
    return tuple(group for group in found if group[1])


Reader = Callable[[Source], Any]
"""What expressions give in a source, as a function that was made of them once."""
TextReader = Callable[[Source], str | None]


@lru_cache(maxsize=4096)
def text_reader(expressions: Expressions) -> TextReader:
    """The first of several that gives something, as `Source.text` does."""
    return _first_of([_reader(each, as_text) for each in several(expressions)])


@lru_cache(maxsize=4096)
def value_reader(expressions: Expressions) -> Reader:
    """The first of several that is there, as it is: an object, a number, a text."""
    return _first_of([_reader(each, _as_it_is) for each in several(expressions)])


def _first_of(readers: list[Reader]) -> Reader:
    if len(readers) < 2:
        return readers[0] if readers else _nothing

    def first(source: Source) -> Any:
        for read in readers:
            found = read(source)
            if found is not None:
                return found
        return None

    return first


def _nothing(source: Source) -> None:
    """What no expression at all gives."""


def _reader(expression: str, finish: Callable[[Any], Any]) -> Reader:
    """One expression; `finish` makes what is wanted of all that is no text already."""
    part = _bare(expression)
    if part is not None and part.kind == "field":
        return _pointer_reader(_steps(part.name), finish)
    if finish is as_text or "{" in expression:
        return lambda source: source.text(expression)

    def value(source: Source) -> Any:
        try:
            return source.value(expression_part(expression))
        except UnparseableBody:
            return None

    return value


def _pointer_reader(steps: tuple[str, ...], finish: Callable[[Any], Any]) -> Reader:
    """Through objects; one step or two, as in most packs, take half of what the loop does."""
    first, second = steps[0], steps[-1]

    def one(source: Source) -> Any:
        fields = source.parsed
        if type(fields) is not dict:
            return finish(_any_way(source, steps))
        found = fields.get(first)
        return found if type(found) is str and found else finish(found)

    def two(source: Source) -> Any:
        fields = source.parsed
        inner = fields.get(first) if type(fields) is dict else None
        if type(inner) is not dict:
            return finish(_any_way(source, steps))
        found = inner.get(second)
        return found if type(found) is str and found else finish(found)

    def more(source: Source) -> Any:
        found = source.parsed
        for key in steps:
            if type(found) is not dict:
                return finish(_any_way(source, steps))
            found = found.get(key)
        return found if type(found) is str and found else finish(found)

    return {1: one, 2: two}.get(len(steps), more)


def _any_way(source: Source, steps: tuple[str, ...]) -> Any:
    """Through lists too, and in what is not parsed yet; None in a body that is no JSON."""
    try:
        return _walked(source.fields, steps)
    except UnparseableBody:
        return None


def _as_it_is(value: Any) -> Any:
    return value


@lru_cache(maxsize=4096)
def _bare(expression: str) -> Part | None:
    """The one part of an expression that is no template."""
    found = groups(expression)
    if len(found) != 1 or len(found[0][1]) != 1 or found[0][1][0].kind == "text":
        return None
    return found[0][1][0]


def parts_of(template: str) -> Iterator[Part]:
    """Every expression in a template."""
    return (part for _, parts in groups(template) for part in parts if part.kind != "text")


@lru_cache(maxsize=4096)
def expression_part(expression: str) -> Part:
    """One expression; raises ValueError that lists what there is."""
    if expression.startswith("="):
        return Part("text", expression[1:])
    optional, bare = expression.endswith("?"), expression.removesuffix("?")
    if bare.startswith("/"):
        return Part("field", bare, optional)
    kind, colon, name = bare.partition(":")
    if colon and kind in NAMED and name:
        return Part(kind, name, optional)
    if bare in WORDS:
        return Part(bare, "", optional)
    raise ValueError(
        f"'{expression}' is no expression; there are /json/pointer, "
        f"{', '.join(f'{each}:NAME' for each in NAMED)}, {', '.join(WORDS)}"
    )


def _bytes(part: Part, source: Source) -> bytes:
    value = source.value(part)
    if isinstance(value, bytes):
        return value
    text = text_of(value)
    if text is None:
        if part.optional:
            return b""
        raise Missing(part)
    return text.encode("utf-8", "surrogateescape")


def _only(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None
