"""What schemes and packs hand each other: under what to verify, and with what to sign."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hookmill.core.delivery import Secret


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pack lets an endpoint choose; a pack with choices makes a subclass."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under what a delivery of one endpoint is verified.

    `tolerance_secs` is None where the provider signs no time. `options` is the pack's own struct.
    """

    secrets: Sequence[Secret]
    tolerance_secs: int | None = None
    options: Any = None


class Signing(msgspec.Struct, frozen=True, kw_only=True):
    """With what a request is signed: the secret's text, the event's id for the wire, the time.

    `headers` are the provider's others, such as Shopify's topic; `sends` says by template what
    else goes along: `header:NAME` or `query:NAME` to a template over the body and `message_id`.
    """

    secret: str
    message_id: str
    at_us: int
    options: Any = None
    headers: Mapping[str, str] = {}
    sends: Mapping[str, str] = {}


class SignedRequest(msgspec.Struct, frozen=True):
    """A request as the provider would send it, made by the simulator and the tests."""

    headers: dict[str, str]
    body: bytes
    query: str = ""
