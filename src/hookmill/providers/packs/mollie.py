"""Mollie: one form for the three that its signed bodies have, and the classic call without any.

An event holds its object under `_embedded`, by the name `entity` or by the object's own; a simple
event has the object's id alone; some pages show the bare object. A classic call is `id=tr_…`.
"""

import re
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Item
from hookmill.core.parse import as_object, as_text, parse_object
from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Draft, unrecognized

CLASSIC = "classic"
EVENT = "event"
_CLASSIC_BODY = re.compile(rb"id=([A-Za-z0-9_-]{1,100})")


class Mollie(DeclaredPack):
    """The declaration, over `type`, `id`, `createdAt` of the event and `entity`, its object."""

    def parse(self, body: bytes) -> Any:
        """The JSON object; a classic call as one with its id. Raises UnparseableBody."""
        called = _CLASSIC_BODY.fullmatch(body)
        if called:
            return {"type": CLASSIC, "entity": {"id": called[1].decode()}}
        return parse_object(body)

    def fields_of(self, fields: Any) -> Any:
        """The event with its object as `entity`; a bare object is an event without an id."""
        if fields.get("type") == CLASSIC:
            return fields
        if fields.get("resource") == EVENT or "entityId" in fields:
            return {**fields, "entity": _entity(fields)}
        words = [as_text(fields.get(name)) or "" for name in ("resource", "status")]
        return {"type": ".".join(words), "entity": fields} if all(words) else {}

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """A classic call says the same at each change of its object, so each is an event."""
        items = super().identify(delivery, options)
        return tuple(
            replace(item, event_id=f"{item.event_id}:{delivery.received_at_us}")
            if item.event_type == CLASSIC
            else item
            for item in items
        )

    def rest(self, draft: Draft, told: Told) -> Draft:
        """An event without its object has no amount; one with it must have one."""
        fields = told.source.fields
        simple = not fields.get("_embedded") and len(as_object(fields.get("entity"))) < 2
        if draft.kind != "other" and draft.amount is None and not simple:
            return unrecognized(
                draft.provider_event, subject=draft.subject, mode=draft.mode,
                occurred_at=draft.occurred_at, links=draft.links, metadata=draft.metadata,
            )  # fmt: skip
        return draft


def _entity(event: dict[str, Any]) -> dict[str, Any]:
    """The embedded object that the event is about, else its id alone."""
    own_id = as_text(event.get("entityId"))
    alone = {"id": own_id} if own_id else {}
    for embedded in as_object(event.get("_embedded")).values():
        if isinstance(embedded, dict) and (own_id is None or embedded.get("id") == own_id):
            return embedded
    return alone


PACK = Mollie(read(Path(__file__).with_suffix(".toml")))
