"""Coinbase Commerce: when a charge counts as paid, and what a redelivery has in common."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookmill.core.delivery import Delivery
from hookmill.core.resource import ResourceState, merge
from hookmill.providers.pack import Draft
from hookmill.providers.registry import PACKS

PACK = PACKS["coinbase"]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "coinbase"


def draft(name: str, **chosen: str) -> Draft:
    """What the body of that fixture becomes under these options."""
    options: Any = msgspec.convert(chosen, PACK.options)
    return PACK.normalize((FIXTURES / f"{name}.json").read_bytes(), options)


def state(drafts: tuple[Draft, ...]) -> ResourceState:
    """The charge after they came in that order."""
    kept = None
    for number, each in enumerate(drafts):
        kept = merge(kept, each.changes[0], f"event-{number}").state
    assert kept is not None
    return kept


@pytest.mark.parametrize("name", ["charge_pending", "charge_pending_without_price"])
def test_a_pending_charge_is_paid_only_where_the_endpoint_says_so(name: str) -> None:
    """Being confirmed is final, so that is the default."""
    assert draft(name).status == "pending"
    assert draft(name, paid_when="confirmed").status == "pending"
    assert draft(name, paid_when="pending").status == "succeeded"


@pytest.mark.parametrize("paid_when", ["confirmed", "pending"])
def test_a_charge_ends_alike_whatever_the_order_of_its_events(paid_when: str) -> None:
    """Created, pending, confirmed: one success, without a conflict."""
    names = ("charge_created", "charge_pending", "charge_confirmed")
    drafts = [draft(name, paid_when=paid_when) for name in names]

    ends = {(end.status, end.conflict) for end in map(state, itertools.permutations(drafts))}
    assert ends == {("succeeded", False)}


def test_a_charge_that_fails_after_it_counted_as_paid_is_in_conflict() -> None:
    """It is failed, in either order, and a person must look; else it is merely failed."""
    names = ("charge_pending", "charge_failed")
    early = [draft(name, paid_when="pending") for name in names]
    safe = [draft(name) for name in names]

    for order in itertools.permutations(early):
        assert (state(order).status, state(order).conflict) == ("failed", True)
    for order in itertools.permutations(safe):
        assert (state(order).status, state(order).conflict) == ("failed", False)


def test_a_redelivery_is_the_same_event_though_its_body_is_another() -> None:
    """The outer id, the attempt and the time are the delivery's own."""
    first, again = (
        (FIXTURES / f"{name}.json").read_bytes()
        for name in ("charge_confirmed", "charge_confirmed_redelivered")
    )
    [one], [other] = (PACK.identify(Delivery((), body, 0)) for body in (first, again))

    assert first != again
    assert (one.event_id, one.event_type, one.subject) == (
        other.event_id, other.event_type, other.subject,
    )  # fmt: skip
