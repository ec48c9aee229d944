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
    Booking,
    Effect,
    Entry,
    booking_for,
    effects_of,
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
    """Effects and bookings as the ledger keeps them, in memory."""

    def __init__(self, effects: Iterable[Effect] = ()) -> None:
        self.booked: dict[tuple[str, str], Booked] = {}
        self.bookings: dict[tuple[str, str], list[Booking]] = defaultdict(list)
        for each in effects:
            self.book(each)

    def book(self, effect: Effect) -> Booking | None:
        """Write the booking, if there is one."""
        key = (effect.resource, effect.name)
        booking = booking_for(effect, self.booked.get(key))
        if booking is not None:
            self.bookings[key].append(booking)
            self.booked[key] = booking.booked
        return booking

    def amounts(self, resource: str, name: str) -> list[Money | None]:
        """What each booking of that effect debited."""
        return [each.amount for booking in self.bookings[resource, name]
                for each in booking.entries if each.side == "debit"]  # fmt: skip

    def total(self, effect: Effect) -> int:
        """What was booked of that effect, in all."""
        several = self.amounts(effect.resource, effect.name)
        return sum(int(each.minor) for each in several if each)


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("payment", "succeeded", RECEIVED),
        ("payment", "overpaid", RECEIVED),
        ("refund", "succeeded", REFUNDED),
        ("transfer", "succeeded", PAID_OUT),
    ],
)
def test_money_that_moved_is_an_effect(kind: str, status: str, name: str) -> None:
    """By kind and status; its figure is the event's amount."""
    assert effects_of(event(kind, status)) == (Effect(f"shop|live|{kind}|p_1", name, NINE),)


@given(told=st.permutations(["succeeded", "reversed", "failed"]), count=st.integers(1, 3))
def test_what_came_back_had_gone_out(told: list[str], count: int) -> None:
    """A provider may tell of the reversal alone, or of the success later: nothing is left over."""
    some = told[: told.index("reversed") + 1][-count:]
    for several in (told, some):
        ledger = Ledger(event("transfer", each, id=f"hm_{each}") for each in several)

        assert set(ledger.accounts.values()) == {0}
        assert ledger.book.amounts("shop|live|transfer|p_1", PAID_OUT) == [NINE]
        assert ledger.book.amounts("shop|live|transfer|p_1", PAID_BACK) == [NINE]


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
    assert effects_of(event(kind, status)) == ()


@pytest.mark.parametrize("status", STATUSES["payment"])
def test_what_was_paid_counts_whatever_the_status(status: str) -> None:
    """An invoice that expired partly paid has brought in that part."""
    paid = Money("250", "ZAR", 2)

    assert effects_of(event(status=status, amount_paid=paid)) == (
        Effect("shop|live|payment|p_1", RECEIVED, paid),
    )


def test_an_event_of_no_resource_moves_nothing() -> None:
    """Nothing would tell its second coming from another's first."""
    assert effects_of(event(resource=None)) == ()


@pytest.mark.parametrize(
    "changed", [{"endpoint": "other"}, {"mode": "test"}, {"resource": Resource(
        "payment", "p_2", "succeeded", 1, False)}]
)  # fmt: skip
def test_resources_of_another_endpoint_mode_or_id_are_others(changed: dict[str, Any]) -> None:
    """Trial money never mixes with real money."""
    [one], [other] = effects_of(event()), effects_of(event(**changed))

    assert one is not None
    assert other is not None
    assert one.resource != other.resource


def test_an_unknown_sum_is_one_entry_until_it_is_known() -> None:
    """The entry says that something came in; the figure follows when an event tells it."""
    unknown, known = Effect("r", RECEIVED, None), Effect("r", RECEIVED, NINE)

    assert Book([unknown, unknown]).amounts("r", RECEIVED) == [None]
    assert Book([unknown, known, known]).amounts("r", RECEIVED) == [None, NINE]
    assert Book([known, unknown]).amounts("r", RECEIVED) == [NINE]


def test_only_the_growth_is_booked() -> None:
    """A part, the rest, and the part again, which is late."""
    parts = [Effect("r", RECEIVED, Money(minor, "USD", 2)) for minor in ("250", "1000", "250")]

    assert Book(parts).amounts("r", RECEIVED) == [Money("250", "USD", 2), Money("750", "USD", 2)]


def test_the_same_success_in_another_currency_is_not_booked_again() -> None:
    """The first figure fixes the currency."""
    told = [Effect("r", RECEIVED, NINE), Effect("r", RECEIVED, Money("99999", "BTC", 8))]

    assert Book(told).amounts("r", RECEIVED) == [NINE]


@pytest.mark.parametrize(
    ("name", "debited", "credited"),
    [
        (RECEIVED, "provider", "payments"),
        (REFUNDED, "refunds", "provider"),
        (PAID_OUT, "transfers", "provider"),
        (PAID_BACK, "provider", "transfers"),
    ],
)
def test_what_is_debited_is_credited(name: str, debited: str, credited: str) -> None:
    """The chart of accounts: what the provider holds for the endpoint, and where it came from."""
    for amount in (NINE, None):
        booking = booking_for(Effect("r", name, amount), None)

        assert booking is not None
        assert booking.entries == (
            Entry(debited, "debit", amount), Entry(credited, "credit", amount),
        )  # fmt: skip


def test_an_exponent_that_nobody_says_contradicts_none() -> None:
    """The first one holds; two that are said and differ cannot be compared."""
    cents, unsaid, tenths = (Money("900", "ZAR", each) for each in (2, None, 1))
    more, many_tenths = Money("1000", "ZAR", None), Money("9000", "ZAR", 1)

    def booked(*figures: Money) -> list[Money | None]:
        return Book(Effect("r", RECEIVED, each) for each in figures).amounts("r", RECEIVED)

    assert booked(cents, more) == [cents, Money("100", "ZAR", 2)]
    assert booked(unsaid, cents) == [unsaid]
    assert booked(cents, tenths, many_tenths) == [cents]


