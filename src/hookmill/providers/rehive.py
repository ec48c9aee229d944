"""Rehive: a static secret in `Authorization`, and twelve statuses of an invoice.

The same invoice arrives bare (`{"data": …}`) or in the platform's envelope with an id and an
event name; both are documented, both are taken. What was paid stands in the invoice's quotes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import UnparseableBody
from hookmill.core.event import Discrepancy, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.money import DIGITS_MAX, Money, whole_units
from hookmill.core.parse import as_object, as_text, figure_text, parse_object
from hookmill.core.resource import TERMINAL_RANK, Change
from hookmill.core.times import from_epoch_us
from hookmill.providers.pack import Draft, Pack, unrecognized
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.schemes.token import Token

DOCS = "https://github.com/rehive/docs-portal"
TYPES = "https://github.com/rehive/rehive-javascript"


class Row(NamedTuple):
    """What an invoice's status becomes, always of kind payment."""

    status: str
    rank: int
    row: int


# Meanings: DOCS, content/merchants/core-resources/invoice.md, with ten of them; `initiated` and
# `received` are only in TYPES, src/extensions/payment-requests/openapi-ts/types.gen.ts.
STATUSES: dict[str, Row] = {
    "draft": Row("created", 1, 1),
    "initiated": Row("created", 1, 1),
    "processing": Row("pending", 2, 2),  # a processor is chosen, nothing complete is paid
    "received": Row("pending", 2, 3),  # its meaning is not published: no order is completed on it
    "underpaid": Row("underpaid", 4, 4),  # no end: the rest may still come
    "paid": Row("succeeded", TERMINAL_RANK, 5),
    "late": Row("succeeded", TERMINAL_RANK, 6),  # paid in full after due_date; not our `late`
    "complete": Row("succeeded", TERMINAL_RANK, 7),  # paid and converted; usually follows `paid`
    "overpaid": Row("overpaid", TERMINAL_RANK, 8),  # complete the order, refund the difference
    "expired": Row("expired", TERMINAL_RANK, 9),
    "failed": Row("failed", TERMINAL_RANK, 10),
    "cancelled": Row("cancelled", TERMINAL_RANK, 11),
}

# Envelope events that carry an invoice. The service also sends quote.create, otp.create,
# payer_reminder and payer_requested (TYPES, as above); the platform has events of its own (DOCS,
# content/platform/utilities/events.md).
SERVICE = "service_payment_requests."
INVOICE_EVENTS = frozenset({"request.create", "request.update"})

# Ends at which a part of the money may have come.
UNPAID_ENDS = frozenset({"expired", "failed", "cancelled"})
# Statuses at which what was paid may differ from the quote.
UNEQUAL = UNPAID_ENDS | {"underpaid", "overpaid"}


SCHEME = Token(header="Authorization", word="Secret")

ABOUT = """
A static secret in `Authorization: Secret …`: it proves the sender, and nothing binds it to the body
or to a time. So use a long random one, serve it by TLS only, and know that whoever has it can send
anything. Rehive makes the secret optional; hookmill demands one.

Both documented shapes are taken, with and without the envelope. Over- and underpayment are computed
within the quote of the invoice's primary processor, in that quote's currency: never against the
amount that was requested, which may be in another. `underpaid` is not an end, the rest may still
come; `paid` and then `complete` are one success. The published sample is no valid JSON; a body like
it is kept and set aside as `unparseable_body`.
"""


