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


class Door:
    """Requests at an admission: each enters, or waits until it is told."""

    def __init__(self, *names: str) -> None:
        self.admission = Admission(LIMITS)
        self.inside: list[str] = []
        self.outside: dict[str, Callable[[], None]] = {}
        self.held: dict[str, int] = {}
        for name in names:
            self.comes(name)

    def comes(self, name: str) -> None:
        """A request comes; its name begins with its endpoint's letter."""
        if self.admission.enter(name[0]):
            self.inside.append(name)
        else:

            def admitted() -> None:
                del self.outside[name]
                self.inside.append(name)

            self.outside[name] = admitted
            self.admission.wait(name[0], admitted)

    def holds(self, name: str, count: int) -> None:
        """So much of its body has come, if that may be held."""
        if not refuses(lambda: self.admission.hold(count)):
            self.held[name] = count

    def leaves(self, name: str) -> None:
        """It is answered."""
        self.inside.remove(name)
        self.admission.leave(name[0], self.held.pop(name, 0))

    def gives_up(self, name: str) -> None:
        """It has waited too long."""
        self.admission.give_up(name[0], self.outside.pop(name))
        self.admission.release(self.held.pop(name, 0))


def test_an_endpoint_cannot_take_all_the_room() -> None:
    """Its third request waits while another endpoint's first is let in."""
    door = Door("a1", "a2", "a3", "b1")

    assert (door.inside, list(door.outside)) == (["a1", "a2", "b1"], ["a3"])
    assert (door.admission.requests, door.admission.waiting) == (3, 1)


def test_there_is_a_limit_in_all() -> None:
    """However many endpoints there are."""
    door = Door("a1", "b1", "c1", "d1")

    assert list(door.outside) == ["d1"]


def test_who_leaves_makes_room_for_who_waits() -> None:
    """In the order in which they came, one for each place."""
    door = Door("a1", "a2", "a3", "a4")
    door.leaves("a1")
    assert (door.inside, list(door.outside)) == (["a2", "a3"], ["a4"])
    door.leaves("a3")

    assert (door.inside, list(door.outside)) == (["a2", "a4"], [])
    assert (door.admission.requests, door.admission.waiting) == (2, 0)


def test_who_comes_later_does_not_pass_who_waits() -> None:
    """Of the same endpoint, though a place was free in all: a3 waits for one of its own."""
    door = Door("a1", "a2", "a3", "a4")
    door.leaves("a1")
    door.comes("a5")

    assert list(door.outside) == ["a4", "a5"]


def test_endpoints_have_their_turns() -> None:
    """A crowd of one does not keep out the few of another."""
    door = Door("a1", "a2", "b1", "a3", "a4", "b2", "c1")
    for name in ("a1", "a2", "b1"):
        door.leaves(name)

    assert (door.inside, list(door.outside)) == (["a3", "b2", "c1"], ["a4"])


def test_a_place_goes_to_the_first_who_can_have_it() -> None:
    """Whose endpoint is at its own limit goes on waiting."""
    door = Door("a1", "a2", "b1", "a3", "b2")
    door.leaves("b1")

    assert (door.inside, list(door.outside)) == (["a1", "a2", "b2"], ["a3"])


def test_who_gives_up_is_not_let_in() -> None:
    """And takes no room: the next one is."""
    door = Door("a1", "a2", "a3", "a4")
    door.gives_up("a3")
    door.leaves("a1")

    assert door.inside == ["a2", "a4"]
    assert (door.admission.requests, door.admission.waiting) == (2, 0)


@given(st.lists(st.tuples(st.sampled_from(["come", "leave", "give up"]), st.integers(0, 9)),
                max_size=60))  # fmt: skip
def test_no_place_is_left_empty_while_somebody_could_have_it(moves: list[tuple[str, int]]) -> None:
    """No limit is ever passed, nobody of an endpoint passes another, and all comes back to
    nothing."""
    door = Door()
    for number, (move, which) in enumerate(moves):
        if move == "come":
            name = f"{'abcd'[which % 4]}{number}"
            door.comes(name)
            door.holds(name, 9 * which)
        elif move == "leave" and door.inside:
            door.leaves(door.inside[which % len(door.inside)])
        elif move == "give up" and door.outside:
            door.gives_up(list(door.outside)[which % len(door.outside)])
        inside, admission = [name[0] for name in door.inside], door.admission
        assert (len(inside), len(door.outside)) == (admission.requests, admission.waiting)
        assert sum(door.held.values()) == admission.held_bytes <= 100
        assert len(inside) <= 3
        assert all(inside.count(each) <= 2 for each in "abcd")
        free = len(inside) < 3
        assert not any(free and inside.count(name[0]) < 2 for name in door.outside)
        for endpoint in "abcd":
            came = [int(name[1:]) for name in door.inside if name[0] == endpoint]
            waits = [int(name[1:]) for name in door.outside if name[0] == endpoint]
            assert not came or not waits or max(came) < min(waits)
    while door.inside:
        door.leaves(door.inside[0])

    admission = door.admission
    assert (door.outside, admission.requests, admission.waiting) == ({}, 0, 0)
    assert admission.held_bytes == 0


def test_bytes_are_held_up_to_the_limit() -> None:
    """Exactly the limit fits; what is refused is not held."""
    admission = Admission(LIMITS)
    admission.hold(60)
    admission.hold(40)

    assert refuses(lambda: admission.hold(1))
    assert not refuses(lambda: admission.hold(0))
    assert admission.held_bytes == 100


def test_bytes_are_given_back() -> None:
    """As many as were held, with the request or, where that was never let in, without."""
    admission = Admission(LIMITS)
    admission.enter("a")
    admission.hold(60)
    admission.hold(30)
    admission.leave("a", 60)
    admission.release(30)

    assert admission.held_bytes == 0
    assert not refuses(lambda: admission.hold(100))


def test_the_gauges_show_what_is_in_flight_and_what_waits() -> None:
    """Operators see how near the limits are."""
    door = Door("a1", "a2", "a3", "b1")
    door.admission.hold(70)
    door.admission.leave("b", 20)

    told = {each: catalog.REGISTRY.get_sample_value(f"hookmill_ingress_{each}")
            for each in ("in_flight", "waiting", "in_flight_bytes")}  # fmt: skip
    assert told == {"in_flight": 2, "waiting": 1, "in_flight_bytes": 50}


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
