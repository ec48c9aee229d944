"""What a provider pack is: everything hookmill knows of one provider, in one object.

A pack is pure: it is handed the delivery, the secrets and the time, and never looks anything up.
Most packs are data (`declared.py`); one with an oddity is a module beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason
from hookmill.core.event import Discrepancy, Failure, Kind, Links, ProviderEvent
from hookmill.core.money import Money
from hookmill.core.resource import Change
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.terms import Options, SignedRequest, Signing, Terms

__all__ = ["Answer", "Draft", "Options", "Pack", "SignedRequest", "Signing", "Terms",
           "unrecognized"]  # fmt: skip

KEEP_30_DAYS_SECS = 30 * 86_400


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in the provider's own words, where it demands one."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain"


class Pack(ABC):
    """One provider. The attributes are its contract; each pack cites where it stands."""

    name: str
    title: str
    sources: tuple[str, ...]
    verifies: str
    """One sentence for people: what proves the sender."""
    about: str = ""
    """Markdown for the provider's page: how to get the secret, what to know, the quirks."""
    setup: str = ""
    """The configuration to paste, TOML; empty: the shortest that works."""
    events: Mapping[str, str]
    """Their word to our type, for `hookmill providers show`."""
    says_mode: bool = False
    """Whether its events say themselves that they are live or test."""
    proves_mode: bool = True
    """Whether that is signed. Where it is not, `live` does not outweigh an endpoint of `test`."""
    options: type[Options] = Options
    dedup_window_secs: int = KEEP_30_DAYS_SECS
    answer_deadline_secs: float = 15.0
    retry_delays_secs: tuple[int, ...]
    """The provider's redelivery schedule: the wait before each further attempt."""
    success_statuses: frozenset[int] | None = None
    """Answers that the provider takes for success; None means any 2xx."""
    content_types_excluded: frozenset[str] = frozenset()
    accepted_answer: Answer | None = None
    """What is said to a delivery that is kept; None: hookmill's own JSON, 200."""
    refusal_statuses: Mapping[Reason, int] = {}
    """Statuses that this provider demands for reasons of refusal; others are as ever."""
    handshake_methods: frozenset[str] = frozenset()
    """Methods by which the provider tries the endpoint; asked of `handshake`."""
    keep_headers: tuple[str, ...] = ()
    """Request headers beside the signed ones that identify or normalize needs, lower case."""
    fetch: str = ""
    """Where the object is that a notification without content is about, for who completes it."""
    example_options: Mapping[str, Any] = {}
    """Options with which the pack can be tried, where it can't work without any."""

    @abstractmethod
    def scheme(self, options: Any) -> Scheme:
        """How a sender is proved, under the endpoint's options."""

    @property
    def tolerance_secs(self) -> int | None:
        """How far a signed time may be off unless the endpoint says; None: no time is judged."""
        return self._plain_scheme.default_tolerance_secs

    @property
    def signed_headers(self) -> tuple[str, ...]:
        """Request headers that the signature covers or carries, kept as evidence."""
        return self._plain_scheme.evidence_headers

    @property
    def signs_body(self) -> bool:
        """False where a changed body is not noticed."""
        return self._plain_scheme.signs_body

    def signs_time(self, options: Any) -> bool:
        """Whether a time is signed, so that a tolerance can be chosen."""
        return self.scheme(options).signs_time

    def evidence(self, delivery: Delivery, options: Any) -> dict[str, list[str] | str]:
        """What lets anyone verify again, and the headers that say what the event is."""
        found = self.scheme(options).evidence(delivery)
        if self.keep_headers:
            sent = delivery.headers_by_name()
            found |= {name: sent[name] for name in self.keep_headers if name in sent}
        return found

    def check_options(self, options: Any) -> None:
        """Raise ValueError, in words an operator can act on, if the options cannot serve."""
        return

    def key(self, text: str, options: Any = None) -> bytes:
        """The key that a secret's text stands for; raises ValueError if it is none."""
        return self.scheme(options).key(text)

    def example_secret(self, name: str, options: Any = None) -> str:
        """A secret of the provider's form for trials, another for each name."""
        return self.scheme(options).example_secret(name)

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the live secret that proves the sender; raise Refused if none does."""
        return self.scheme(terms.options).verify(delivery, terms)

    def handshake(self, delivery: Delivery, method: str, terms: Terms) -> Answer | None:
        """The answer by which the endpoint proves itself; None where this is no such request.

        Asked before anything is verified, for `handshake_methods` only; may raise Refused.
        """
        return None

    @abstractmethod
    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """The items of a verified delivery, at least one; never raises, whatever the body."""

    @abstractmethod
    def normalize(
        self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]] = {}
    ) -> Draft:
        """What one item says. Raises UnparseableBody; any other oddity is `unrecognized`.

        `headers` are those that were kept with the delivery, its evidence, by lower-case name.
        """

    def sign(
        self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any,
        headers: Mapping[str, str] = {},
    ) -> SignedRequest:  # fmt: skip
        """The request with which the provider would deliver `body`, signed at that time.

        `headers` are those in which the provider says what the event is (Shopify's topic).
        """
        signing = Signing(
            secret=secret, message_id=message_id, at_us=at_us, options=options, headers=headers
        )
        return self.scheme(options).sign(body, signing)

    @property
    def _plain_scheme(self) -> Scheme:
        """The scheme without any choice made, for what no choice changes."""
        return self.scheme(None)


def unrecognized(provider_event: ProviderEvent, **known: Any) -> Draft:
    """An authentic event that no row of the pack fits: kept, counted, stops nothing."""
    return Draft(kind="other", status="unrecognized", provider_event=provider_event, **known)
