"""Finds the items in a body that holds several, as the exact bytes they were sent as."""

from typing import Any

import msgspec

from hookmill.core.errors import UnparseableBody
from hookmill.core.parse import parse_json
from hookmill.providers.schemes.template import pointed

KEPT_BYTES_MAX = 256
"""What an item may take along of its envelope, a value: more would multiply with the items."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def items_at(body: bytes, path: str) -> list[bytes]:
    """The items at a path such as `/items/*/item`, `*` standing for every place of a list.

    Raises UnparseableBody where the body is not JSON, or has not that shape all through.
    """
    return [raw for _, raw in placed_items(body, path)]


def placed_items(body: bytes, path: str) -> list[tuple[str, bytes]]:
    """The items at such a path, each with its own pointer.

    Raises UnparseableBody where the body is not JSON, or has not that shape all through.
    """
    parse_json(body)  # the same rules for the whole of it as everywhere else
    found = [("", body.removeprefix(b"\xef\xbb\xbf"))]
    for step in path.split("/")[1:]:
        found = [each for pointer, raw in found for each in _below(pointer, raw, step)]
    return found


def one_item(body: bytes, path: str, item: bytes, keep: tuple[str, ...]) -> bytes:
    """An envelope of that shape with this one item, and of the rest what `keep` points at."""
    value: Any = msgspec.Raw(item)
    for step in reversed(path.split("/")[1:]):
        value = [value] if step == "*" else {step: value}
    envelope = parse_json(body)
    for pointer in keep:
        kept = pointed(envelope, pointer)
        if isinstance(kept, str | int | bool) and len(str(kept)) <= KEPT_BYTES_MAX:
            set_at(value, pointer, kept)
    return msgspec.json.encode(value)


def set_at(value: Any, pointer: str, new: Any) -> None:
    """Put something at a pointer, making the objects on the way.

    Raises ValueError where something else than an object or a list stands in the way.
    """
    *above, last = pointer.split("/")[1:]
    try:
        for step in above:
            value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
        if isinstance(value, list):
            value[int(last)] = new
        else:
            value[last] = new
    except (TypeError, AttributeError, IndexError):
        raise ValueError(f"there is no place for {pointer}") from None


def _below(pointer: str, raw: bytes, step: str) -> list[tuple[str, bytes]]:
    try:
        if step == "*":
            return [(f"{pointer}/{n}", bytes(each)) for n, each in enumerate(_LIST.decode(raw))]
        found = _OBJECT.decode(raw).get(step)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnparseableBody("not the shape of a delivery with several items") from None
    if found is None:
        raise UnparseableBody(f"no '{step}' in a delivery with several items")
    return [(f"{pointer}/{step}", bytes(found))]
