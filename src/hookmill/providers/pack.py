"""What a provider pack is: everything hookmill knows of one provider, in one object.

A pack is pure: it is handed the delivery, the secrets and the time, and never looks anything up.
To add one, write a module like `yoco.py` and name it in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.event import Discrepancy, Failure, Kind, Links, ProviderEvent
from hookmill.core.money import Money
from hookmill.core.resource import Change
from hookmill.providers.keys import signing_key

KEEP_30_DAYS_SECS = 30 * 86_400


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pack lets an endpoint choose; a pack with choices makes a subclass."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under what a delivery of one endpoint is verified.

    `tolerance_secs` is None where the provider signs no time. `options` is the pack's own struct.
    """

    secrets: Sequence[Secret]
    tolerance_secs: int | None = None
    options: Any = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack makes of one item; normalize adds what only hookmill knows.

    `changes` are the resources it says something of: first the event's own, then others (a
    refund that also ends its payment). Empty for kind `other`. `mode` is the provider's word.
    """

    kind: Kind
    status: str
    provider_event: ProviderEvent
    changes: tuple[Change, ...] = ()
    subject: str | None = None
    mode: Literal["live", "test"] | None = None
    occurred_at: str | None = None
    amount: Money | None = None
    amount_paid: Money | None = None
    amount_refunded: Money | None = None
    discrepancy: Discrepancy | None = None
    links: Links = Links()
    failure: Failure | None = None
    metadata: dict[str, Any] = {}


class SignedRequest(msgspec.Struct, frozen=True):
    """A request as the provider would send it, made by the simulator and the tests."""

    headers: dict[str, str]
    body: bytes


class Pack(ABC):
    """One provider. The class attributes are its contract; each pack cites where it stands."""

    name: ClassVar[str]
    title: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]
    verifies: ClassVar[str]
    """One sentence for people: what proves the sender."""
    signed_headers: ClassVar[tuple[str, ...]] = ()
    """Request headers that the signature covers or carries, kept as evidence; no credential."""
    signs_body: ClassVar[bool] = True
    """False where nothing but a static credential proves the sender."""
    events: ClassVar[Mapping[str, str]]
    """Their word to our type, for `hookmill providers show`."""
    says_mode: ClassVar[bool] = False
    """Whether its events say themselves that they are live or test."""
    options: ClassVar[type[Options]] = Options
    tolerance_secs: ClassVar[int | None] = None
    dedup_window_secs: ClassVar[int] = KEEP_30_DAYS_SECS
    answer_deadline_secs: ClassVar[float] = 15.0
    retry_delays_secs: ClassVar[tuple[int, ...]]
    """The provider's redelivery schedule: the wait before each further attempt."""
    success_statuses: ClassVar[frozenset[int] | None] = None
    """Answers that the provider takes for success; None means any 2xx."""
    content_types_excluded: ClassVar[frozenset[str]] = frozenset()

    def evidence(self, delivery: Delivery, options: Any) -> dict[str, list[str]] | dict[str, str]:
        """What lets anyone verify again: the signed headers, or `{"scheme": "static"}`."""
        if not self.signed_headers:
            return {"scheme": "static"}
        found = {name: delivery.headers_named(name) for name in self.signed_headers}
        return {name: values for name, values in found.items() if values}

    def check_options(self, options: Any) -> None:
        """Raise ValueError, in words an operator can act on, if the options cannot serve."""
        return

    def key(self, text: str) -> bytes:
        """The key that a secret's text stands for; raises ValueError if it is none."""
        return signing_key(text)

    @abstractmethod
    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the live secret that proves the sender; raise Refused if none does."""

    @abstractmethod
    def identify(self, delivery: Delivery) -> tuple[Item, ...]:
        """The items of a verified delivery, at least one; never raises, whatever the body."""

    @abstractmethod
    def normalize(self, body: bytes, options: Any) -> Draft:
        """What one item says. Raises UnparseableBody; any other oddity is `unrecognized`."""

    @abstractmethod
    def sign(self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any
             ) -> SignedRequest:  # fmt: skip
        """The request with which the provider would deliver `body`, signed at that time."""


def unrecognized(provider_event: ProviderEvent, **known: Any) -> Draft:
    """An authentic event that no row of the pack fits: kept, counted, stops nothing."""
    return Draft(kind="other", status="unrecognized", provider_event=provider_event, **known)
