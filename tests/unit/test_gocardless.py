"""GoCardless: a bank may tell late that a payment failed, and deliveries come out of order."""

import itertools
from typing import Any

import msgspec
import pytest

from hookmill.core.resource import ResourceState, merge
from hookmill.providers.pack import Draft
from hookmill.providers.registry import PACKS

PACK = PACKS["gocardless"]
OPTIONS: Any = msgspec.convert({}, PACK.options)


def told(*actions: str) -> list[Draft]:
    """What GoCardless tells of one payment, a day after another; `failed!` will be tried again."""
    found = []
    for day, action in enumerate(actions, start=1):
        event = {
            "id": f"EV{day}", "created_at": f"2026-01-0{day}T09:13:51.404Z",
            "resource_type": "payments", "action": action.rstrip("!"), "links": {"payment": "PM1"},
            "details": {"will_attempt_retry": action.endswith("!")},
        }  # fmt: skip
        found.append(PACK.normalize(msgspec.json.encode({"events": [event]}), OPTIONS))
    return found


def ends(drafts: list[Draft]) -> set[tuple[str, bool]]:
    """Status and conflict of the one resource after each order of arrival."""
    numbered = list(enumerate(drafts))
    return {(end.status, end.conflict) for end in map(state, itertools.permutations(numbered))}


def state(drafts: tuple[tuple[int, Draft], ...]) -> ResourceState:
    """The state after they came in that order."""
    kept = None
    for number, each in drafts:
        kept = merge(kept, each.changes[0], f"event-{number}").state
    assert kept is not None
    return kept


@pytest.mark.parametrize(
    ("actions", "status", "conflict"),
    [
        (("created", "submitted", "confirmed", "paid_out"), "succeeded", False),
        (("submitted", "failed"), "failed", False),
        (("failed!", "resubmission_requested", "submitted", "confirmed"), "succeeded", False),
        (("confirmed", "failed"), "failed", True),
        (("confirmed", "paid_out", "failed", "late_failure_settled"), "failed", True),
        (("paid_out", "late_failure_settled"), "failed", True),
        (("failed", "resubmission_requested", "confirmed"), "succeeded", True),
        (("confirmed", "failed!"), "succeeded", False),
    ],
)
def test_a_payment_is_what_was_told_last_of_its_end(
    actions: tuple[str, ...], status: str, conflict: bool
) -> None:
    """In every order of arrival; a failure after a success is a conflict that a person must see."""
    assert ends(told(*actions)) == {(status, conflict)}


@pytest.mark.parametrize(
    ("actions", "status"),
    [
        (("charged_back",), "opened"),
        (("charged_back", "chargeback_settled"), "lost"),
        (("charged_back", "chargeback_cancelled"), "won"),
    ],
)
def test_a_chargeback_is_a_dispute_of_its_payment(actions: tuple[str, ...], status: str) -> None:
    """The bank has the money back until it cancels; the payment's own state is left alone."""
    drafts = told(*actions)

    assert {each.kind for each in drafts} == {"dispute"}
    assert ends(drafts) == {(status, False)}
