"""Wise: its published signature verifies, its clock orders states, unsigned headers do no harm."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.core.resource import Change, ResourceState, merge
from hookmill.providers.pack import Draft, Terms
from hookmill.providers.registry import PACKS

PACK = PACKS["wise"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "wise"
[VECTOR] = json.loads((FIXTURES / "vectors.json").read_bytes())
BODY: bytes = VECTOR["body"].encode()
SIGNATURE: str = VECTOR["headers"]["x-signature-sha256"]


def judged(body: bytes, *headers: tuple[str, str], key: str = VECTOR["secret"]) -> Reason | None:
    """Why the pack refuses it, None if it takes it."""
    terms = Terms(secrets=[Secret("main", PACK.key(key))])
    try:
        PACK.verify(Delivery(headers, body, 0), terms)
    except Refused as error:
        return error.reason
    return None


def fixture(name: str) -> bytes:
    """The bytes of a fixture's body."""
    return (FIXTURES / f"{name}.json").read_bytes()


def drafted(name: str) -> Draft:
    """What a fixture becomes."""
    return PACK.normalize(fixture(name), None)


def identity(body: bytes, *headers: tuple[str, str]) -> str:
    """The id of the event in a delivery."""
    [item] = PACK.identify(Delivery(headers, body, 0))
    return item.event_id


def merged(changes: list[tuple[Change, str]]) -> ResourceState:
    """The state after the changes in that order of arrival."""
    state: ResourceState | None = None
    for change, event_id in changes:
        state = merge(state, change, event_id).state
    assert state is not None
    return state


def test_the_published_signature_is_taken_under_its_own_header_only() -> None:
    """Wise's example, by the key of its sandbox; a body that differs in a space is refused."""
    assert judged(BODY, ("x-signature-sha256", SIGNATURE)) is None
    assert judged(BODY, ("x-signature", SIGNATURE)) is Reason.SIGNATURE_MISSING
    assert judged(BODY + b" ", ("x-signature-sha256", SIGNATURE)) is Reason.SIGNATURE_INVALID


def test_another_digest_or_padding_is_no_signature() -> None:
    """Of the same key and the same body."""
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = own.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    made: list[tuple[Any, Any, Reason | None]] = [
        (padding.PKCS1v15(), hashes.SHA256(), None),
        (padding.PKCS1v15(), hashes.SHA1(), Reason.SIGNATURE_INVALID),
        (padding.PKCS1v15(), hashes.SHA512(), Reason.SIGNATURE_INVALID),
        (pss, hashes.SHA256(), Reason.SIGNATURE_INVALID),
    ]
    for scheme, digest, reason in made:
        text = base64.b64encode(own.sign(BODY, scheme, digest)).decode()
        assert judged(BODY, ("x-signature-sha256", text), key=pem.decode()) is reason


def test_attempts_and_subscriptions_tell_one_event() -> None:
    """The delivery's id, the subscription and the time of sending are no part of the identity."""
    other = json.loads(BODY)
    other["subscription_id"] = "00000000-0000-4000-8000-000000000000"
    other["sent_at"] = "2021-08-23T10:13:50Z"
    again = json.dumps(other).encode()

    assert identity(BODY, ("x-delivery-id", "a")) == identity(BODY, ("x-delivery-id", "b"))
    assert identity(BODY) == identity(again)


@pytest.mark.parametrize("place", ["id", "current_state", "occurred_at", "event_type"])
def test_another_transfer_state_time_or_type_is_another_event(place: str) -> None:
    """Each part of the identity counts."""
    other = json.loads(BODY)
    holder = {"id": other["data"]["resource"], "event_type": other}.get(place, other["data"])
    holder[place] = {"id": 1, "event_type": "transfers#refund"}.get(place, "x")

    assert identity(json.dumps(other).encode()) != identity(BODY)


def test_a_copy_with_the_trial_header_never_takes_the_place_of_the_event() -> None:
    """The header is not signed, so whoever has a body could add it."""
    trial = ("x-test-notification", "true")

    assert identity(BODY, trial) != identity(BODY)
    assert PACK.normalize(BODY, None, {trial[0]: [trial[1]]}).mode == "test"
    assert PACK.normalize(BODY, None).mode is None
    assert PACK.normalize(BODY, None, {trial[0]: ["yes"]}).status == "unrecognized"


def test_in_every_order_of_arrival_the_newest_state_stands() -> None:
    """Sent, bounced, processing again, cancelled, refunded: no end is in conflict with another."""
    names = ["outgoing_payment_sent", "bounced_back", "cancelled", "funds_refunded"]
    told = []
    for number, name in enumerate(names):
        body = fixture(f"state_{name}")
        told.append((PACK.normalize(body, None).changes[0], f"event {number}"))
    for arrived in itertools.permutations(told):
        state = merged(list(arrived))
        assert (state.status, state.conflict) == ("reversed", False)
    assert merged(told[:2]).status == merged(told[:2][::-1]).status == "pending"


def test_of_two_states_in_one_second_the_later_in_the_flow_stands() -> None:
    """Older versions of the events have whole seconds."""
    [one], [other] = drafted("state_funds_converted").changes, drafted("state_charged_back").changes

    assert one.time_us == other.time_us
    for pair in ([(one, "a"), (other, "b")], [(other, "b"), (one, "a")]):
        assert merged(pair).status == "failed"


def test_a_refund_and_its_change_of_state_are_one_reversal() -> None:
    """One resource and status, of which one event says the amount."""
    refund, state = drafted("refund"), drafted("state_funds_refunded")

    assert refund.changes[0].resource_id == state.changes[0].resource_id
    assert refund.changes[0].status == state.changes[0].status == "reversed"
    assert refund.subject == state.subject == drafted("payout_failure").subject
    assert state.amount is None
    assert refund.amount is not None
    assert refund.amount.minor == "500000"
