"""Pay3: the body is a JWT signed with HS384, and refunds are failed orders with a payment status.

Some statuses are known only from copies of Pay3's pages that lost case, `-` and `_`; they are
spelled here as the older pages, which kept them, spell theirs. Words are matched in any case.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import UnparseableBody
from hookmill.core.event import Discrepancy, Failure, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.parse import as_object, as_text, figure_text, parse_object
from hookmill.core.resource import TERMINAL_RANK, Change
from hookmill.providers.pack import Draft, Pack
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.scheme import Scheme

SCHEME = Jwt(algorithm="HS384", field="/payload")
TRANSACTION = "pay3-sdk-transaction-status"
LOGIN = "pay3-sdk-login-status"  # older API: isLoggedIn, address
METADATA = ("requestId", "offerId")

# orderType (docs.pay3.money/webhooks); FIAT is the older API's, seen in the page's own token.
LEGS = {"CHECKOUT": "payment", "CRYPTO": "payment", "FIAT": "payment", "PAYOUT": "transfer"}
ALIASES = {"CRYPTOPAYIN": "CRYPTO"}  # docs.pay3.money/get-cryptoorder-details


class Row(NamedTuple):
    """A line of the table: their two statuses, our type for a payment and for a payout."""

    order_status: str
    payment_statuses: tuple[str, ...]  # "" stands for none
    payment: str
    transfer: str
    discrepancy: Literal["over", "under"] | None = None


# docs.pay3.money/status-reference. Statuses may be skipped, "but completed / failed will always
# be the terminal events" (docs.pay3.money/webhooks). The later row wins among equal ranks.
ROWS = (
    Row("CREATED", ("",), "payment.created", "transfer.pending"),
    Row("ORDER_STARTED", ("",), "payment.pending", "transfer.pending"),
    Row("ORDER_PAYMENT_AWAITING", ("",), "payment.pending", "transfer.pending"),
    Row("ORDER_PAYMENT_PROCESSING", ("",), "payment.pending", "transfer.pending"),
    Row("ORDER_PAYMENT_INITIATED", ("", "AWAITING_APPROVAL"), "payment.pending",
        "transfer.pending"),
    # A timeout, not named among the terminal events: a later completed or failed still wins.
    Row("ABANDONED", ("", "MAX_RETRIES_REACHED"), "payment.expired", "transfer.failed"),
    # With and without a payment status: one success, told twice.
    Row("COMPLETED", ("", "SUCCESS", "COMPLETED"), "payment.succeeded", "transfer.succeeded"),
    # Short, but within the under-payment limit that the app configured at Pay3.
    Row("COMPLETED", ("UNDER_PAID",), "payment.succeeded", "transfer.succeeded", "under"),
    Row("COMPLETED", ("OVER_PAID",), "payment.overpaid", "transfer.succeeded", "over"),
    # Comes after "completed": the partner wants documents before it settles. A person must look.
    Row("COMPLETED", ("REVIEW_CREATED", "REVIEW_SUBMITTED"), "other.review", "other.review"),
    Row("FAILED", ("", "DECLINED"), "payment.failed", "transfer.failed"),
    Row("FAILED", ("CANCELED",), "payment.cancelled", "transfer.failed"),
    # The same word as above under another parent: too little arrived, the order is lost.
    Row("FAILED", ("UNDER_PAID",), "payment.failed", "transfer.failed", "under"),
    # A refund is no order type of its own; it is told on the failed order that it refunds.
    Row("FAILED", ("REFUND_INITIATED",), "refund.pending", "transfer.failed"),
    Row("FAILED", ("REFUNDED",), "refund.succeeded", "transfer.reversed"),
    Row("FAILED", ("REFUND_FAILED",), "refund.failed", "transfer.failed"),
)  # fmt: skip

# Every status that is not here ends its resource.
RANKS = {"created": 1, "pending": 2}
ABANDONED_RANK = 4

_ROW_OF = {(row.order_status, word): row for row in ROWS for word in row.payment_statuses}
_NUMBER_OF = {row: number for number, row in enumerate(ROWS, start=1)}

ABOUT = """
The body is `{"payload": "<JWT>"}`, pinned to HS384; a token that names any other algorithm is
refused before anything else is looked at. Only `exp` is honoured of the registered claims. Nothing
in a token is bound to a time, so the window of 30 days is the protection against replays.

