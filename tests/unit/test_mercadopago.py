"""Mercado Pago: both spellings of an id, and a body that is not signed and so not believed."""

import json

import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["mercadopago"]
SECRET = "your_secret_key_here"
AT_US = 1_742_505_638_683_000
ORDER = "ORD01JQ4S4KY8HWQ6NA5PXB65B3D3"
BODY = json.dumps({"id": "1", "type": "order", "action": "order.processed", "data": {"id": ORDER}})


def refusal(
    body: str = BODY, *, query: str = "", later_secs: int = 0, tolerance_secs: int | None = None
) -> Reason | None:
    """Why a notification is refused that was signed for BODY, None if it is taken."""
    request = PACK.sign(BODY.encode(), secret=SECRET, message_id="m", at_us=AT_US, options=None)
    headers = tuple(request.headers.items())
    received_us = AT_US + later_secs * 1_000_000
    delivery = Delivery(headers, body.encode(), received_us, query or request.query)
    terms = Terms(secrets=[Secret("main", PACK.key(SECRET))], tolerance_secs=tolerance_secs)
    try:
        PACK.verify(delivery, terms)
    except Refused as error:
        return error.reason
    return None


@pytest.mark.parametrize("spelt", [ORDER, ORDER.lower(), ORDER.capitalize()])
def test_the_address_may_spell_the_signed_id_either_way(spelt: str) -> None:
    """The pages sign it in lower case, whatever stands in the address."""
    assert refusal(query=f"data.id={spelt}&type=order") is None


def test_another_id_in_the_address_is_refused() -> None:
    """Also one that differs in a letter's case and in more."""
    assert refusal(query=f"data.id={ORDER}0&type=order") == Reason.SIGNATURE_INVALID
    assert refusal(query="type=order") == Reason.SIGNATURE_INVALID
    assert refusal(query=f"data.id={ORDER}&data.id={ORDER}") == Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BODY.replace(ORDER, "ORD9"), Reason.SIGNATURE_INVALID),
        (BODY.replace(f'"{ORDER}"', "7"), Reason.SIGNATURE_INVALID),
        (BODY.replace(ORDER, ORDER.lower()), None),
        (BODY.replace("processed", "refunded"), None),
        ("{}", None),
        ("no json", None),
    ],
)
def test_a_body_must_not_name_another_object_than_the_signed_one(
    body: str, reason: Reason | None
) -> None:
    """Nothing else in it can be checked; that is why nothing else is made of it."""
    assert refusal(body) == reason


def test_a_body_that_claims_success_is_a_notification_all_the_same() -> None:
    """Whoever has one signature could write it."""
    claimed = BODY.replace("}}", ',"status":"processed","total_paid_amount":"999999.00"}}')
    draft = PACK.normalize(claimed.encode(), PACK.options())

    assert (draft.kind, draft.status) == ("other", "notified")
    assert draft.amount is None
    assert draft.changes == ()
    assert draft.links.order == ORDER


def test_the_time_is_judged_where_the_endpoint_says_so() -> None:
    """In milliseconds, both ways."""
    assert refusal(later_secs=86_400) is None
    assert refusal(later_secs=300, tolerance_secs=300) is None
    assert refusal(later_secs=301, tolerance_secs=300) == Reason.TIMESTAMP_OUT_OF_TOLERANCE
    assert refusal(later_secs=-301, tolerance_secs=300) == Reason.TIMESTAMP_OUT_OF_TOLERANCE


@pytest.mark.parametrize(("live", "mode"), [(True, "live"), (False, "test"), ("yes", None)])
def test_live_mode_is_believed_only_on_request(live: object, mode: str | None) -> None:
    """The page says that it is about the address."""
    body = json.dumps({**json.loads(BODY), "live_mode": live}).encode()
    believing = PACK.options(live_mode="mode")  # type: ignore[call-arg]  # made of the declaration

    assert PACK.normalize(body, PACK.options()).mode is None
    assert PACK.normalize(body, believing).mode == mode


def test_simulated_notifications_with_one_id_are_told_apart() -> None:
    """The dashboard sends `123456` each time; a redelivery is the same in every part."""
    bodies = [
        {"id": "123456", "type": "payment", "action": f"payment.{action}", "data": {"id": data}}
        for action, data in (("created", "1"), ("updated", "1"), ("updated", "2"), ("updated", "2"))
    ]
    ids = [
        PACK.identify(Delivery((), json.dumps(each).encode(), AT_US + number))[0].event_id
        for number, each in enumerate(bodies)
    ]

    assert len(set(ids)) == 3
    assert ids[2] == ids[3]
