"""What keys and values a configuration may have: walks plain data beside the options' types."""

import difflib
import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect

Known = inspect.Type
_TOML_WORDS = {"str": "text", "array": "a list", "object": "a table"}
_AT = re.compile(r" - at `[^`]*`$")


def unknown_keys(raw: Any, type_: type) -> list[str]:
    """One line for each key that no option has, naming the nearest that there is."""
    return list(_unknown(raw, inspect.type_info(type_), ""))


def wrong_values(raw: Any, type_: Any, path: str = "") -> Iterator[str]:
    """One line for each value that its option cannot take, by its dotted name."""
    inner = get_args(type_)
    if isinstance(raw, dict) and get_origin(type_) is UnionType:
        type_ = next((each for each in inner if _is_table(each)), type_)
    if isinstance(raw, dict) and _is_table(type_):
        for field in msgspec.structs.fields(type_):
            below = f"{path}.{field.name}" if path else field.name
            if field.name in raw:
                yield from wrong_values(raw[field.name], field.type, below)
            elif field.required:
                yield f"{below} is missing"
    elif isinstance(raw, dict) and get_origin(type_) is dict:
        for key, value in raw.items():
            yield from _unfit(key, inner[0], f"{path}.{key}: its name")
            yield from wrong_values(value, inner[1], f"{path}.{key}")
    elif isinstance(raw, list) and get_origin(type_) is tuple:
        for number, value in enumerate(raw):
            yield from wrong_values(value, inner[0], f"{path}[{number}]")
    else:
        yield from _unfit(raw, type_, path)


def nearest(word: str, known: list[str]) -> str:
    """`, did you mean 'x'?`, or the list of what there is where nothing is near."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"


def fields_of(type_: Known) -> dict[str, Known] | None:
    """The fields of a table by name, None for what is no table of fixed keys."""
    plain = strip(type_)
    if isinstance(plain, inspect.StructType):
        return {field.encode_name: field.type for field in plain.fields}
    if isinstance(plain, inspect.UnionType):
        found = [fields_of(each) for each in plain.types]
        return next((each for each in found if each is not None), None)
    return None


def values_of(type_: Known) -> Known | None:
    """The type of the values of a table with free keys, None for anything else."""
    plain = strip(type_)
    return plain.value_type if isinstance(plain, inspect.DictType) else None


def is_list(type_: Known) -> bool:
    """Whether an option takes several values."""
    plain = strip(type_)
    several = (inspect.VarTupleType, inspect.ListType, inspect.TupleType)
    if isinstance(plain, inspect.UnionType):
        return any(is_list(each) for each in plain.types)
    return isinstance(plain, several)


def strip(type_: Known) -> Known:
    """The type without its annotations."""
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_


def scalar(text: str, type_: Known) -> Any:
    """The text of an environment variable as the option's type wants it, where that is clear."""
    plain = strip(type_)
    kinds = plain.types if isinstance(plain, inspect.UnionType) else (plain,)
    for kind in kinds:
        match strip(kind):
            case inspect.BoolType() if text.lower() in ("true", "1", "false", "0"):
                return text.lower() in ("true", "1")
            case inspect.IntType() | inspect.FloatType() | inspect.LiteralType():
                try:
                    return msgspec.json.decode(text)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
            case _:
                continue
    return text


def _is_table(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _unfit(value: Any, type_: Any, what: str) -> Iterator[str]:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        yield f"{what}: {_in_plain_words(str(error), type_)}"


def _in_plain_words(said: str, type_: Any) -> str:
    """Expected `str | null`, got `array` - at `$...` becomes: expected text, got a list."""
    words = [word for part in (type_, *get_args(type_)) if get_origin(part) is Literal
             for word in get_args(part)]  # fmt: skip
    if words:
        return f"expected one of {', '.join(map(str, words))}"
    said = _AT.sub("", said).replace("`", "").replace(" | null", "")
    for theirs, ours in _TOML_WORDS.items():
        said = re.sub(rf"\b{theirs}\b", ours, said)
    return said[:1].lower() + said[1:]


def _unknown(raw: Any, type_: Known, path: str) -> Iterator[str]:
    plain = strip(type_)
    fields = fields_of(type_)
    values = values_of(type_)
    if isinstance(raw, dict) and fields is not None:
        for key, value in raw.items():
            if key not in fields:
                yield f"{path}{key} is no option{nearest(key, list(fields))}"
            else:
                yield from _unknown(value, fields[key], f"{path}{key}.")
    elif isinstance(raw, dict) and values is not None:
        for key, value in raw.items():
            yield from _unknown(value, values, f"{path}{key}.")
    elif isinstance(raw, list) and isinstance(plain, inspect.VarTupleType):
        for number, value in enumerate(raw):
            yield from _unknown(value, plain.item_type, f"{path.rstrip('.')}[{number}].")
