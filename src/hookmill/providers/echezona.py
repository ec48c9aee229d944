"""Echezona (PayBridge): event words from two sources that differ, and a signature you describe.

The docs tell you to check "the signature provided in the webhook headers" and stop there: no
header, no algorithm, no encoding is published. So the endpoint's options must say them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hookmill.core.delivery import Delivery, Item, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.event import Kind, Links, ProviderEvent
from hookmill.core.ids import body_hash
from hookmill.core.money import Money
from hookmill.core.parse import as_object, as_text, figure_text, parse_object
from hookmill.core.resource import REPEATED_RANK, TERMINAL_RANK, Change
from hookmill.providers.amounts import shifted
from hookmill.providers.pack import Draft, Options, Pack, Terms, unrecognized
from hookmill.providers.schemes.mac import Algorithm, Hmac
from hookmill.providers.schemes.scheme import HEADER_NAME, Place, Scheme

DOCS = "https://docs.echezona.com/docs/guide/integrations/webhooks"
PLUGIN = "https://github.com/Echezona-Payments/echezona-woo-plugin"
PLUGIN_HEADER = "x-echezona-signature"


class Row(NamedTuple):
    """What an event becomes; `end` is the word class that its `data.status` may not contradict."""

    kind: Kind
    status: str
    end: Literal["done", "failed"]
    row: int


# The docs' five events, "some common webhook events", so the list is open. The official plugin
# (includes/class-wc-echepay-gateway-for-woocommerce-gateway.php) waits for charge.* instead of
# payment.*: both are taken, and both names for one transaction are one payment.
EVENTS: dict[str, Row] = {
    "payment.success": Row("payment", "succeeded", "done", 1),
    "charge.success": Row("payment", "succeeded", "done", 1),
    "payment.failed": Row("payment", "failed", "failed", 2),
    "charge.failed": Row("payment", "failed", "failed", 2),
    "refund.processed": Row("refund", "succeeded", "done", 3),
    "transfer.success": Row("transfer", "succeeded", "done", 4),
    "subscription.renew": Row("subscription", "renewed", "done", 5),
}
# May come several times for one transaction (two partial refunds): the body tells them apart.
REPEATABLE = frozenset({"refund.processed", "subscription.renew"})

# `data.status` is documented as "success" only. The event decides; a word that plainly says the
# opposite stops us from believing either.
STATUS_WORDS: dict[str, str] = {
    **dict.fromkeys(("success", "successful", "succeeded", "completed", "paid", "approved",
                     "processed"), "done"),
    **dict.fromkeys(("failed", "failure", "fail", "error", "declined", "rejected", "cancelled",
                     "canceled", "abandoned", "expired", "reversed"), "failed"),
    **dict.fromkeys(("pending", "processing", "initiated", "created"), "open"),
}  # fmt: skip

# The currencies of the plugin's readme.txt, with ISO 4217's decimals.
DECIMALS = {"NGN": 2, "USD": 2, "GBP": 2, "EUR": 2, "GHS": 2, "KES": 2, "ZAR": 2, "UGX": 0}

HASHES: dict[str, Algorithm] = {
    "hmac-sha256": "sha256",
    "hmac-sha384": "sha384",
    "hmac-sha512": "sha512",
}


class EchezonaOptions(Options, frozen=True, kw_only=True):
    """The signature scheme, which Echezona does not publish, and how to read an amount."""

    header: str | None = None
    """The request header with the signature; the official plugin reads X-Echezona-Signature."""
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] | None = None
    encoding: Literal["hex", "base64"] | None = None
    prefix: str = ""
    """What stands before the signature in the header, such as `sha256=`."""
    signed: str = "{body}"
    """What is signed: `body`, or a template such as `{timestamp}.{body}`."""
    timestamp_header: str | None = None
    """The header with the time in whole seconds, where the template has `{timestamp}`."""
    amount_unit: Literal["minor", "major"] | None = None
    """How to read `amount`: docs and plugin contradict each other. Left out: not at all."""


ABOUT = """
Echezona publishes no signature scheme: neither header nor algorithm nor encoding. So the endpoint
says them, and does not start without. Ask Echezona, or read them off a real delivery.

