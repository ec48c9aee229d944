"""What a pack says when it is data: the words of a provider's TOML file, each with its meaning.

Where an expression is expected, `schemes/template.py` says what there is; several are tried in
order. A fact that is not confirmed is left out, or is an option with a safe default.
"""

from typing import Any, Literal

import msgspec

from hookmill.core.event import STATUSES
from hookmill.core.resource import REPEATED_RANK, TERMINAL_RANK
from hookmill.providers.amounts import Unit
from hookmill.providers.pack import KEEP_30_DAYS_SECS, Answer
from hookmill.providers.schemes.asymmetric import Ecdsa, Rsa
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.mac import Hash, Hmac, StandardWebhooks
from hookmill.providers.schemes.moments import TimeUnit
from hookmill.providers.schemes.template import Expressions
from hookmill.providers.schemes.token import Basic, Token

Word = str | bool | int
AnyScheme = StandardWebhooks | Hmac | Hash | Rsa | Ecdsa | Token | Basic | Jwt

RANKS = {
    "created": 1, "opened": 1, "pending": 2, "authorized": 3, "underpaid": 4,
    "renewed": REPEATED_RANK, "renewal_failed": REPEATED_RANK, "updated": REPEATED_RANK,
}  # fmt: skip
"""Of statuses that end nothing, those that happen again and again among them; every other ends its
resource."""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; an unknown key in it is an error."""


class Amount(Table, frozen=True, kw_only=True):
    """Where an amount stands and how it is to be read."""

    figure: Expressions
    currency: Expressions = ()
    unit: Unit = "minor"
    as_text: bool = False
    """Whether the provider writes figures as strings (`"20.00"`); numbers are always read."""
    fixed_currency: str = ""
    """Where the provider has only one and does not say it."""
    optional: bool = False
    """Whether an event without a readable one still counts; else it is `unrecognized`."""


class Shape(Table, frozen=True, kw_only=True):
    """Where the facts of one kind of object stand. What is left out is as in `[default]`."""

    resource: Expressions | None = None
    """The id of the object that the event is about."""
    subject: Expressions | None = None
    """What its events are ordered by: in every event of the kind; left out: the resource."""
    event_id: Expressions | None = None
    """The provider's id, else a derived one that no other event has; last: the body's hash."""
    status: Expressions | None = None
    """The provider's word for the object's status."""
    amount: Amount | None = None
    amount_paid: Amount | None = None
    amount_refunded: Amount | None = None
    decimals: dict[str, int | Literal["unknown"]] | None = None
    """Where the provider's minor units are not ISO 4217's: how many digits are decimals."""
    only_decimals: dict[str, int] | None = None
    """The only currencies whose decimals are known, where the provider says nothing of others."""
    occurred_at: Expressions | None = None
    time_unit: TimeUnit | None = None
    ordered_by_time: bool | None = None
    """Whether, between statuses of one rank, the provider's time can be trusted."""
    links: dict[Literal["payment", "checkout", "order", "refund", "subscription"], Expressions] = {}
    metadata: Expressions | None = None
    failure_code: Expressions | None = None
    failure_message: Expressions | None = None


class Also(Table, frozen=True, kw_only=True):
    """Another resource that the event says something of."""

    becomes: str
    resource: Expressions


class Row(Table, frozen=True, kw_only=True):
    """A line of the table: their word (and status) to our type. The first that fits counts.

    A word may end in `*`. `when`: further expressions and the values that they must have.
    """

    word: str | tuple[str, ...]
    becomes: str
    status: str | tuple[str, ...] = ()
    when: dict[str, Word | tuple[Word, ...]] = {}
    shape: str = ""
    """A table of `[shapes]`; left out: the one called as the kind, else `[default]`."""
    rank: int | None = None
    also: tuple[Also, ...] = ()
    note: str = ""
    """For people: why, and where that is written."""

    @property
    def kind(self) -> str:
        """The part before the dot."""
        return self.becomes.partition(".")[0]

    @property
    def our_status(self) -> str:
        """The part behind the dot."""
        return self.becomes.partition(".")[2]

    @property
    def standing(self) -> int:
        """The rank of its status: as the row says, else by the status."""
        if self.rank is not None:
            return self.rank
        return RANKS.get(self.our_status, TERMINAL_RANK)


class Mode(Table, frozen=True, kw_only=True):
    """How an event says whether it is real. Another value than these: `unrecognized`."""

    value: Expressions
    live: tuple[Word, ...] = ()
    test: tuple[Word, ...] = ()


class Items(Table, frozen=True, kw_only=True):
    """A delivery of several events: where they are, and what each takes along of the rest."""

    path: str
    keep: tuple[str, ...] = ()


class Option(Table, frozen=True, kw_only=True):
    """A choice that an endpoint has; `choices` empty: any text."""

    about: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    required: bool = False
    example: str = ""


class StoryStep(Table, frozen=True, kw_only=True):
    """An event that the simulator sends; placeholders are those of `local/stories/template.py`."""

    body: str
    becomes: str
    headers: dict[str, str] = {}


class StoryText(Table, frozen=True, kw_only=True):
    """The life of one business object."""

    name: str
    steps: tuple[StoryStep, ...]


class Fact(Table, frozen=True, kw_only=True):
    """A fact that somebody may want to check: what it says, and by whom it is said.

    `sure`: `provider` (its own page), `code` (its own SDK or plugin), `third party`, `inferred`,
    or `unconfirmed`.
    """

    says: str
    sure: Literal["provider", "code", "third party", "inferred", "unconfirmed"]
    source: str = ""


class Declaration(Table, frozen=True, kw_only=True):
    """A whole pack."""

    name: str
    title: str
    verifies: str
    sources: tuple[str, ...]
    verification: AnyScheme
    variants: dict[str, AnyScheme] = {}
    """Other schemes that the endpoint may choose by `options.variant`; `default` is the first."""
    word: Expressions
    """Where the event's name stands."""
    default: Shape = Shape()
    shapes: dict[str, Shape] = {}
    rows: tuple[Row, ...] = msgspec.field(name="events")
    mode: Mode | None = None
    items: Items | None = None
    format: Literal["json", "form"] = "json"
    keep_headers: tuple[str, ...] = ()
    sends: dict[str, str] = {}
    """What the simulator sends beside: `header:NAME` or `query:NAME` to a template."""
    options: dict[str, Option] = {}
    retry_delays_secs: tuple[int, ...] = ()
    answer_deadline_secs: float = 15.0
    dedup_window_secs: int = KEEP_30_DAYS_SECS
    success_statuses: tuple[int, ...] = ()
    accepted_answer: Answer | None = None
    refusal_statuses: dict[str, int] = {}
    fetch: str = ""
    about: str = ""
    setup: str = ""
    facts: tuple[Fact, ...] = ()
    stories: tuple[StoryText, ...] = ()


TYPES = frozenset(f"{kind}.{status}" for kind, words in STATUSES.items() for status in words)


def settled(shape: Shape, default: Shape) -> Shape:
    """The shape with what it leaves out taken from the default one; links are joined."""
    given: dict[str, Any] = {
        name: getattr(shape, name)
        for name in Shape.__struct_fields__
        if getattr(shape, name) is not None
    }
    merged = msgspec.structs.replace(default, **given)
    return msgspec.structs.replace(merged, links={**default.links, **shape.links})
