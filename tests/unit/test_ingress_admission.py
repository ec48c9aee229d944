"""Admission: requests and bytes in flight have limits, and so have kept rejections."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.config.options import Ingress
from hookmill.core.errors import Reason, Refused
from hookmill.ingress.admission import Admission, RateLimit
from hookmill.telemetry import catalog

LIMITS = Ingress(
    requests_in_flight_max=3, endpoint_requests_in_flight_max=2, bytes_in_flight_max=100
)


def refuses(call: Callable[[], None]) -> bool:
    """Whether the call is refused, with the one word for it."""
    try:
        call()
    except Refused as refused:
        return refused.reason is Reason.TOO_MANY_REQUESTS
    return False


def test_an_endpoint_cannot_take_all_the_room() -> None:
    """Its third request is refused while another endpoint's first is let in."""
    admission = Admission(LIMITS)
    admission.enter("a")
    admission.enter("a")

    assert refuses(lambda: admission.enter("a"))
    assert not refuses(lambda: admission.enter("b"))
    assert admission.requests == 3


def test_there_is_a_limit_in_all() -> None:
    """However many endpoints there are."""
    admission = Admission(LIMITS)
    for endpoint in ("a", "b", "c"):
        admission.enter(endpoint)

    assert refuses(lambda: admission.enter("d"))
    assert admission.requests == 3


def test_who_leaves_makes_room_for_another() -> None:
    """Of the same endpoint and in all."""
    admission = Admission(LIMITS)
    for endpoint in ("a", "a", "b"):
        admission.enter(endpoint)
    admission.leave("a", 0)

    assert not refuses(lambda: admission.enter("a"))
    assert refuses(lambda: admission.enter("c"))


def test_who_is_refused_takes_no_room() -> None:
    """A flood of refused requests shuts nobody out."""
    admission = Admission(LIMITS)
    for endpoint in ("a", "a"):
        admission.enter(endpoint)
    for _ in range(10):
        refuses(lambda: admission.enter("a"))
    admission.leave("a", 0)

    assert admission.requests == 1
    assert not refuses(lambda: admission.enter("a"))


def test_bytes_are_held_up_to_the_limit() -> None:
    """Exactly the limit fits; what is refused is not held."""
    admission = Admission(LIMITS)
    admission.hold(60)
    admission.hold(40)

    assert refuses(lambda: admission.hold(1))
    assert not refuses(lambda: admission.hold(0))
    assert admission.held_bytes == 100


def test_bytes_are_given_back_with_the_request() -> None:
    """As many as it held."""
    admission = Admission(LIMITS)
    admission.enter("a")
    admission.hold(90)
    admission.leave("a", 90)

    assert admission.held_bytes == 0
    assert not refuses(lambda: admission.hold(100))


def test_the_gauges_show_what_is_in_flight() -> None:
    """Operators see how near the limits are."""
    admission = Admission(LIMITS)
    admission.enter("a")
    admission.enter("b")
    admission.hold(70)
    admission.leave("b", 20)

    assert catalog.REGISTRY.get_sample_value("hookmill_ingress_in_flight") == 1
    assert catalog.REGISTRY.get_sample_value("hookmill_ingress_in_flight_bytes") == 50


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 80)), max_size=30))
def test_no_limit_is_ever_passed(arrivals: list[tuple[str, int]]) -> None:
    """Every third request ends; all counts come back to nothing."""
    admission = Admission(LIMITS)
    inside: list[tuple[str, int]] = []
    for number, (endpoint, size) in enumerate(arrivals):
        if not refuses(lambda endpoint=endpoint: admission.enter(endpoint)):
            held = 0 if refuses(lambda size=size: admission.hold(size)) else size
            inside.append((endpoint, held))
        assert len(inside) == admission.requests <= 3
        assert sum(held for _, held in inside) == admission.held_bytes <= 100
        assert all([name for name, _ in inside].count(each) <= 2 for each in "abc")
        if number % 3 == 2 and inside:
            admission.leave(*inside.pop(0))
    for each in inside:
        admission.leave(*each)

    assert (admission.requests, admission.held_bytes) == (0, 0)


@pytest.mark.parametrize(("per_sec", "burst"), [(5.0, 10), (1.0, 2), (0.5, 1), (0.1, 1), (0.0, 0)])
def test_a_burst_is_twice_the_rate(per_sec: float, burst: int) -> None:
    """At least one, unless none is wanted at all."""
    limit = RateLimit(per_sec)

    assert [limit.allows(1000.0) for _ in range(12)] == [True] * burst + [False] * (12 - burst)


def test_a_rate_is_kept_on_average() -> None:
    """After the burst, two a second."""
    limit = RateLimit(2.0)
    for _ in range(4):
        limit.allows(0.0)

    assert [limit.allows(quarter / 4) for quarter in range(1, 9)] == [False, True] * 4


def test_a_quiet_time_saves_no_more_than_a_burst() -> None:
    """An hour without any allows two at once, not thousands."""
    limit = RateLimit(1.0)
    limit.allows(0.0)

    assert [limit.allows(3600.0) for _ in range(4)] == [True, True, False, False]


def test_a_rate_of_none_never_allows() -> None:
    """However long nothing came."""
    limit = RateLimit(0.0)
    limit.allows(0.0)

    assert not limit.allows(1e9)


def test_a_clock_that_steps_back_costs_no_more_than_the_step() -> None:
    """The wall clock is set back an hour; a second later the rate holds as before."""
    limit = RateLimit(1.0)
    limit.allows(7200.0)
    limit.allows(3600.0)

    assert limit.allows(3601.0)
