"""What the stages' benchmarks feed, and that a wrong result would be told."""

from collections.abc import Callable

import pytest

from hookmill import pipeline
from hookmill.bench import stages
from hookmill.bench.stages import Event, checks
from hookmill.config import options
from hookmill.providers.endpoint import build
from hookmill.stages.dedup import Dedup

SHOP = build("shop", options.Endpoint(provider="yoco"))
FED: list[Event] = [(b"a", "1"), (b"b", "1"), (b"a", "2"), (b"a", "1"), (b"a", "3")]
RIGHT: list[Event] = [(b"a", "1"), (b"a", "2"), (b"b", "1"), (b"a", "3")]

Change = Callable[[list[Event]], list[Event]]


def told(came: list[Event]) -> list[bool]:
    """What is said of the one topic that holds these: once, and in order."""
    return [each.good for each in checks(FED, {"the topic": {"t": came}})]


def test_a_right_result_is_right() -> None:
    """Once each, a redelivery dropped, each subject in its order."""
    assert told(RIGHT) == [True, True]


@pytest.mark.parametrize(
    ("change", "once", "in_order"),
    [
        (lambda came: came[:-1], False, True),
        (lambda came: [*came, came[0]], False, False),
        (lambda came: [*came, (b"c", "1")], False, False),
        (lambda came: [came[1], came[0], *came[2:]], True, False),
        (lambda came: [], False, True),
    ],
    ids=["lost", "twice", "foreign", "out of order", "nothing"],
)
def test_a_wrong_result_is_told(change: Change, once: bool, in_order: bool) -> None:
    """Each in the check that is about it."""
    assert told(change(RIGHT)) == [once, in_order]


def test_topics_may_share_the_events_of_a_place() -> None:
    """Order is held to each of them; together they have every event once."""
    found = checks(FED, {"the kinds": {"payments": [(b"a", "1"), (b"a", "3")],
                                       "refunds": [(b"a", "2"), (b"b", "1")]}})  # fmt: skip

    assert [each.good for each in found] == [True, True]


def test_a_quarter_of_dedups_records_are_redeliveries_of_one_kilobyte() -> None:
    """Byte for byte the same body under another delivery id, and dedup drops just those."""
    made = list(stages.padded(SHOP, 1_000))
    went_on = list(
        stages.decided(Dedup({}, default_window_secs=60, to="unique"), made, reads=pipeline.RAW)
    )

    assert {len(each.value or b"") for each in made} == {stages.BODY_BYTES}
    assert len(went_on) == len({each.value for each in made})
    assert 700 < len(went_on) < 800


def test_simulated_records_are_all_different_events() -> None:
    """Of each provider in turn; nothing of them is a duplicate."""
    doors = [SHOP, build("invoices", options.Endpoint(provider="rehive"))]
    made = list(stages.simulated(doors, 200))

    assert len({stages.identity(each.key, each.headers) for each in made}) == len(made) == 200


def test_what_a_state_costs_is_compared_with_the_mean_of_before_and_after() -> None:
    """The first size counts as often as it was measured; another size is none of it."""
    assert stages.cost_ratios([0, 1000, 0], [1.0, 3.0, 2.0]) == [(1000, 2.0)]
    assert stages.cost_ratios([0, 10, 20], [2.0, 2.0, 3.0]) == [(10, 1.0), (20, 1.5)]
    assert stages.cost_ratios([5], [2.0]) == []
