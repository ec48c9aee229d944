"""What an event means for the books: each effect once, and in total the highest figure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hookmill.core.event import STATUSES, Event, Links, ProviderEvent, Raw, Resource
from hookmill.core.money import Money
from hookmill.handlers.bookings import (
    PAID_BACK,
    PAID_OUT,
    RECEIVED,
    REFUNDED,
    Booked,
    Effect,
    Entry,
    effect_of,
    entry_for,
)

NINE = Money("900", "ZAR", 2)


def event(kind: Any = "payment", status: str = "succeeded", **changed: Any) -> Event:
    """A normalized event of one resource."""
    plain = Event(
        id="hm_1",
        type=f"{kind}.{status}",
        kind=kind,
        status=status,
        endpoint="shop",
        provider="yoco",
        mode="live",
        occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z",
        subject="p_1",
        resource=Resource(kind, "p_1", status, 1, False),
        amount=NINE,
        amount_paid=None,
        amount_refunded=None,
        discrepancy=None,
        links=Links(),
        failure=None,
        metadata={},
        provider_event=ProviderEvent(),
        late=False,
        raw=Raw("webhooks-raw", 0, 0, ""),
    )
    return replace(plain, **changed)


class Book:
    """Effects and entries as the ledger keeps them, in memory."""

    def __init__(self, effects: Iterable[Effect] = ()) -> None:
        self.booked: dict[tuple[str, str], Booked] = {}
        self.entries: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for each in effects:
            self.book(each)

    def book(self, effect: Effect) -> None:
        """Write the entry, if there is one."""
        key, figure = (effect.resource, effect.name), effect.figure
        entry = entry_for(effect, self.booked.get(key))
        if entry is not None:
            self.entries[key].append(entry)
            self.booked[key] = Booked(
                int(figure.minor) if figure else None, figure.currency if figure else None
            )

    def total(self, effect: Effect) -> int:
        """What was booked of that effect, in all."""
        several = self.entries[effect.resource, effect.name]
        return sum(int(each.increase.minor) for each in several if each.increase)


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("payment", "succeeded", RECEIVED),
        ("payment", "overpaid", RECEIVED),
        ("refund", "succeeded", REFUNDED),
        ("transfer", "succeeded", PAID_OUT),
        ("transfer", "reversed", PAID_BACK),
    ],
)
def test_money_that_moved_is_an_effect(kind: str, status: str, name: str) -> None:
    """By kind and status; its figure is the event's amount."""
    assert effect_of(event(kind, status)) == Effect(f"shop|live|{kind}|p_1", name, NINE)


MOVES_NOTHING = [
    (kind, status)
    for kind, several in STATUSES.items()
    for status in several
    if (kind, status)
    not in {
        ("payment", "succeeded"),
        ("payment", "overpaid"),
        ("refund", "succeeded"),
        ("transfer", "succeeded"),
        ("transfer", "reversed"),
    }
]


@pytest.mark.parametrize(("kind", "status"), MOVES_NOTHING)
def test_everything_else_is_none(kind: str, status: str) -> None:
    """Every other pair that there is, though it carries an amount."""
    assert effect_of(event(kind, status)) is None


@pytest.mark.parametrize("status", STATUSES["payment"])
def test_what_was_paid_counts_whatever_the_status(status: str) -> None:
    """An invoice that expired partly paid has brought in that part."""
    paid = Money("250", "ZAR", 2)

    assert effect_of(event(status=status, amount_paid=paid)) == Effect(
        "shop|live|payment|p_1", RECEIVED, paid
    )


def test_an_event_of_no_resource_moves_nothing() -> None:
    """Nothing would tell its second coming from another's first."""
    assert effect_of(event(resource=None)) is None


@pytest.mark.parametrize(
    "changed", [{"endpoint": "other"}, {"mode": "test"}, {"resource": Resource(
        "payment", "p_2", "succeeded", 1, False)}]
)  # fmt: skip
def test_resources_of_another_endpoint_mode_or_id_are_others(changed: dict[str, Any]) -> None:
    """Trial money never mixes with real money."""
    one, other = effect_of(event()), effect_of(event(**changed))

    assert one is not None
    assert other is not None
    assert one.resource != other.resource


def test_an_unknown_sum_is_one_entry_until_it_is_known() -> None:
    """The entry says that something came in; the figure follows when an event tells it."""
    unknown, known = Effect("r", RECEIVED, None), Effect("r", RECEIVED, NINE)

    assert Book([unknown, unknown]).entries["r", RECEIVED] == [Entry(None)]
    assert Book([unknown, known, known]).entries["r", RECEIVED] == [Entry(None), Entry(NINE)]
    assert Book([known, unknown]).entries["r", RECEIVED] == [Entry(NINE)]


def test_only_the_growth_is_booked() -> None:
    """A part, the rest, and the part again, which is late."""
    parts = [Effect("r", RECEIVED, Money(minor, "USD", 2)) for minor in ("250", "1000", "250")]

    assert Book(parts).entries["r", RECEIVED] == [
        Entry(Money("250", "USD", 2)),
        Entry(Money("750", "USD", 2)),
    ]


def test_the_same_success_in_another_currency_is_not_booked_again() -> None:
    """The first figure fixes the currency."""
    told = [Effect("r", RECEIVED, NINE), Effect("r", RECEIVED, Money("99999", "BTC", 8))]

    assert Book(told).entries["r", RECEIVED] == [Entry(NINE)]


def test_nothing_is_no_entry() -> None:
    """An invoice begins with nothing paid."""
    assert entry_for(Effect("r", RECEIVED, Money("0", "ZAR", 2)), None) is None


FIGURES = st.lists(
    st.integers(0, 10**38 - 1) | st.integers(0, 3) | st.none(), min_size=1, max_size=12
)


@given(figures=FIGURES, data=st.data())
def test_duplication_and_any_order_book_the_highest_figure(
    figures: list[int | None], data: st.DataObject
) -> None:
    """Told again, told late, told both ways: the sum is the highest figure, to the last digit."""
    effects = [
        effect_of(event(amount=None if each is None else Money(str(each), "ETH", 18)))
        for each in figures
    ]
    told = [each for each in effects if each is not None]
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=12))
    book = Book(data.draw(st.permutations(repeated)))

    assert len(told) == len(figures)
    assert max(each or 0 for each in figures) == book.total(told[0])


@given(
    pairs=st.lists(
        st.sampled_from(
            [("payment", "succeeded"), ("payment", "overpaid"), ("refund", "succeeded"),
             ("transfer", "succeeded"), ("transfer", "reversed"), ("payment", "failed")]
        ),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_each_effect_is_booked_once(pairs: list[tuple[str, str]]) -> None:
    """However often and in whatever order the events of one business come."""
    effects = [found for pair in pairs if (found := effect_of(event(*pair))) is not None]
    book = Book(effects)

    assert {key: [Entry(NINE)] for key in {(each.resource, each.name) for each in effects}} == dict(
        book.entries
    )


def test_partial_refunds_without_an_id_of_their_own_are_each_booked() -> None:
    """Where a refund is known by its payment's id only, a second one must not vanish."""
    links = Links(payment="p_1")
    first, second = (
        effect_of(event("refund", id=each, links=links, amount=NINE)) for each in ("hm_1", "hm_2")
    )
    own = effect_of(event("refund", links=Links(payment="p_9")))

    assert first is not None
    assert second is not None
    assert own is not None
    assert first.resource != second.resource
    assert own.resource == "shop|live|refund|p_1"
