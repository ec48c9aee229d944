"""Pay3: the body is a JWT signed with HS384, and refunds are failed orders with a payment status.

Some statuses are known only from copies of Pay3's pages that lost case, `-` and `_`; they are
spelled here as the older pages, which kept them, spell theirs. Words are matched in any case.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal, NamedTuple

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS
from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.event import Discrepancy, Failure, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.parse import Number, as_object, as_text, figure_text, parse_object
from hookmill.core.resource import TERMINAL_RANK, Change
from hookmill.providers.keys import verify_hmac
from hookmill.providers.pack import Draft, Pack, SignedRequest, Terms, unrecognized

ALGORITHM = "HS384"
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


class Pay3(Pack):
    """Pay3 (pay3.app): checkout, crypto payments and payouts."""

    name = "pay3"
    title = "Pay3"
    sources = ("https://docs.pay3.money/webhooks", "https://docs.pay3.money/status-reference")
    verifies = "The body's `payload` is a JWT whose claims are signed with HS384 and your secret."
    events: ClassVar[Mapping[str, str]] = {
        **{f"{parent}/{word}".rstrip("/"): row.payment for (parent, word), row in _ROW_OF.items()},
        **{f"PAYOUT {parent}/{word}".rstrip("/"): row.transfer
           for (parent, word), row in _ROW_OF.items()},
        LOGIN: "other.login",
    }  # fmt: skip
    # "The server side will retry sending the data 10 times" (docs.pay3.money/webhooks). The waits
    # between them are not published: these are ours.
    retry_delays_secs = (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)
    success_statuses = frozenset({200})

    def evidence(self, delivery: Delivery, options: Any) -> dict[str, list[str]] | dict[str, str]:
        """The signature lies in the body, which is kept."""
        return {"scheme": "body"}

    def key(self, text: str) -> bytes:
        """The secret's bytes; raises ValueError for a public key or a JWK in its place."""
        key = super().key(text)
        try:
            return _HS384.prepare_key(key)
        except jwt.InvalidKeyError as error:
            raise ValueError(str(error)) from None

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that signed the token; raise Refused if none did.

        The MAC comes first, so that a forged megabyte costs one hash a secret. PyJWT then holds
        what fits to the rules of a JWS: `crit`, `b64`, `kid`, strict base64url.
        """
        try:
            token = _token(delivery.body)
        except UnparseableBody:
            raise Refused(Reason.MALFORMED_ENVELOPE) from None
        if _algorithm(token) != ALGORITHM:
            raise Refused(Reason.TOKEN_ALGORITHM)
        signed, _, signature = token.rpartition(".")
        try:
            secret = verify_hmac(signed.encode(), candidates=[_base64url(signature)],
                                 secrets=terms.secrets, algorithm="sha384")  # fmt: skip
            claims = _JWS.decode(token, secret.key, algorithms=[ALGORITHM])
        except (jwt.PyJWTError, UnparseableBody, Refused):
            raise Refused(Reason.TOKEN_INVALID) from None
        if _expired(claims, delivery.received_at_us):
            raise Refused(Reason.TOKEN_INVALID)
        return secret

    def identify(self, delivery: Delivery) -> tuple[Item, ...]:
        """The one event. Pay3 gives no id: it is made of the order's type, id and statuses."""
        body = delivery.body
        try:
            signed = _claims(body)
            told = _read(parse_object(signed))
        except UnparseableBody:
            return (Item(body, body_hash(body)),)
        return (Item(body, told.event_id or body_hash(signed), told.type or "", told.order_id),)

    def normalize(self, body: bytes, options: Any) -> Draft:
        """The order's status in our words; a log-in and what is unknown become kind `other`."""
        claims = parse_object(_claims(body))
        told = _read(claims)
        kept = unrecognized(
            ProviderEvent(type=told.type, status=told.status),
            subject=told.order_id,
            links=Links(order=told.order_id, payment=told.resource_id),
            failure=_failure(claims),
            metadata={key: claims[key] for key in METADATA if claims.get(key) is not None},
        )
        if told.type == LOGIN:
            return replace(kept, status="login")
        if told.row is None or told.resource_id is None:
            return kept
        row = told.row
        kind, status = (row.payment if told.leg == "payment" else row.transfer).split(".")
        return replace(
            kept,
            kind=kind,
            status=status,
            changes=_changes(row, kind, status, told.resource_id),
            discrepancy=Discrepancy(row.discrepancy, None) if row.discrepancy else None,
        )

    def sign(self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any
             ) -> SignedRequest:  # fmt: skip
        """The request that carries `body`, the claims, as a token. It holds no time and no id."""
        token = _JWS.encode(body, self.key(secret), ALGORITHM, headers={"typ": None})
        envelope = msgspec.json.encode({"payload": token})
        return SignedRequest({"content-type": "application/json"}, envelope)


class _AnyLength(HMACAlgorithm):
    """HMAC that says nothing of short keys: Pay3 chooses the secret, we can't lengthen it."""

    def check_key_length(self, key: bytes) -> str | None:
        return None


_HS384 = _AnyLength(hashlib.sha384)
_JWS = PyJWS(algorithms=[])  # knows no algorithm but the one registered next
_JWS.register_algorithm(ALGORITHM, _HS384)


class _Told(NamedTuple):
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
    known_type = ALIASES.get((order_type or "").upper(), (order_type or "").upper())
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
    own = Change(kind, resource_id, status, rank, row=ROWS.index(row) + 1)
    if kind != "refund":
        return (own,)
    return own, Change("payment", resource_id, "failed", TERMINAL_RANK, row=own.row)


def _failure(claims: dict[str, Any]) -> Failure | None:
    """`error` stands beside `data` or in it: the page leaves that open."""
    error = as_object(claims.get("error")) or as_object(as_object(claims.get("data")).get("error"))
    failure = Failure(figure_text(error.get("code")), figure_text(error.get("message")))
    return failure if failure != Failure() else None


def _token(body: bytes) -> str:
    token = parse_object(body).get("payload")
    if not isinstance(token, str):
        raise UnparseableBody("no text in `payload`")
    return token


def _algorithm(token: str) -> object:
    """What the token's header names; raises Refused for a string that is no JWT."""
    header, *rest = token.split(".", 2)
    try:
        return parse_object(_base64url(header if len(rest) == 2 else "")).get("alg")
    except UnparseableBody:
        raise Refused(Reason.TOKEN_INVALID) from None


def _claims(body: bytes) -> bytes:
    """The claims of a body that was verified before; nothing is verified again."""
    parts = _token(body).split(".")
    if len(parts) != 3:
        raise UnparseableBody("no token in `payload`")
    return _base64url(parts[1])


def _base64url(text: str) -> bytes:
    bare = text.rstrip("=")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        raise UnparseableBody("not base64url") from None


def _expired(claims: bytes, now_us: int) -> bool:
    """Whether the claims carry a time of expiry that has come (RFC 7519, 4.1.4)."""
    try:
        expiry = parse_object(claims).get("exp")
    except UnparseableBody:
        return False
    if isinstance(expiry, bool) or not isinstance(expiry, int | Number):
        return False
    try:
        return Decimal(figure_text(expiry) or 0) <= Decimal(now_us).scaleb(-6)
    except InvalidOperation:  # an exponent beyond any calendar
        return True
