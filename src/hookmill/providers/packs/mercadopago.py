"""Mercado Pago: an id with letters is signed in lower case, or as it is; the body not at all.

So the body must speak of the object that was signed, and it is read with some care.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.core.parse import as_text
from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Draft, SignedRequest, Terms
from hookmill.providers.schemes.template import Source, form_values

SIGNED_ID = "data.id"
BODYS_ID = "/data/id"


class MercadoPago(DeclaredPack):
    """The declaration, tried with the signed id as it came and in lower case."""

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Either spelling of the id may be signed; the body must not name another object."""
        lower = _lower(delivery.query)
        try:
            secret = super().verify(delivery, terms)
        except Refused as error:
            if error.reason != Reason.SIGNATURE_INVALID or lower == delivery.query:
                raise
            secret = super().verify(replace(delivery, query=lower), terms)
        signed, said = form_values(delivery.query, SIGNED_ID), _said(delivery.body)
        if signed and said is not None and said.lower() != signed[0].lower():
            raise Refused(Reason.SIGNATURE_INVALID)
        return secret

    def sign(
        self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any,
        headers: Mapping[str, str] = {},
    ) -> SignedRequest:  # fmt: skip
        """The id in the address as it is, its signature of the one in lower case."""
        asked: dict[str, Any] = {"secret": secret, "message_id": message_id, "at_us": at_us,
                                 "options": options, "headers": headers}  # fmt: skip
        request = super().sign(body, **asked)
        said = _said(body)
        if said is None or said == said.lower():
            return request
        lower = super().sign(body.replace(said.encode(), said.lower().encode()), **asked)
        return replace(request, headers=lower.headers)

    def rest(self, draft: Draft, told: Told) -> Draft:
        """The notification's own id; `live_mode` where the endpoint believes it."""
        source = told.source
        named = replace(draft.provider_event, id=source.text("/id"))
        live = source.first_value("/live_mode")
        believed = getattr(source.options, "live_mode", None) == "mode" and isinstance(live, bool)
        mode = ("live" if live else "test") if believed else None
        return replace(draft, provider_event=named, mode=mode)


def _lower(query: str) -> str:
    """The query with its id in lower case; itself where that is no other."""
    if all(value == value.lower() for value in form_values(query, SIGNED_ID)):
        return query
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return urlencode(
        [(name, value.lower() if name == SIGNED_ID else value) for name, value in pairs],
        errors="surrogateescape",
    )


def _said(body: bytes) -> str | None:
    """The id of the object that the body names, if it can be read and names one."""
    return as_text(Source(body).first_value(BODYS_ID))


PACK = MercadoPago(read(Path(__file__).with_suffix(".toml")))
