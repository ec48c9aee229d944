"""Adyen: what an endpoint says of its captures, and a delivery of several items."""

import itertools
from typing import Any

import msgspec
import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.core.resource import ResourceState, merge
from hookmill.providers.pack import Draft, Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["adyen"]
SECRET = PACK.example_secret("test")
AT_US = 1_763_888_400_000_000


def options(**chosen: str) -> Any:
    """The endpoint's options, checked as its configuration is."""
    return msgspec.convert(chosen, PACK.options)


def item(code: str, reference: str, **more: Any) -> dict[str, Any]:
    """A NotificationRequestItem; its payment is `PAYMENT`."""
    original = {} if reference == "PAYMENT" else {"originalReference": "PAYMENT"}
    return {
        "pspReference": reference, "eventCode": code, "success": "true", "merchantReference": "O-1",
        "merchantAccountCode": "Shop", "amount": {"value": 1000, "currency": "EUR"},
        **original, **more,
    }  # fmt: skip


def signed(*items: dict[str, Any]) -> bytes:
    """A delivery of these items, each signed."""
    wrapped = [{"NotificationRequestItem": each} for each in items]
    body = msgspec.json.encode({"live": "true", "notificationItems": wrapped})
    return PACK.sign(body, secret=SECRET, message_id="m", at_us=AT_US, options=options()).body


def drafts(body: bytes, **chosen: str) -> list[Draft]:
    """What the items of a delivery become."""
    delivery = Delivery((), body, AT_US)
    return [
        PACK.normalize(each.body, options(**chosen))
        for each in PACK.identify(delivery, options(**chosen))
    ]


def types(found: list[Draft]) -> list[str]:
    """Their types."""
    return [f"{each.kind}.{each.status}" for each in found]


def state(found: tuple[Draft, ...]) -> ResourceState:
    """The state of their one resource after they came in that order."""
    kept = None
    for number, each in enumerate(found):
        kept = merge(kept, each.changes[0], f"event-{number}").state
    assert kept is not None
    return kept


def test_an_authorisation_is_no_success_unless_captures_are_automatic() -> None:
    """The safe choice is the default: nothing is told as paid that may never be captured."""
    body = signed(item("AUTHORISATION", "PAYMENT"))

    assert types(drafts(body)) == ["payment.authorized"]
    assert types(drafts(body, capture="several")) == ["payment.authorized"]
    assert types(drafts(body, capture="automatic")) == ["payment.succeeded"]


def test_several_captures_are_payments_of_their_own_where_the_endpoint_says_so() -> None:
    """Else they are one payment, as in an account that captures once."""
    body = signed(item("CAPTURE", "PART-1"), item("CAPTURE", "PART-2"))

    once = drafts(body)
    apart = drafts(body, capture="several")
    assert types(once) == types(apart) == ["payment.succeeded"] * 2
    assert [each.changes[0].resource_id for each in once] == ["PAYMENT", "PAYMENT"]
    assert [each.changes[0].resource_id for each in apart] == ["PART-1", "PART-2"]
    assert {each.links.payment for each in apart} == {"PAYMENT"}
    assert {each.subject for each in apart} == {"PAYMENT"}


def test_a_payment_ends_alike_whatever_the_order_of_its_events() -> None:
    """Refused, authorised, a capture that was not possible, captured, the rest expired."""
    bodies = [
        signed(item("AUTHORISATION", "PAYMENT", success="false")),
        signed(item("AUTHORISATION", "PAYMENT")),
        signed(item("CAPTURE", "CAPTURE-1", success="false")),
        signed(item("CAPTURE", "CAPTURE-2")),
        signed(item("EXPIRE", "EXPIRY")),
    ]
    read = [drafts(body)[0] for body in bodies]

    ends = {(end.status, end.conflict) for end in map(state, itertools.permutations(read))}
    assert ends == {("succeeded", False)}


@pytest.mark.parametrize("after", ["REFUND_FAILED", "REFUNDED_REVERSED"])
def test_a_refund_that_the_scheme_gives_back_is_failed_and_in_conflict(after: str) -> None:
    """In either order: it was told as done, so a person must look."""
    [done] = drafts(signed(item("REFUND", "REFUND-1")))
    [failed] = drafts(signed(item(after, "REFUND-1", reason="Refund Failed")))

    for order in ((done, failed), (failed, done)):
        assert (state(order).status, state(order).conflict) == ("failed", True)
    assert failed.failure is not None
    assert failed.failure.message == "Refund Failed"


def test_a_dispute_is_where_it_came_furthest() -> None:
    """A reversed chargeback is not the end; pre-arbitration is."""
    codes = ["NOTIFICATION_OF_CHARGEBACK", "CHARGEBACK", "CHARGEBACK_REVERSED",
             "SECOND_CHARGEBACK", "PREARBITRATION_WON"]  # fmt: skip
    read = [drafts(signed(item(code, "DISPUTE")))[0] for code in codes]

    assert [state(tuple(read[:so_far])).status for so_far in range(1, 6)] == [
        "opened", "opened", "won", "lost", "won",
    ]  # fmt: skip
    ends = {(end.status, end.conflict) for end in map(state, itertools.permutations(read))}
    assert ends == {("won", False)}


def test_a_stage_told_again_with_another_status_is_another_event() -> None:
    """A request for information is unresponded, then responded, by the same code."""
    first, second = (
        PACK.identify(Delivery((), signed(item(
            "REQUEST_FOR_INFORMATION", "DISPUTE", additionalData={"disputeStatus": status}
        )), AT_US), options())[0].event_id
        for status in ("Unresponded", "Responded")
    )  # fmt: skip

    assert first != second


def test_one_item_that_is_not_authentic_refuses_the_delivery() -> None:
    """Whichever it is: an item without a signature, or one that was altered after it."""
    terms = Terms(secrets=[Secret("main", PACK.key(SECRET))], tolerance_secs=None,
                  options=options())  # fmt: skip
    body = signed(item("CAPTURE", "FIRST"), item("CAPTURE", "SECOND"))
    PACK.verify(Delivery((), body, AT_US), terms)

    for altered, reason in (
        (body.replace(b"FIRST", b"OTHER"), Reason.SIGNATURE_INVALID),
        (body.replace(b"SECOND", b"OTHERS"), Reason.SIGNATURE_INVALID),
        (_without_last_signature(body), Reason.SIGNATURE_MISSING),
    ):
        with pytest.raises(Refused) as refused:
            PACK.verify(Delivery((), altered, AT_US), terms)
        assert refused.value.reason == reason


def _without_last_signature(body: bytes) -> bytes:
    value = msgspec.json.decode(body)
    del value["notificationItems"][-1]["NotificationRequestItem"]["additionalData"]
    return msgspec.json.encode(value)
