"""The one language: what every provider's event becomes, for handlers and downstream services."""

import re
from functools import cache
from typing import Any, Literal, get_args

import msgspec

from hookmill.core.money import Money
from hookmill.core.parse import Number, exact_number
from hookmill.core.times import Timestamp

SCHEMA_VERSION = 1

Kind = Literal["payment", "refund", "transfer", "subscription", "dispute", "other"]
Mode = Literal["live", "test", "unknown"]
MODES: tuple[Mode, ...] = get_args(Mode)
MODES_UNASKED: tuple[Mode, ...] = ("live", "unknown")
"""What a route takes that asks for no mode: test events must be asked for."""

STATUSES: dict[str, tuple[str, ...]] = {
    "payment": (
        "created", "pending", "authorized", "succeeded", "underpaid", "overpaid",
        "failed", "cancelled", "expired",
    ),
    "refund": ("pending", "succeeded", "failed"),
    "transfer": ("pending", "succeeded", "failed", "reversed"),
    "subscription": (
        "created", "renewed", "renewal_failed", "updated", "cancelled", "expired",
    ),
    "dispute": ("opened", "won", "lost"),
    "other": ("unrecognized", "login", "review", "notified"),
}  # fmt: skip
TYPES = tuple(f"{kind}.{status}" for kind, several in STATUSES.items() for status in several)


@cache
def type_pattern(text: str) -> re.Pattern[str]:
    """`payment.*` as a pattern: `*` stands for any characters, all else for itself."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")))


class Discrepancy(msgspec.Struct, frozen=True, gc=False):
    """How far what was paid is from what was asked; `amount` null where only the direction is."""

    direction: Literal["over", "under"]
    amount: Money | None


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why it failed, in the provider's own words."""

    code: str | None = None
    message: str | None = None


class Links(msgspec.Struct, frozen=True, gc=False):
    """Ids of what this event belongs to, as the provider names them."""

    payment: str | None = None
    checkout: str | None = None
    order: str | None = None
    refund: str | None = None
    subscription: str | None = None


class ProviderEvent(msgspec.Struct, frozen=True, gc=False):
    """The provider's own words, untranslated; `amount` is the figure's text as it was sent."""

    id: str | None = None
    type: str | None = None
    status: str | None = None
    amount: str | None = None


class Resource(msgspec.Struct, frozen=True, gc=False):
    """The business object after this event was merged into it.

    `version` counts the changes of that state; `conflict` says that two different terminal
    statuses were seen, which a person must look at.
    """

    kind: Kind
    id: str
    status: str
    version: int
    conflict: bool


class Raw(msgspec.Struct, frozen=True, gc=False):
    """Where the exact bytes lie, and their SHA-256."""

    topic: str
    partition: int
    offset: int
    sha256: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """A normalized event. `type` is always `kind.status`, this event's own.

    `id` is the same for the same event for ever: the idempotency key. `occurred_at` is null
    where the provider gives no time. `late` means that the resource already stood further.
    """

    id: str
    type: str
    kind: Kind
    status: str
    endpoint: str
    provider: str
    mode: Mode
    occurred_at: Timestamp | None
    received_at: Timestamp
    subject: str | None
    resource: Resource | None
    amount: Money | None
    amount_paid: Money | None
    amount_refunded: Money | None
    discrepancy: Discrepancy | None
    links: Links
    failure: Failure | None
    metadata: dict[str, Any]
    provider_event: ProviderEvent
    late: bool
    raw: Raw
    schema_version: int = SCHEMA_VERSION


_ENCODER = msgspec.json.Encoder(enc_hook=exact_number)
_DECODER = msgspec.json.Decoder(Event, float_hook=Number)


def encode(event: Event) -> bytes:
    """The event as JSON; numbers in the metadata keep the text they were sent as."""
    return _ENCODER.encode(event)


def decode(value: bytes) -> Event:
    """The event in a record's value; raises msgspec.MsgspecError if it is none."""
    return _DECODER.decode(value)
