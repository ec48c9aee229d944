"""Shopify: what is told in headers that nobody signed, and the money in a refund's transactions."""

import decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Delivery, Item
from hookmill.providers.pack import Draft
from hookmill.providers.packs.shopify import PACK, refunded, total

ORDER = {"id": 820982911946154508, "financial_status": "paid", "test": False,
         "total_price": "388.00", "currency": "USD"}  # fmt: skip
ACTION = {"x-shopify-event-id": "98880550-7158-44d4-b7cd-2c97c8a091b5"}
FIGURES = st.decimals(min_value=0, max_value=10**12, places=3, allow_nan=False).map(str)


def identified(topic: str, body: dict[str, Any] = ORDER, **more: str) -> Item:
    """The event of a delivery, whose headers beside the topic are given."""
    headers = {"x-shopify-topic": topic, **{k.replace("_", "-"): v for k, v in more.items()}}
    delivery = Delivery(tuple(headers.items()), msgspec.json.encode(body), 0)
    (item,) = PACK.identify(delivery)
    return item


def drafted(topic: str, body: dict[str, Any] = ORDER, **more: str) -> Draft:
    """What that event becomes."""
    headers = {"x-shopify-topic": [topic], **{k.replace("_", "-"): [v] for k, v in more.items()}}
    return PACK.normalize(msgspec.json.encode(body), None, headers)


def transaction(amount: Any, status: str = "success", **more: Any) -> dict[str, Any]:
    """One of a refund's."""
    return {"kind": "refund", "status": status, "amount": amount, "currency": "USD", **more}


def refund(*transactions: dict[str, Any]) -> dict[str, Any]:
    """A refund of these."""
    return {"id": 509562969, "order_id": 450789469, "transactions": list(transactions)}


def money(shop: str, customer: str) -> dict[str, Any]:
    """An amount in the shop's currency and in the customer's."""
    return {
        "shop_money": {"amount": "5.00", "currency_code": shop},
        "presentment_money": {"amount": "5.00", "currency_code": customer},
    }


def test_two_subscriptions_of_a_topic_are_one_event() -> None:
    """Each delivery has an id of its own, the merchant's action has one."""
    one = identified("orders/paid", **ACTION, x_shopify_webhook_id="a")
    other = identified("orders/paid", **ACTION, x_shopify_webhook_id="b")

    assert one.event_id == other.event_id


def test_topics_of_one_action_are_different_events() -> None:
    """An order that is paid at once is created and paid by one action: neither is lost."""
    assert (
        identified("orders/create", **ACTION).event_id
        != identified("orders/paid", **ACTION).event_id
    )


def test_objects_of_one_action_are_different_events() -> None:
    """An action on several orders at once tells of each."""
    other = {**ORDER, "id": 450789469}

    assert (
        identified("orders/paid", **ACTION).event_id
        != identified("orders/paid", other, **ACTION).event_id
    )


@pytest.mark.parametrize("status", ["pending", "authorized", "partially_paid", "voided"])
def test_a_topic_that_the_body_contradicts_is_not_believed(status: str) -> None:
    """The topic stands in a header that is not signed."""
    draft = drafted("orders/paid", {**ORDER, "financial_status": status})

    assert (draft.kind, draft.status) == ("other", "unrecognized")


@pytest.mark.parametrize("topic", ["refunds/create", "disputes/update"])
def test_an_order_under_another_topic_is_nothing(topic: str) -> None:
    """What a refund and a dispute must say is not in it."""
    assert drafted(topic).kind == "other"


def test_a_header_makes_an_event_a_test_and_never_a_test_an_event() -> None:
    """As no header is signed."""
    test_order = {**ORDER, "test": True}

    assert drafted("orders/paid").mode == "live"
    assert drafted("orders/paid", x_shopify_test="true").mode == "test"
    assert drafted("orders/paid", test_order).mode == "test"
    assert drafted("orders/paid", test_order, x_shopify_test="false").mode == "test"


@given(st.lists(FIGURES, min_size=1, max_size=8))
def test_a_refunds_amounts_are_added_exactly(figures: list[str]) -> None:
    """As decimals are, with no digit lost and none made up."""
    with decimal.localcontext(prec=100):
        expected = sum(map(decimal.Decimal, figures), decimal.Decimal(0))

    assert total(figures) == f"{expected:f}"


@pytest.mark.parametrize("figure", [None, "", "-1.00", "1e2", "1,00", " 1.00", True, [], "٣"])
def test_what_is_no_figure_has_no_sum(figure: Any) -> None:
    """Beside one that is."""
    assert total(["1.00", figure]) is None


def test_whole_figures_have_no_decimals() -> None:
    """Yen, and a number that is no text."""
    assert total(["500", "20"]) == "520"
    assert total([500]) == "500"
    assert total([]) is None


def test_what_succeeded_is_what_was_refunded() -> None:
    """Beside a part that failed or is on its way; neither is added to it."""
    told = refunded(refund(transaction("5.00", "error"), transaction("3.00"),
                           transaction("2.00", "pending"), transaction("1.50")))  # fmt: skip

    assert told is not None
    assert (told["status"], told["amount"], told["currency"]) == ("success", "4.50", "USD")


def test_a_refund_without_money_is_none() -> None:
    """Items restocked, an authorization that was voided, a body that is no refund."""
    assert refunded(refund()) is None
    assert refunded(refund(transaction("5.00", kind="void"))) is None
    assert refunded(refund(transaction("5.00", "unheard_of"))) is None
    assert refunded({"transactions": [transaction("5.00")]}) is None
    assert refunded({"order_id": 1, "transactions": {"kind": "refund"}}) is None


def test_transactions_that_disagree_have_no_currency() -> None:
    """A sum of two currencies is none; where they are silent, the only one of the refund counts."""
    usd = {"subtotal_set": money("USD", "USD")}
    both = {"subtotal_set": money("USD", "CAD")}
    silent = refund(transaction("5.00", currency=None))

    def currency(fields: dict[str, Any]) -> Any:
        told = refunded(fields)
        return told and told["currency"]

    assert currency(refund(transaction("5.00"), transaction("1.00", currency="EUR"))) is None
    assert currency(refund(transaction("5.00"), transaction("1.00", currency=None))) is None
    assert currency(silent) is None
    assert currency({**silent, "refund_line_items": [usd, usd]}) == "USD"
    assert currency({**silent, "refund_line_items": [both]}) is None