Its pages and its own plugin contradict each other on the amount's unit, so the amount is null until
`amount_unit` says how to read it; the raw figure is in `provider_event.amount`. A payment and its
refund share one transaction id. Two partial refunds are two events, told apart by their bodies, but
one resource, because no refund id is published; the ledger books each of them. As the resource's
state knows one refund only, one of the two is marked `late`.
"""

SETUP = """
[endpoints.naira]
provider = "echezona"
secrets = [{ name = "main", env = "ECHEZONA_SECRET" }]

[endpoints.naira.options]
header = "x-echezona-signature"
algorithm = "hmac-sha512"   # or hmac-sha256, hmac-sha384
encoding = "hex"            # or base64
# prefix = "sha512="
# signed = "{timestamp}.{body}"       default: the body
# timestamp_header = "x-timestamp"
# amount_unit = "minor"               or "major"; left out: amounts stay null
"""


class Echezona(Pack):
    """Echezona, also PayBridge: cards and transfers in Nigeria."""

    name = "echezona"
    title = "Echezona"
    about = ABOUT
    setup = SETUP
    sources = (DOCS, PLUGIN)
    verifies = (
        "An HMAC of the body in a header, by the scheme that the endpoint's options describe."
    )
    events: Mapping[str, str] = {  # as the base class has it
        word: f"{row.kind}.{row.status}" for word, row in EVENTS.items()
    }
    options = EchezonaOptions
    example_options: Mapping[str, Any] = {
        "header": PLUGIN_HEADER,
        "algorithm": "hmac-sha512",
        "encoding": "hex",
    }
    # "may result in retries" is all that is published: this schedule is ours.
    retry_delays_secs = (60, 300, 1800, 7200, 21600)

    def scheme(self, options: Any) -> Scheme:
        """What the options describe; without them, something to name keys by."""
        if not _described(options):
            return Hmac(signature=Place(header=PLUGIN_HEADER), key_form="standard")
        timed = options.timestamp_header
        return Hmac(
            signature=Place(
                header=options.header, encoding=options.encoding, prefix=options.prefix
            ),
            algorithm=HASHES[options.algorithm],
            key_form="standard",
            signed="".join(_expression(part, options) for part in _template(options.signed)),
            time=f"header:{timed}" if timed else "",
        )

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that signed what the template names; raise Refused if none did."""
        if not _described(terms.options):
            raise Refused(Reason.SIGNATURE_INVALID)  # never accept what nobody described
        return super().verify(delivery, terms)

    def check_options(self, options: Any) -> None:
        """Raise ValueError that says what to set, and why, unless the scheme is complete."""
        missing = [name for name in ("header", "algorithm", "encoding")
                   if not getattr(options, name)]  # fmt: skip
        if missing:
            raise ValueError(
                f"set {', '.join(missing)}. Echezona publishes no signature scheme and hookmill "
                "guesses none: ask their support how your webhooks are signed, then write, for "
                'example, options = { header = "x-echezona-signature", '
                'algorithm = "hmac-sha512", encoding = "hex" }'
            )
        for name in ("header", "timestamp_header"):
            value = getattr(options, name)
            if value is not None and not HEADER_NAME.fullmatch(value):
                raise ValueError(f"{name}: '{value}' is no name of a header")
        _check_template(options)

    def identify(self, delivery: Delivery, options: Any = None) -> tuple[Item, ...]:
        """The one event. Echezona gives no id: it is made of the event and the transaction."""
        body = delivery.body
        try:
            fields = parse_object(body)
        except UnparseableBody:
            return (Item(body, body_hash(body)),)
        event, reference = as_text(fields.get("event")), _reference(as_object(fields.get("data")))
        if event is None or reference is None:
            return (Item(body, body_hash(body), event or "", reference),)
        tail = f":{body_hash(body)}" if event in REPEATABLE else ""
        return (Item(body, f"{event}:{reference}{tail}", event, reference),)

    def normalize(
        self, body: bytes, options: Any, headers: Mapping[str, Sequence[str]] = {}
    ) -> Draft:
        """The event in our words; unknown events and contradictions are kept as unrecognized."""
        fields = parse_object(body)
        data = as_object(fields.get("data"))
        event, reference = as_text(fields.get("event")), _reference(data)
        metadata = as_object(data.get("metadata"))
        transfer = event is not None and event.startswith("transfer.")
        own = ProviderEvent(
            type=event,
            status=as_text(data.get("status")),
            amount=figure_text(data.get("amount")),
        )
        links = Links(
            payment=None if transfer else reference, order=as_text(metadata.get("order_id"))
        )
        row = EVENTS.get(event or "")
        if row is None or reference is None or _contradicts(row, data.get("status")):
            return unrecognized(own, subject=reference, links=links, metadata=metadata)
        rank = REPEATED_RANK if row.kind == "subscription" else TERMINAL_RANK
        return Draft(
            kind=row.kind,
            status=row.status,
            provider_event=own,
            changes=(Change(row.kind, reference, row.status, rank, row=row.row),),
            subject=reference,
            amount=_money(data, getattr(options, "amount_unit", None)),
            links=links,
            metadata=metadata,
        )


