"""Shopify: a refund's money is in its transactions, and the event's own id in a header.

`parse` adds `refunded` to a body: what the transactions of a refund gave back, added up exactly.
Facts: https://shopify.dev/docs/api/admin-graphql/2025-04/objects/Refund, and the bodies in
Shopify/shopify-api-ruby, test/rest/2025_01/refund_test.rb.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from hookmill.core.parse import as_object, as_text, figure_text
from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Draft

STATUSES = {"success": ("success",), "pending": ("pending",), "failure": ("failure", "error")}
"""A refund's status to those of its transactions: the first that any of them has counts."""

_FIGURE = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?")


class Shopify(DeclaredPack):
    """Shopify by its declaration, and what that cannot say of refunds and headers."""

    def parse(self, body: bytes) -> Any:
        """The body with `refunded`, null for what is no refund; raises UnparseableBody."""
        fields = super().parse(body)
        return {**fields, "refunded": refunded(fields)}

    def rest(self, draft: Draft, told: Told) -> Draft:
        """The merchant's event as the provider's id; what the admin's test button sends is a test.

        No header is signed, so that one can make an event a test, and never a test an event.
        """
        own_id = told.source.text("header:x-shopify-event-id")
        draft = replace(draft, provider_event=replace(draft.provider_event, id=own_id))
        pressed = told.source.text("header:x-shopify-test") == "true"
        return replace(draft, mode="test") if pressed else draft


def refunded(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Status, amount and currency of what a refund gave back; None where no money is in it.

    Where a part succeeded it is what succeeded. `amount` is None where a figure is none, and
    `currency` where the transactions do not agree.
    """
    transactions = fields.get("transactions")
    if "order_id" not in fields or not isinstance(transactions, list):
        return None
    refunds = [each for each in map(as_object, transactions) if each.get("kind") == "refund"]
    for status, words in STATUSES.items():
        chosen = [each for each in refunds if each.get("status") in words]
        if chosen:
            return {
                "status": status,
                "amount": total([each.get("amount") for each in chosen]),
                "currency": _currency(chosen, fields),
                "test": _test(chosen),
                **({} if status == "success" else _why(chosen[0])),
            }
    return None


def total(figures: Sequence[Any]) -> str | None:
    """The sum of decimal figures as text, with as many decimals as the longest has; exact."""
    matches = [_FIGURE.fullmatch(figure_text(each) or "") for each in figures]
    parts = [(match[1], match[2] or "") for match in matches if match]
    if not parts or len(parts) < len(figures):
        return None
    places = max(len(decimals) for _, decimals in parts)
    units = sum(int(whole + decimals.ljust(places, "0")) for whole, decimals in parts)
    digits = str(units).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _currency(chosen: list[dict[str, Any]], fields: dict[str, Any]) -> str | None:
    """That of all transactions; where none says it, the only one that the refund has at all."""
    codes = {as_text(each.get("currency")) for each in chosen}
    if codes == {None}:
        codes = set(_codes(fields))
    return codes.pop() if len(codes) == 1 else None


def _codes(fields: dict[str, Any]) -> list[str | None]:
    """The currencies of the amounts beside the transactions, the shop's and the customer's."""
    lines = fields.get("refund_line_items")
    bags = [
        as_object(fields.get("total_duties_set")),
        *(as_object(as_object(each).get("subtotal_set"))
          for each in (lines if isinstance(lines, list) else ())),
    ]  # fmt: skip
    return [as_text(as_object(money).get("currency_code")) for bag in bags
            for money in bag.values()]  # fmt: skip


def _test(chosen: list[dict[str, Any]]) -> bool | None:
    """Whether one of them is a test, None where none says it."""
    said = [each["test"] for each in chosen if isinstance(each.get("test"), bool)]
    return any(said) if said else None


def _why(transaction: dict[str, Any]) -> dict[str, Any]:
    return {name: transaction.get(name) for name in ("error_code", "message")}


PACK = Shopify(read(Path(__file__).with_suffix(".toml")))
