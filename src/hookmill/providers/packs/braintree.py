"""Braintree: a form with a signed base64 of XML, and a challenge that the endpoint must answer.

The XML is read without entities or document types, into names with underscores, as Braintree's
own libraries read it. SDK = braintree/braintree_python.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.parsers import expat

from msgspec.structs import replace

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.parse import DEPTH_MAX, as_object, as_text
from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Answer, Draft, SignedRequest, Terms, unrecognized
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import form_values

SIGNATURE, PAYLOAD, CHALLENGE = "bt_signature", "bt_payload", "bt_challenge"
ENDINGS = ("", "\n")
"""What may stand behind the payload in what was signed (SDK, webhook_notification_gateway.py)."""

_PAYLOAD = re.compile(r"[A-Za-z0-9+/=\n]+")
_CHALLENGE = re.compile(r"[a-f0-9]{20,32}")
_PUBLIC_KEY = re.compile(r"[^\s|&,]+")


class Braintree(DeclaredPack):
    """The declaration, over the notification's XML and what is found in it: see `told_of`."""

    handshake_methods = frozenset({"GET"})

    def check_options(self, options: Any) -> None:
        """One public key, or several with commas between; raises ValueError."""
        if not all(_PUBLIC_KEY.fullmatch(key) for key in _public_keys(options)):
            raise ValueError(
                "public_key: the public key of the API key pair, as the control panel shows it; "
                "of two pairs both, with a comma between"
            )

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Signed is the payload, or the payload and a line's end, under a public key of ours.

        What the handshake would sign for anybody is no payload.
        """
        payloads = form_values(delivery.body.decode("latin-1"), PAYLOAD)
        if len(payloads) == 1 and (
            not _PAYLOAD.fullmatch(payloads[0]) or _CHALLENGE.fullmatch(payloads[0].strip())
        ):
            raise Refused(Reason.SIGNATURE_INVALID)
        scheme = self.scheme(terms.options)
        assert isinstance(scheme, Signed)
        refused = Refused(Reason.SIGNATURE_INVALID)
        for options in _of_each_key(terms.options):
            for ending in ENDINGS:
                tried = replace(scheme, signed=scheme.signed + ending)
                try:
                    return tried.verify(delivery, replace(terms, options=options))
                except Refused as error:
                    refused = error
        raise refused

    def handshake(self, delivery: Delivery, method: str, terms: Terms) -> Answer | None:
        """`publicKey|HMAC` of the challenge, by the first key pair; None without a challenge."""
        challenges = form_values(delivery.query, CHALLENGE)
        if not challenges or not terms.secrets:
            return None
        if len(challenges) > 1 or not _CHALLENGE.fullmatch(challenges[0]):
            raise Refused(Reason.MALFORMED_ENVELOPE)
        mac = hmac.digest(terms.secrets[0].key, challenges[0].encode(), "sha1")
        return Answer(body=f"{_public_keys(terms.options)[0]}|{mac.hex()}")

    def sign(
        self, body: bytes, *, secret: str, message_id: str, at_us: int, options: Any,
        headers: Mapping[str, str] = {},
    ) -> SignedRequest:  # fmt: skip
        """A form of the XML, or the form that the body is already, signed anew."""
        own = next(_of_each_key(options), options)
        return super().sign(_form(body), secret=secret, message_id=message_id, at_us=at_us,
                            options=own, headers=headers)  # fmt: skip

    def parse(self, body: bytes) -> Any:
        """The notification's fields, and `told_of` it. Raises UnparseableBody."""
        payloads = form_values(body.decode("latin-1"), PAYLOAD)
        if len(payloads) != 1 or not _PAYLOAD.fullmatch(payloads[0]):
            raise UnparseableBody(f"a form with one {PAYLOAD} of base64 is expected")
        try:
            raw = base64.b64decode(payloads[0].replace("\n", ""), validate=True)
        except binascii.Error as error:
            raise UnparseableBody(f"{PAYLOAD} is not base64: {error}") from None
        name, notification = xml_value(raw.strip())
        if name != "notification" or not isinstance(notification, dict):
            raise UnparseableBody(f"XML of '{name[:50]}', not of a notification")
        hashed = hashlib.sha256(raw.strip()).hexdigest()
        return {**notification, **told_of(as_object(notification.get("subject"))), "hash": hashed}

    def rest(self, draft: Draft, told: Told) -> Draft:
        """An amount may be left out or be without a currency; one that can't be read counts not."""
        rule = told.line.facts.shape.amount
        if draft.kind == "other" or draft.amount is not None or rule is None:
            return draft
        source = told.source
        if source.first_value(rule.figure) is None or source.first(rule.currency) is None:
            return draft
        return unrecognized(
            draft.provider_event, subject=draft.subject, occurred_at=draft.occurred_at,
            links=draft.links, failure=draft.failure, metadata=draft.metadata,
        )  # fmt: skip


