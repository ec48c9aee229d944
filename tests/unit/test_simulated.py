"""The simulator: every provider's deliveries in every disorder, the same for a seed, as data."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookmill.config import options
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import ConfigurationError, Refused
from hookmill.local.simulated import AT_US, Plan, SimulatedDelivery, deliveries, planned, steps
from hookmill.local.simulator import stories_of
from hookmill.providers.endpoint import Endpoint, build
from hookmill.providers.registry import PACKS

RANDOM_SIGNATURES = {name for name, pack in PACKS.items()
                     if "ECDSA" in type(pack.scheme(None)).__name__.upper()}  # fmt: skip
STORIES = stories_of(PACKS["yoco"])


def endpoint_of(name: str) -> Endpoint:
    """An endpoint of the provider as a configuration makes it."""
    pack = PACKS[name]
    return build("own", options.Endpoint(provider=name, options=dict(pack.example_options)))


def taken(endpoint: Endpoint, delivery: SimulatedDelivery, *texts: str) -> str | None:
    """The name of the secret that proved it (its place among the texts), None if it is refused."""
    secrets = [
        Secret(str(number), endpoint.pack.key(text, endpoint.options))
        for number, text in enumerate(texts, start=1)
    ]
    headers = tuple((name.lower(), value) for name, value in delivery.headers.items())
    arrived = Delivery(headers, delivery.body, delivery.at_us, delivery.query)
    try:
        return endpoint.pack.verify(arrived, endpoint.terms(secrets)).name
    except Refused:
        return None


def types_of(endpoint: Endpoint, delivery: SimulatedDelivery) -> set[str]:
    """What hookmill makes of what is in it."""
    headers = tuple((name.lower(), value) for name, value in delivery.headers.items())
    arrived = Delivery(headers, delivery.body, delivery.at_us, delivery.query)
    kept = arrived.headers_by_name()
    drafts = [endpoint.pack.normalize(item.body, endpoint.options, kept) for item in delivery.items]
    return {f"{each.kind}.{each.status}" for each in drafts}


@pytest.mark.parametrize("name", PACKS)
def test_a_receiver_takes_and_refuses_what_it_must(name: str) -> None:
    """Of every provider: genuine and redelivered ones are authentic, forgeries are not."""
    endpoint, first, second = endpoint_of(name), *(
        PACKS[name].example_secret(each, endpoint_of(name).options) for each in ("main", "next")
    )  # fmt: skip
    made = list(
        deliveries(name, secret=first, rotate_to=second, count=30, forged=0.3, duplicates=0.4)
    )

    assert {each.kind for each in made} == {"genuine", "redelivered", "forged"}
    for each in made:
        right = "2" if each.rotated else "1"
        assert taken(endpoint, each, first, second) == (None if each.kind == "forged" else right)
        assert each.becomes in types_of(endpoint, each)


@pytest.mark.parametrize("name", PACKS)
def test_the_same_seed_makes_the_same_bytes(name: str) -> None:
    """All of it: bodies, signatures, order; another seed, other business."""
    secret = PACKS[name].example_secret("main", endpoint_of(name).options)
    wish: dict[str, Any] = {"secret": secret, "duplicates": 0.3, "forged": 0.2, "skip": 0.2}
    first, again, other = (
        list(deliveries(name, seed=seed, count=12, out_of_order=0.5, **wish)) for seed in (4, 4, 5)
    )

    assert [each.body for each in first] == [each.body for each in again]
    assert [each.kind for each in first] == [each.kind for each in again]
    if name not in RANDOM_SIGNATURES:
        assert first == again
    assert [each.body for each in first] != [each.body for each in other]


@pytest.mark.parametrize("name", PACKS)
def test_a_redelivery_is_the_same_event(name: str) -> None:
    """Signed anew at the provider's own time, with the ids that it had."""
    for first in deliveries(name, count=5):
        delays = PACKS[name].retry_delays_secs
        last = first.again(first.attempts_max)

        assert (last.attempt, first.attempts_max) == (len(delays) + 1, len(delays) + 1)
        assert last.at_us - first.at_us == sum(delays) * 1_000_000
        assert [each.event_id for each in last.items] == [each.event_id for each in first.items]
        assert last.again(1) == first or name in RANDOM_SIGNATURES
        with pytest.raises(ValueError, match="attempts"):
            first.again(first.attempts_max + 1)