class Rehive(Pack):
    """Rehive (rehive.com): invoices of its payment requests service."""

    name = "rehive"
    title = "Rehive"
    about = ABOUT
    sources = (
        f"{DOCS}/tree/3bfa84d/content/merchants",
        f"{DOCS}/blob/3bfa84d/content/platform/utilities/events.md",
        f"{TYPES}/blob/7473315/src/extensions/payment-requests/openapi-ts/types.gen.ts",
    )
    verifies = "The secret itself, as `Authorization: Secret …`; body and time are not signed."
    events: Mapping[str, str] = {  # as the base class has it
        word: f"payment.{row.status}" for word, row in STATUSES.items()
    }
    # The platform gives 5 s, takes 200, 201 and 202 for success, and sends up to 7 retries, each
    # later than the last "up to a max of 3600 seconds" (events.md). Whether invoices follow it is
    # not published, nor are the waits: those are ours.
    answer_deadline_secs = 4.0
    retry_delays_secs = (10, 60, 300, 900, 1800, 2700, 3600)
    success_statuses = frozenset({200, 201, 202})

    def scheme(self, options: Any) -> Scheme:
        """The secret itself, behind the word `Secret`."""
        return SCHEME

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """The one event: by the envelope's id, "shared between retries", else by what it says."""
        body = delivery.body
        try:
            fields = parse_object(body)
        except UnparseableBody:
            return (Item(body, body_hash(body)),)
        invoice = as_object(fields.get("data"))
        event_id = as_text(fields.get("id")) or _derived_id(invoice) or body_hash(body)
        word = as_text(fields.get("event")) or ""
        return (Item(body, event_id, word, as_text(invoice.get("id"))),)

    def normalize(
        self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]] = {}
    ) -> Draft:
        """The invoice's status in our words, with what was asked, paid, and the difference."""
        fields = parse_object(body)
        invoice = as_object(fields.get("data"))
        invoice_id, status = as_text(invoice.get("id")), as_text(invoice.get("status"))
        updated_us, occurred_at = _updated(invoice)
        own = ProviderEvent(
            id=as_text(fields.get("id")),
            type=as_text(fields.get("event")),
            status=status,
            amount=figure_text(invoice.get("request_amount")),
        )
        if not _is_about_an_invoice(fields.get("event")):
            # nothing more: otp.create may carry a one-time password
            return unrecognized(own, subject=invoice_id, occurred_at=occurred_at)
        links = Links(payment=invoice_id, order=as_text(invoice.get("request_reference")))
        metadata = as_object(invoice.get("metadata"))
        row = STATUSES.get(status or "")
        amount = _money(invoice.get("request_amount"), invoice.get("request_currency"))
        if row is None or invoice_id is None or amount is None:
            return unrecognized(
                own, subject=invoice_id, occurred_at=occurred_at, links=links, metadata=metadata
            )
        quote = _chosen_quote(invoice)
        return Draft(
            kind="payment",
            status=row.status,
            provider_event=own,
            changes=(Change("payment", invoice_id, row.status, row.rank, updated_us, row.row),),
            subject=invoice_id,
            occurred_at=occurred_at,
            amount=amount,
            amount_paid=_money(quote.get("total_paid"), quote.get("currency")),
            discrepancy=_discrepancy(status or "", quote),
            links=links,
            metadata=metadata,
        )


def _derived_id(invoice: dict[str, Any]) -> str | None:
    """`id:status:updated`, or None where `updated` is 0, as in the published sample, or absent."""
    invoice_id, status = as_text(invoice.get("id")), as_text(invoice.get("status"))
    updated_ms = whole_units(invoice.get("updated"))
    return f"{invoice_id}:{status}:{updated_ms}" if invoice_id and status and updated_ms else None


def _updated(invoice: dict[str, Any]) -> tuple[int, str | None]:
    """The invoice's last change in epoch microseconds and as a time; 0 and None if not given."""
    updated_us = (whole_units(invoice.get("updated")) or 0) * 1000
    text = from_epoch_us(updated_us) if updated_us else None
    return (updated_us if text else 0), text


def _is_about_an_invoice(event: Any) -> bool:
    if event is None or event == "":
        return True
    return isinstance(event, str) and event.removeprefix(SERVICE) in INVOICE_EVENTS


def _money(figure: Any, currency: Any) -> Money | None:
    """Whole units of a currency, which says itself how many digits are decimals (BTC: 8)."""
    said = as_object(currency)
    minor, code = whole_units(figure), as_text(said.get("code"))
    if minor is None or code is None:
        return None
    exponent = whole_units(said.get("divisibility"))
    return Money(str(minor), code, exponent if (exponent or 0) <= DIGITS_MAX else None)


def _chosen_quote(invoice: dict[str, Any]) -> dict[str, Any]:
    """The quote by which the invoice is paid, empty where that can't be told.

    It is that of the primary processor (DOCS, content/merchants/custom-integration/open-loop.md);
    where none or several are, the only quote there is, else the only one on which money came.
    """
    listed = invoice.get("payment_processor_quotes")
    quotes = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if len(quotes) < 2:
        return quotes[0] if quotes else {}
    primary = _primary_processor(invoice)
    candidates = [each for each in quotes if primary and _processor(each) == primary] or quotes
    if len(candidates) > 1:
        candidates = [each for each in candidates if whole_units(each.get("total_paid"))]
    return candidates[0] if len(candidates) == 1 else {}


def _primary_processor(invoice: dict[str, Any]) -> str | None:
    """The published sample spells the key with a capital, invoice.md and TYPES without."""
    for key in ("primary_payment_processor", "Primary_payment_processor"):
        named = invoice.get(key)
        name = as_text(as_object(named).get("unique_string_name")) or as_text(named)
        if name:
            return name
    return None


def _processor(quote: dict[str, Any]) -> str | None:
    return as_text(as_object(quote.get("payment_processor")).get("unique_string_name"))


def _discrepancy(status: str, quote: dict[str, Any]) -> Discrepancy | None:
    """How far what was paid is from the quote, in the quote's own currency.

    Never against `request_amount`, which may be in another one (DOCS,
    content/merchants/custom-integration/payment-quotes.md).
    """
    if status not in UNEQUAL:
        return None
    asked = _money(quote.get("amount"), quote.get("currency"))
    paid = whole_units(quote.get("total_paid"))
    if asked is None or paid is None or (status in UNPAID_ENDS and not paid):
        return None
    over = paid - int(asked.minor)
    if not over:
        return None
    return Discrepancy("over" if over > 0 else "under", replace(asked, minor=str(abs(over))))
