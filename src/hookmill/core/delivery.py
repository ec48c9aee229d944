"""What came in by HTTP: the delivery, byte for byte, and the items found inside it."""

import msgspec


class Delivery(msgspec.Struct, frozen=True, dict=True):
    """One HTTP request as it came: every header in its order, however its name is spelled.

    They are looked up by lower-case names. `query` is what stands behind `?` in the address,
    undecoded.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_at_us: int
    query: str = ""

    def header(self, name: str) -> str | None:
        """The only value of that header; None where it is absent or sent more than once."""
        values = self.headers_by_name().get(name)
        return values[0] if values is not None and len(values) == 1 else None

    def headers_named(self, name: str) -> list[str]:
        """Every value of that header, in order."""
        return self.headers_by_name().get(name, [])

    def headers_by_name(self) -> dict[str, list[str]]:
        """Every value of every header, by its lower-case name. It is the delivery's own: to be read
        only."""
        found: dict[str, list[str]] | None = self.__dict__.get("by_name")
        if found is None:  # not a cached_property, whose lock costs more than this
            found = {name.lower(): [value] for name, value in self.headers}
            if len(found) != len(self.headers):  # one came twice
                found = {name: [] for name in found}
                for name, value in self.headers:
                    found[name.lower()].append(value)
            self.__dict__["by_name"] = found
        return found


class Secret(msgspec.Struct, frozen=True):
    """A live secret: its name may be told, its key never. `repr` hides the key."""

    name: str
    key: bytes

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, key=…)"


class Item(msgspec.Struct, frozen=True):
    """One event inside a delivery: its exact bytes and what it is called.

    `event_id` is the provider's, or derived where there is none; `event_type` is the provider's
    word ("" where there is none); `subject` is the business object, None where none can be read.
    """

    body: bytes
    event_id: str
    event_type: str = ""
    subject: str | None = None
