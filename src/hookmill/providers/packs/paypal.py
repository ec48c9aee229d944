"""PayPal: what it says in addresses only, amounts with a minus, and certificates to pin.

Addresses are read as text: neither `links` nor `PAYPAL-CERT-URL` is ever followed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from hookmill.core.event import ProviderEvent
from hookmill.core.parse import as_object, figure_text
from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Draft
from hookmill.providers.schemes.asymmetric import Rsa

SIMULATOR = "WEBHOOK_ID"
"""For which PayPal's webhook simulator signs (developer.paypal.com/api/rest/webhooks/rest/)."""
LINKS_MAX = 32

_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_]{1,50}")
_ADDRESS = re.compile(r"https://api(?:-m)?\.(sandbox\.)?paypal\.com/(\S+)")
_OBJECT = re.compile(r"v[12]/(?:payments|checkout)/([a-z]+)/([A-Za-z0-9-]{1,64})")


class PayPal(DeclaredPack):
    """PayPal by its declaration; `/linked` holds what is read of addresses and signs."""

    def parse(self, body: bytes) -> dict[str, Any]:
        """The body, with `linked`: `mode`, the `refunded` figure, and by their kind (`captures`,
        `sale`, `orders`) the ids of the objects that the resource belongs to."""
        fields = super().parse(body)
        return {**fields, "linked": _linked(fields)}

    def rest(self, draft: Draft, told: Told) -> Draft:
        """The figure as PayPal sent it, and the simulator's events as tests."""
        own = draft.provider_event
        sent = figure_text(as_object(_resource(told.source.fields).get("amount")).get("total"))
        if sent is not None and own.amount is not None:
            own = ProviderEvent(own.id, own.type, own.status, sent)
        simulated = getattr(told.source.options, "webhook_id", None) == SIMULATOR
        return replace(draft, provider_event=own, mode="test" if simulated else draft.mode)

    def key(self, text: str, options: Any = None) -> bytes:
        """A certificate for paypal.com; a private key only as it stands in for one in trials."""
        scheme = self.scheme(options)
        assert isinstance(scheme, Rsa)
        if "BEGIN" in text and "PRIVATE KEY" in text and "CERTIFICATE" not in text:
            scheme = replace(scheme, names=())
        return scheme.key(text)

    def check_options(self, options: Any) -> None:
        """Whether the webhook's id can be one: it is a part of what is signed."""
        if not _WEBHOOK_ID.fullmatch(options.webhook_id):
            raise ValueError(
                f"webhook_id: '{options.webhook_id}' is no id such as 4JH86294D6297924G; "
                "the dashboard shows it beside the webhook's address"
            )


def _linked(fields: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, path, rel in _addresses(_resource(fields)):
        parent = _OBJECT.fullmatch(path)
        if parent is not None and rel != "self":
            found.setdefault(parent[1], parent[2])
    for sandbox, _, _ in _addresses(fields):
        found.setdefault("mode", "test" if sandbox else "live")
    total = as_object(_resource(fields).get("amount")).get("total")
    if isinstance(total, str):
        found["refunded"] = total.removeprefix("-")
    return found


def _addresses(holder: dict[str, Any]) -> Iterator[tuple[bool, str, str]]:
    """Of PayPal's own addresses in `links`: whether of the sandbox, the path, the relation."""
    links = holder.get("links")
    for link in links[:LINKS_MAX] if isinstance(links, list) else ():
        href, rel = as_object(link).get("href"), as_object(link).get("rel")
        address = _ADDRESS.fullmatch(href) if isinstance(href, str) else None
        if address is not None and isinstance(rel, str):
            yield address[1] is not None, address[2], rel


def _resource(fields: Any) -> dict[str, Any]:
    return as_object(as_object(fields).get("resource"))


PACK = PayPal(read(Path(__file__).with_suffix(".toml")))
