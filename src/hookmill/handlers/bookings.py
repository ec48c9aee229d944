"""What an event means for the books: pure, so that it can be read and tested by itself.

Several events of one resource may tell the same success (an invoice `paid`, then `complete`). So
an effect is booked once per resource, and only by how much the figure grew. Every booking is
double-entry: what it debits it credits, to the last digit. No provider of this release states its
fee in an event, so none is booked.
"""

from typing import Literal

import msgspec

from hookmill.core.event import Event
from hookmill.core.ids import bounded, resource_key
from hookmill.core.money import Money

RECEIVED, REFUNDED, PAID_OUT, PAID_BACK = "received", "refunded", "paid_out", "paid_back"

_PAID = frozenset({"succeeded", "overpaid"})
_EFFECTS = {
    ("refund", "succeeded"): (REFUNDED,),
    ("transfer", "succeeded"): (PAID_OUT,),
    ("transfer", "reversed"): (PAID_OUT, PAID_BACK),
}
"""What came back had gone out, though no provider may have told of it: so both are booked, and a
success that comes late finds its own booked."""

PROVIDER, PAYMENTS, REFUNDS, TRANSFERS = "provider", "payments", "refunds", "transfers"
"""The accounts, each of them once per endpoint, mode and currency."""

DEBITS_AND_CREDITS = {
    RECEIVED: (PROVIDER, PAYMENTS),
    REFUNDED: (REFUNDS, PROVIDER),
    PAID_OUT: (TRANSFERS, PROVIDER),
    PAID_BACK: (PROVIDER, TRANSFERS),
}
"""Which account an effect debits, and which it credits."""

Side = Literal["debit", "credit"]
NORMAL_SIDE: dict[str, Side] = {
    PROVIDER: "debit", PAYMENTS: "credit", REFUNDS: "debit", TRANSFERS: "debit",
}  # fmt: skip
"""The side on which an account grows: its balance is that side less the other."""


class Effect(msgspec.Struct, frozen=True):
    """What an event says of one resource's money so far; `figure` None where it is not said."""

    resource: str
    name: str
    figure: Money | None


class Booked(msgspec.Struct, frozen=True):
    """What has been booked of an effect so far; all None for an unknown sum."""

    minor: int | None = None
    currency: str | None = None
    exponent: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """One line of a booking; `amount` None where something moved and nobody says how much."""

    account: str
    side: Side
    amount: Money | None


class Booking(msgspec.Struct, frozen=True):
    """One balanced transaction: its entries, and what is booked of the effect after it."""

    entries: tuple[Entry, ...]
    booked: Booked


def effects_of(event: Event) -> tuple[Effect, ...]:
    """What the event says of money, in the order of booking; nothing where it says nothing."""
    if event.resource is None:
        return ()
    resource = storable(
        resource_key(event.endpoint, event.mode, event.resource.kind, event.resource.id).decode()
    )
    if event.kind == "payment":
        if event.amount_paid is not None:
            return (Effect(resource, RECEIVED, event.amount_paid),)
        return (Effect(resource, RECEIVED, event.amount),) if event.status in _PAID else ()
    if event.kind == "refund" and event.resource.id == event.links.payment:
        resource = f"{resource}|{event.id}"  # no id of its own: every such event is a refund itself
    names = _EFFECTS.get((event.kind, event.status), ())
    return tuple(Effect(resource, name, event.amount) for name in names)


def booking_for(effect: Effect, booked: Booked | None) -> Booking | None:
    """What to book, None where the books already have it.

    The first figure fixes the currency: the same success told again in another one is not booked
    again.
    """
    figure = effect.figure
    if figure is None:
        return _booking(effect.name, None, Booked()) if booked is None else None
    minor = int(figure.minor)
    if booked is None or booked.minor is None:
        unit = Booked(minor, storable(figure.currency), figure.exponent)
        increase = minor
    else:
        unit = Booked(minor, booked.currency, booked.exponent)
        increase = minor - booked.minor if _same_unit(figure, booked) else 0
    if increase <= 0 or unit.currency is None:
        return None
    return _booking(effect.name, Money(str(increase), unit.currency, unit.exponent), unit)


def resource_name(event: Event) -> str | None:
    """The resource's id as the ledger keeps it and as people ask for it; None without one."""
    return None if event.resource is None else ledger_name(event.resource.id)


def ledger_name(resource_id: str) -> str:
    """A provider's id as the ledger keeps it: `%` and `|` escaped, a very long one hashed."""
    return storable(bounded(resource_id))


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot keep."""
    return text.replace("\0", "%00")


def _booking(effect: str, amount: Money | None, booked: Booked) -> Booking:
    debited, credited = DEBITS_AND_CREDITS[effect]
    return Booking((Entry(debited, "debit", amount), Entry(credited, "credit", amount)), booked)


def _same_unit(figure: Money, booked: Booked) -> bool:
    """Whether the two can be compared; an exponent that nobody says contradicts none."""
    exponents = {figure.exponent, booked.exponent} - {None}
    return storable(figure.currency) == booked.currency and len(exponents) <= 1
