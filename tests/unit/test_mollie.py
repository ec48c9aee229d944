"""Mollie: two signatures in a rotation, classic calls that all look alike, links that are paid."""

import json

import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.pack import Options, Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["mollie"]
AT_US = 1_790_000_000_000_000
BODY = b'{"resource":"event","id":"event_1","type":"payment.paid","entityId":"tr_1"}'
CLASSIC = PACK.options(variant="classic")  # type: ignore[call-arg]  # made of the declaration


def signature(secret: str, body: bytes = BODY) -> str:
    """The header as Mollie sends it."""
    request = PACK.sign(body, secret=secret, message_id="m", at_us=AT_US, options=None)
    return request.headers["x-mollie-signature"]


def taken_by(headers: list[str], secrets: list[str]) -> str | Reason:
    """The name of the secret that a delivery with those headers is put down to, or the refusal."""
    delivery = Delivery(tuple(("x-mollie-signature", each) for each in headers), BODY, AT_US)
    terms = Terms(secrets=[Secret(each, PACK.key(each)) for each in secrets])
    try:
        return PACK.verify(delivery, terms).name
    except Refused as error:
        return error.reason


def link_paid(payload: dict[str, object], options: Options | None) -> tuple[str, str | None]:
    """What a paid link becomes, and its amount."""
    draft = PACK.normalize(json.dumps(payload).encode(), options)
    return f"{draft.kind}.{draft.status}", draft.amount and draft.amount.minor


def test_in_a_rotation_either_of_two_headers_is_enough() -> None:
    """For 24 hours each event has a header for each secret; we may know only one of them."""
    both = [signature("new"), signature("old")]

    assert taken_by(both, ["old"]) == "old"
    assert taken_by(both, ["new"]) == "new"
    assert taken_by([*both, "sha256=00"], ["new"]) == "new"
    assert taken_by(both, ["another"]) == Reason.SIGNATURE_INVALID


def test_without_the_header_nothing_is_taken() -> None:
    """Mollie's library returns false there, as for a classic call; here it is a refusal."""
    assert taken_by([], ["new"]) == Reason.SIGNATURE_MISSING


def test_each_classic_call_is_an_event_of_its_own() -> None:
    """Paid, then refunded: both say the same, and neither may be lost as a duplicate."""
    calls = [
        Delivery((), b"id=tr_5B8cwPMGnU6qLbRvo7qEZo", AT_US + later_us)
        for later_us in (0, 0, 60_000_000)
    ]
    ids = [PACK.identify(each, CLASSIC)[0].event_id for each in calls]

    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("body", [b"id=", b"id=a&id=b", b"id=tr_1&status=paid", b"id=tr_1\n"])
def test_a_classic_call_says_an_id_and_nothing_else(body: bytes) -> None:
    """Anything else is set aside, under a name that is the same again."""
    one, other = (PACK.identify(Delivery((), body, at_us), CLASSIC) for at_us in (0, AT_US))

    assert one == other
    assert one[0].event_type == ""


def test_a_paid_link_is_a_payment_only_where_the_endpoint_says_so() -> None:
    """Else its payment, which comes as payment.paid, would be counted twice."""
    link = {
        "resource": "payment-link",
        "id": "pl_1",
        "amount": {"value": "24.95", "currency": "EUR"},
    }
    event = {"resource": "event", "id": "event_1", "type": "payment-link.paid", "entityId": "pl_1",
             "_embedded": {"payment-link": link}}  # fmt: skip
    payment = PACK.options(payment_links="payment")  # type: ignore[call-arg]

    assert link_paid(event, PACK.options()) == ("other.notified", None)
    assert link_paid(event, payment) == ("payment.succeeded", "2495")
    changes = [
        PACK.normalize(json.dumps({**event, "id": name}).encode(), payment).changes[0].resource_id
        for name in ("event_1", "event_2")
    ]
    assert len(set(changes)) == 2