def test_nothing_is_no_entry() -> None:
    """An invoice begins with nothing paid."""
    assert booking_for(Effect("r", RECEIVED, Money("0", "ZAR", 2)), None) is None


FIGURES = st.lists(
    st.integers(0, 10**38 - 1) | st.integers(0, 3) | st.none(), min_size=1, max_size=12
)


@given(figures=FIGURES, data=st.data())
def test_duplication_and_any_order_book_the_highest_figure(
    figures: list[int | None], data: st.DataObject
) -> None:
    """Told again, told late, told both ways: the sum is the highest figure, to the last digit."""
    told = [
        effect
        for each in figures
        for effect in effects_of(
            event(amount=None if each is None else Money(str(each), "ETH", 18))
        )
    ]
    repeated = told + data.draw(st.lists(st.sampled_from(told), max_size=12))
    book = Book(data.draw(st.permutations(repeated)))

    assert len(told) == len(figures)
    assert max(each or 0 for each in figures) == book.total(told[0])


STORIES = st.lists(
    st.builds(
        lambda number, pair, endpoint, mode, currency, minor, paid: event(
            *pair,
            id=f"hm_{number}",
            endpoint=endpoint,
            mode=mode,
            resource=Resource(pair[0], f"x_{number % 3}", pair[1], 1, False),
            amount=None if minor is None else Money(str(minor), currency, 2),
            amount_paid=None if paid is None else Money(str(paid), currency, 2),
        ),
        st.integers(0, 30),
        st.sampled_from([(kind, each) for kind, several in STATUSES.items() for each in several]),
        st.sampled_from(["shop", "naira"]),
        st.sampled_from(["live", "test"]),
        st.sampled_from(["ZAR", "BTC"]),
        st.none() | st.integers(0, 5) | st.integers(0, 10**38 - 1),
        st.none() | st.integers(0, 5),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)
"""Events of a few resources, of every kind, in two currencies, each with an id of its own."""


class Ledger:
    """The whole of it in memory: an event counts once, entries by account."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.counted: set[str] = set()
        self.book = Book()
        self.accounts: dict[tuple[str, str, str, str], int] = defaultdict(int)
        for each in events:
            self.count(each)

    def count(self, told: Event) -> None:
        """As the databases do it."""
        if told.id in self.counted:
            return
        self.counted.add(told.id)
        bookings = [self.book.book(effect) for effect in effects_of(told)]
        for each in [line for booking in bookings if booking for line in booking.entries]:
            if each.amount is not None:
                sign = 1 if each.side == "debit" else -1
                key = (told.endpoint, told.mode, each.account, each.amount.currency)
                self.accounts[key] += sign * int(each.amount.minor)


def model(events: Iterable[Event]) -> dict[tuple[str, str, str, str], int]:
    """The same balances another way: of each effect the highest figure in its first currency."""
    figures: dict[tuple[str, ...], list[Money]] = defaultdict(list)
    for each in events:
        moved = {
            "payment": each.amount_paid or (each.amount if each.status in ("succeeded", "overpaid")
                                            else None),
            "refund": each.amount if each.status == "succeeded" else None,
            "transfer": each.amount if each.status in ("succeeded", "reversed") else None,
        }.get(each.kind)  # fmt: skip
        if moved is not None and int(moved.minor) > 0:
            assert each.resource is not None
            for what in [each.kind, *(["reversed"] if each.status == "reversed" else [])]:
                figures[each.endpoint, each.mode, each.resource.id, what].append(moved)
    balances: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for (endpoint, mode, _, what), several in figures.items():
        first = several[0].currency
        highest = max(int(each.minor) for each in several if each.currency == first)
        debited, credited = {
            "payment": ("provider", "payments"), "refund": ("refunds", "provider"),
            "transfer": ("transfers", "provider"), "reversed": ("provider", "transfers"),
        }[what]  # fmt: skip
        balances[endpoint, mode, debited, first] += highest
        balances[endpoint, mode, credited, first] -= highest
    return balances


@given(events=STORIES, data=st.data())
def test_any_events_in_any_order_with_repetitions_balance_and_equal_the_model(
    events: list[Event], data: st.DataObject
) -> None:
    """Debits equal credits per endpoint, mode and currency; a repetition changes nothing."""
    told = list(data.draw(st.permutations(events)))
    again = data.draw(st.lists(st.sampled_from(told), max_size=20)) if told else []
    ledger = Ledger(told)
    balances = dict(ledger.accounts)
    for each in again:
        ledger.count(each)

    assert ledger.accounts == balances
    assert {key: each for key, each in balances.items() if each} == {
        key: each for key, each in model(told).items() if each
    }
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for (endpoint, mode, _, currency), each in balances.items():
        sums[endpoint, mode, currency] += each
    assert set(sums.values()) <= {0}


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
    effects = [found for pair in pairs for found in effects_of(event(*pair))]
    book = Book(effects)

    assert {key: [NINE] for key in {(each.resource, each.name) for each in effects}} == {
        key: book.amounts(*key) for key in list(book.bookings)
    }


def test_partial_refunds_without_an_id_of_their_own_are_each_booked() -> None:
    """Where a refund is known by its payment's id only, a second one must not vanish."""
    links = Links(payment="p_1")
    [first], [second] = (
        effects_of(event("refund", id=each, links=links, amount=NINE)) for each in ("hm_1", "hm_2")
    )
    [own] = effects_of(event("refund", links=Links(payment="p_9")))

    assert first.resource != second.resource
    assert own.resource == "shop|live|refund|p_1"
