"""What an event means for the books: pure, so that it can be read and tested by itself.

Several events of one resource may tell the same success (an invoice `paid`, then `complete`). So
an effect is booked once per resource, and only by how much the figure grew.
"""

import msgspec

from hookmill.core.event import Event
from hookmill.core.ids import resource_key
from hookmill.core.money import Money

RECEIVED, REFUNDED, PAID_OUT, PAID_BACK = "received", "refunded", "paid_out", "paid_back"

_PAID = frozenset({"succeeded", "overpaid"})
_EFFECTS = {
    ("refund", "succeeded"): REFUNDED,
    ("transfer", "succeeded"): PAID_OUT,
    ("transfer", "reversed"): PAID_BACK,
}


class Effect(msgspec.Struct, frozen=True):
    """What an event says of one resource's money so far; `figure` None where it is not said."""

    resource: str
    name: str
    figure: Money | None


class Booked(msgspec.Struct, frozen=True):
    """What has been booked of an effect so far; `minor` and `currency` None for an unknown sum."""

    minor: int | None
    currency: str | None


class Entry(msgspec.Struct, frozen=True):
    """One line of the books: by how much an effect grew."""

    increase: Money | None


def effect_of(event: Event) -> Effect | None:
    """What the event says of money, None where it says nothing."""
    if event.resource is None:
        return None
    resource = resource_key(
        event.endpoint, event.mode, event.resource.kind, event.resource.id
    ).decode()
    if event.kind == "payment":
        if event.amount_paid is not None:
            return Effect(resource, RECEIVED, event.amount_paid)
        return Effect(resource, RECEIVED, event.amount) if event.status in _PAID else None
    if event.kind == "refund" and event.resource.id == event.links.payment:
        resource = f"{resource}|{event.id}"  # no id of its own: every such event is a refund itself
    name = _EFFECTS.get((event.kind, event.status))
    return None if name is None else Effect(resource, name, event.amount)


def entry_for(effect: Effect, booked: Booked | None) -> Entry | None:
    """The line to write, None where the books already have it.

    The first figure fixes the currency: the same success told again in another one is not booked
    again.
    """
    figure = effect.figure
    if figure is None:
        return Entry(None) if booked is None else None
    if booked is None or booked.minor is None:
        return Entry(figure) if int(figure.minor) > 0 else None
    increase = int(figure.minor) - booked.minor
    if figure.currency != booked.currency or increase <= 0:
        return None
    return Entry(Money(str(increase), figure.currency, figure.exponent))