_PLACEHOLDER = re.compile(r"(\{body\}|\{timestamp\})")


def _described(options: Any) -> bool:
    return bool(options and options.header and options.algorithm and options.encoding)


def _template(signed: str) -> list[str]:
    return _PLACEHOLDER.split("{body}" if signed == "body" else signed)


def _check_template(options: EchezonaOptions) -> None:
    parts = _template(options.signed)
    if parts.count("{body}") != 1 or parts.count("{timestamp}") > 1:
        raise ValueError(
            'signed: "body", or a template with {body} once and {timestamp} at most once, '
            'such as "{timestamp}.{body}"'
        )
    if any("{" in text or "}" in text for text in parts[::2]):
        raise ValueError("signed: only {body} and {timestamp} can stand in braces")
    if "{timestamp}" in parts and not options.timestamp_header:
        raise ValueError("timestamp_header: name the header that carries the signed {timestamp}")
    if options.timestamp_header and "{timestamp}" not in parts:
        raise ValueError(
            "timestamp_header: a time that is not signed proves nothing; "
            "put {timestamp} into `signed` or leave the header out"
        )


def _expression(part: str, options: EchezonaOptions) -> str:
    """A piece of the template in the words of the schemes."""
    match part:
        case "{timestamp}":
            return f"{{header:{options.timestamp_header}}}"
        case "{body}" | "":
            return part
        case _:
            return f"{{={part}}}"


def _reference(data: dict[str, Any]) -> str | None:
    """The transaction: `transaction_id` in the docs, `reference` in the plugin."""
    return as_text(data.get("transaction_id")) or as_text(data.get("reference"))


def _contradicts(row: Row, status: Any) -> bool:
    if status is None:
        return False
    word = as_text(status)
    return word is None or STATUS_WORDS.get(word.lower(), row.end) != row.end


def _money(data: dict[str, Any], unit: str | None) -> Money | None:
    """The amount, exactly; None without a unit, a known currency or a whole minor figure."""
    if unit is None:
        return None
    currency = (as_text(data.get("currency")) or "").upper()
    if currency not in DECIMALS:
        return None
    decimals = DECIMALS[currency]
    minor = shifted(data.get("amount"), decimals if unit == "major" else 0)
    return None if minor is None else Money(str(minor), currency, decimals)