def test_a_signed_time_is_that_of_the_attempt() -> None:
    """Yoco signs each attempt anew."""
    made = next(deliveries("yoco", at_us=1_800_000_000_000_000))

    assert made.headers["webhook-timestamp"] == "1800000000"
    assert made.again(2).headers["webhook-timestamp"] == "1800000005"
    assert made.again(3).headers["webhook-timestamp"] == "1800000305"
    assert made.again(3).headers["webhook-id"] == made.headers["webhook-id"]


def test_rotation_happens_after_half_unless_it_is_said() -> None:
    """All from then on is signed with the second secret, redeliveries as what they repeat."""

    def rotated(**more: Any) -> list[bool]:
        return [each.rotated for each in deliveries("yoco", count=6, **more)]

    assert rotated() == [False] * 6
    assert rotated(rotate_to="whsec_bmV4dA==") == [False] * 3 + [True] * 3
    assert rotated(rotate_to="whsec_bmV4dA==", rotate_after=1) == [False] + [True] * 5
    assert rotated(rotate_to="whsec_bmV4dA==", rotate_after=0) == [True] * 6


def test_bursts_keep_the_rate() -> None:
    """Ten at once, then nothing until the average is right again."""
    plan = Plan(count=40, rate=20.0, burst=10)
    waits = [each.wait_secs for each in planned(STORIES, plan, AT_US)]

    assert waits == ([0.0] * 10 + [0.5] + [0.0] * 9 + [0.5] + [0.0] * 9 + [0.5] + [0.0] * 9)
    times = [each.at_us for each in deliveries("yoco", count=40, rate=20.0, burst=10)]
    assert [Counter(times)[each] for each in sorted(set(times))] == [10] * 4
    assert {later - earlier for earlier, later in pairwise(sorted(set(times)))} == {500_000}


def test_statuses_are_skipped_but_never_the_last() -> None:
    """As a provider may that promises only how it ends; without skipping, every one is there."""
    pay3 = stories_of(PACKS["pay3"])
    told, ends = steps(pay3, Plan(count=300), AT_US), steps(pay3, Plan(count=300, skip=1.0), AT_US)
    some = steps(pay3, Plan(count=300, skip=0.5), AT_US)
    share = {
        name: sum(each.becomes in ("payment.created", "payment.pending") for each in which) / 300
        for name, which in (("told", told), ("some", some), ("ends", ends))
    }

    assert share["told"] > share["some"] > share["ends"]
    assert share["ends"] == 0


@settings(max_examples=50)
@given(
    seed=st.integers(0, 1000), count=st.integers(1, 40), out_of_order=st.floats(0, 1),
    duplicates=st.floats(0, 1), forged=st.floats(0, 1), burst=st.integers(1, 9),
)  # fmt: skip
def test_disorder_changes_the_order_alone(
    seed: int, count: int, out_of_order: float, duplicates: float, forged: float, burst: int
) -> None:
    """The same events come, whatever their order and whatever else is sent."""
    plain = [each.step for each in planned(STORIES, Plan(count=count, seed=seed), AT_US)]
    plan = Plan(count=count, seed=seed, out_of_order=out_of_order, duplicates=duplicates,
                forged=forged, burst=burst)  # fmt: skip
    made = list(planned(STORIES, plan, AT_US))
    firsts = [each.step for each in made if each.kind != "redelivered"]

    assert sorted(firsts, key=lambda step: step.message_id) == sorted(
        plain, key=lambda step: step.message_id
    )
    for before, each in pairwise(made):
        if each.kind == "redelivered":
            assert (before.kind, before.step) == ("genuine", each.step)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"provider": "yoko"}, "did you mean 'yoco'"),
        ({"provider": "yoco", "duplicats": 0.5}, "no plan has duplicats"),
        ({"provider": "yoco", "forged": 1.5}, "forged: out of range"),
        ({"provider": "yoco", "count": 0}, "count: out of range"),
        ({"provider": "yoco", "options": {"x": 1}}, "options of Yoco"),
        ({"provider": "yoco", "secret": "whsec_?"}, "Yoco cannot be simulated: a whsec_ secret"),
        ({"provider": Path("gone.toml")}, "gone.toml"),
    ],
)
def test_what_cannot_be_meant_is_told(wish: dict[str, Any], says: str) -> None:
    """As for an operator: a configuration that cannot serve."""
    with pytest.raises(ConfigurationError, match=says.replace("?", r"\?")):
        list(deliveries(**wish))


def test_a_secret_is_not_shown() -> None:
    """A failing test prints what it compares."""
    text = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="

    assert text not in repr(list(deliveries("yoco", secret=text)))