def told_of(subject: dict[str, Any]) -> dict[str, Any]:
    """What the declaration sees beside the XML.

    `direction` of a transaction: `sale`; `refund`, a credit that names the payment; `credit`, one
    that names none. `disbursed`: the `amount` and `currency` that are paid out for it. `charge`:
    the transaction by which a subscription was charged. `local_payment`: whatever it is called.
    """
    transaction = as_object(subject.get("transaction"))
    direction = "sale"
    if transaction.get("type") == "credit":
        direction = "refund" if as_text(transaction.get("refunded_transaction_id")) else "credit"
    names = ("local_payment", "local_payment_funded", "local_payment_expired",
             "local_payment_reversed")  # fmt: skip
    local = next((subject[name] for name in names if isinstance(subject.get(name), dict)), None)
    return {
        "direction": direction,
        "disbursed": _disbursed(transaction),
        "charge": _charge(as_object(subject.get("subscription")).get("transactions")),
        "local_payment": local,
    }


def _disbursed(transaction: dict[str, Any]) -> dict[str, Any]:
    """The settled amount where its currency is said, else the transaction's."""
    details = as_object(transaction.get("disbursement_details"))
    amount, currency = details.get("settlement_amount"), details.get("settlement_currency_iso_code")
    if as_text(amount) and as_text(currency):
        return {"amount": amount, "currency": currency}
    return {
        "amount": transaction.get("amount"),
        "currency": transaction.get("currency_iso_code"),
    }


def _charge(transactions: object) -> dict[str, Any]:
    """The only transaction, else the one made last, if every one says when it was made."""
    listed = transactions if isinstance(transactions, list) else []
    found = [each for each in listed if isinstance(each, dict)]
    if len(found) == 1:
        return found[0]
    moments = [as_text(each.get("created_at")) or "" for each in found]
    if not found or not all(moments) or moments.count(max(moments)) > 1:
        return {}
    return found[moments.index(max(moments))]


class _Element:
    """An element that is being read: its attributes, its text, and its children so far."""

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name.replace("-", "_")
        self.attributes = attributes
        self.text: list[str] = []
        self.children: list[tuple[str, Any]] = []

    def value(self) -> Any:
        """A list, an object, None where nothing stands, a truth or a text (SDK, util/parser.py).

        No number is made of a text: an amount keeps its digits.
        """
        if self.attributes.get("type") == "array":
            return [value for _, value in self.children]
        if self.children:
            return dict(self.children)
        if self.attributes.get("nil") == "true":
            return None
        text = "".join(self.text).strip()
        if self.attributes.get("type") == "boolean":
            return text in ("true", "1")
        return text or None


def xml_value(raw: bytes) -> tuple[str, Any]:
    """The name and value of the outermost element, read as UTF-8; raises UnparseableBody.

    A document type is refused: without one there are no entities that could grow or lead outside.
    """
    around = _Element("", {})
    stack = [around]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > DEPTH_MAX:
            raise UnparseableBody(f"nested deeper than {DEPTH_MAX}")
        stack.append(_Element(name, attributes))

    def end(_: str) -> None:
        element = stack.pop()
        stack[-1].children.append((element.name, element.value()))

    def document_type(*_: object) -> None:
        raise UnparseableBody("XML with a document type")

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: stack[-1].text.append(text)
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise UnparseableBody(f"not XML: {error}") from None
    return around.children[0]


def _form(body: bytes) -> bytes:
    """The body as a form without a signature; XML is put into one, in lines as the SDK writes."""
    if form_values(body.decode("latin-1"), PAYLOAD):
        signature = f"{SIGNATURE}=".encode()
        return b"&".join(each for each in body.split(b"&") if not each.startswith(signature))
    return urlencode({PAYLOAD: base64.encodebytes(body).rstrip(b"\n")}).encode()


def _public_keys(options: Any) -> list[str]:
    """The endpoint's public keys, the first one first."""
    return [key.strip() for key in (getattr(options, "public_key", None) or "").split(",")]


def _of_each_key(options: Any) -> Iterator[Any]:
    """The options as if the endpoint had one public key, for each of them."""
    return (replace(options, public_key=key) for key in _public_keys(options) if key)


PACK = Braintree(read(Path(__file__).with_suffix(".toml")))