Two order types for one `orderId` are two resources (`CHECKOUT:…` and `CRYPTO:…`) of one subject.
Statuses are skipped and come late; the resource's state is a merge that gives the same answer in
every order. A `FAILED` order with a refund status is a refund event and also ends its payment.
Webhooks carry no amounts. Retry intervals are not published.
"""


class Pay3(Pack):
    """Pay3 (pay3.app): checkout, crypto payments and payouts."""

    name = "pay3"
    title = "Pay3"
    about = ABOUT
    sources = ("https://docs.pay3.money/webhooks", "https://docs.pay3.money/status-reference")
    verifies = "The body's `payload` is a JWT whose claims are signed with HS384 and your secret."
    events: Mapping[str, str] = {  # as the base class has it
        **{f"{parent}/{word}".rstrip("/"): row.payment for (parent, word), row in _ROW_OF.items()},
        **{f"PAYOUT {parent}/{word}".rstrip("/"): row.transfer
           for (parent, word), row in _ROW_OF.items()},
        LOGIN: "other.login",
    }  # fmt: skip
    # "The server side will retry sending the data 10 times" (docs.pay3.money/webhooks). The waits
    # between them are not published: these are ours.
    retry_delays_secs = (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)
    success_statuses = frozenset({200})

    def scheme(self, options: Any) -> Scheme:
        """A token in `payload`, pinned to HS384."""
        return SCHEME

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """The one event. Pay3 gives no id: it is made of the order's type, id and statuses."""
        body = delivery.body
        try:
            signed = _claims(body)
            told = _read(parse_object(signed))
        except UnparseableBody:
            return (Item(body, body_hash(body)),)
        return (Item(body, told.event_id or body_hash(signed), told.type or "", told.order_id),)

    def normalize(
        self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]] = {}
    ) -> Draft:
        """The order's status in our words; a log-in and what is unknown become kind `other`."""
        claims = parse_object(_claims(body))
        told = _read(claims)
        own = ProviderEvent(type=told.type, status=told.status)
        links = Links(order=told.order_id, payment=told.resource_id)
        failure = _failure(claims)
        metadata = {key: claims[key] for key in METADATA if claims.get(key) is not None}
        kind, status, discrepancy = "other", "unrecognized", None
        changes: tuple[Change, ...] = ()
        if told.type == LOGIN:
            status = "login"
        elif told.row is not None and told.resource_id is not None:
            row = told.row
            kind, status = (row.payment if told.leg == "payment" else row.transfer).split(".")
            changes = _changes(row, kind, status, told.resource_id)
            discrepancy = Discrepancy(row.discrepancy, None) if row.discrepancy else None
        return Draft(
            kind=kind,  # type: ignore[arg-type]  # a row's
            status=status,
            provider_event=own,
            changes=changes,
            subject=told.order_id,
            discrepancy=discrepancy,
            links=links,
            failure=failure,
            metadata=metadata,
        )


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What the claims say of an order; nothing of it for a log-in or another type."""

    type: str | None
    event_id: str | None = None
    order_id: str | None = None
    status: str | None = None
    leg: str | None = None
    resource_id: str | None = None
    row: Row | None = None


def _read(claims: dict[str, Any]) -> _Told:
    """Both documented shapes: the order's fields at the top level, or wrapped in `data`.

    One order may have a fiat and a crypto leg, so the resource is the leg, not the order.
    """
    word = as_text(claims.get("type"))
    if claims.get("type") not in (None, TRANSACTION):
        return _Told(word)
    order = as_object(claims["data"]) if "data" in claims else claims
    order_type, order_id = as_text(order.get("orderType")), as_text(order.get("orderId"))
    status, paid = as_text(order.get("orderStatus")), order.get("paymentStatus")
    paid = "" if paid is None else paid
    upper = (order_type or "").upper()
    known_type = ALIASES.get(upper, upper)
    leg = LEGS.get(known_type)
    readable = order_type and order_id and status and isinstance(paid, str)
    return _Told(
        type=word,
        event_id=f"{order_type}:{order_id}:{status}:{paid}" if readable else None,
        order_id=order_id,
        status=f"{status}/{paid}" if readable and paid else status,
        leg=leg,
        resource_id=f"{known_type}:{order_id}" if leg and order_id else None,
        row=_row(status.upper(), paid.upper()) if status and isinstance(paid, str) else None,
    )


def _row(parent: str, paid: str) -> Row | None:
    """The table's line. The published list of payment statuses is cut off: an unknown one goes
    by its parent, but never into a success."""
    row = _ROW_OF.get((parent, paid))
    return row if row or parent == "COMPLETED" else _ROW_OF.get((parent, ""))


def _changes(row: Row, kind: str, status: str, resource_id: str) -> tuple[Change, ...]:
    if kind == "other":
        return ()
    rank = ABANDONED_RANK if row.order_status == "ABANDONED" else RANKS.get(status, TERMINAL_RANK)
    own = Change(kind, resource_id, status, rank, row=_NUMBER_OF[row])
    if kind != "refund":
        return (own,)
    return own, Change("payment", resource_id, "failed", TERMINAL_RANK, row=own.row)


def _failure(claims: dict[str, Any]) -> Failure | None:
    """`error` stands beside `data` or in it: the page leaves that open."""
    error = as_object(claims.get("error")) or as_object(as_object(claims.get("data")).get("error"))
    if not error:
        return None
    code, message = figure_text(error.get("code")), figure_text(error.get("message"))
    return None if code is None and message is None else Failure(code, message)


def _claims(body: bytes) -> bytes:
    """The claims of a body that was verified before."""
    return SCHEME.claims(body)
