"""The merge: the same state for every order of arrival, and late never turns it back."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.resource import (
    REPEATED_RANK,
    TERMINAL_RANK,
    Change,
    Merged,
    ResourceState,
    decode_state,
    encode_state,
    merge,
)

RANKS = {
    "renewed": 0,
    "updated": 0,
    "created": 1,
    "pending": 2,
    "authorized": 3,
    "underpaid": 4,
    "succeeded": 5,
    "overpaid": 5,
    "failed": 5,
    "expired": 5,
}
ROWS = {status: row for row, status in enumerate(RANKS, start=1)}

Told = tuple[Change, str]


def change(status: str, *, time_us: int = 0) -> Change:
    """What an event says of payment p_1."""
    return Change("payment", "p_1", status, RANKS[status], time_us, ROWS[status])


TOLD = st.lists(
    st.builds(
        lambda status, time_us, number: (change(status, time_us=time_us), f"e{number}"),
        st.sampled_from(sorted(RANKS)),
        st.integers(0, 3),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=8,
)
"""Events of one resource, some of them the same, times equal or not."""


def after(told: list[Told]) -> ResourceState:
    """The state after these, in this order."""
    state = None
    for each, event_id in told:
        state = merge(state, each, event_id).state
    assert state is not None
    return state


def standing(state: ResourceState) -> tuple[object, ...]:
    """All of a state but its version, which counts the changes on the way."""
    return (
        state.status,
        state.rank,
        state.time_us,
        state.row,
        state.event_id,
        state.terminals,
        state.conflict,
    )


@given(TOLD, st.randoms(use_true_random=False))
def test_every_order_of_arrival_gives_the_same_state(told: list[Told], random: object) -> None:
    """Providers send late and skip; where a resource ends does not depend on it."""
    shuffled = list(told)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert standing(after(told)) == standing(after(shuffled))


@given(TOLD)
def test_what_is_told_again_changes_nothing(told: list[Told]) -> None:
    """A whole redelivery leaves the state as it was, its version too."""
    state = after(told)
    again = state
    for each, event_id in told:
        again = merge(again, each, event_id).state

    assert state == again


@given(TOLD)
def test_the_state_is_that_of_the_highest_standing(told: list[Told]) -> None:
    """Rank before time before row before event id."""
    best, event_id = max(
        told, key=lambda each: (each[0].rank, each[0].time_us, each[0].row, each[1])
    )
    state = after(told)

    assert (best.status, event_id) == (state.status, state.event_id)


@given(TOLD)
def test_conflict_means_two_different_ends(told: list[Told]) -> None:
    """An overpayment is a success: the two are one end."""
    ends = {
        each.status.replace("overpaid", "succeeded")
        for each, _ in told
        if each.rank == TERMINAL_RANK
    }

    assert (len(ends) > 1) is after(told).conflict


@given(TOLD, st.sampled_from(sorted(RANKS)), st.integers(0, 3))
def test_a_late_event_never_turns_the_state_back(
    told: list[Told], status: str, time_us: int
) -> None:
    """It is late exactly if the resource stood further; then only a conflict can be added."""
    before = after(told)
    merged = merge(before, change(status, time_us=time_us), "e9")
    kept = (before.status, before.rank, before.time_us, before.row, before.event_id)
    state = merged.state

    if merged.late:
        assert kept == (state.status, state.rank, state.time_us, state.row, state.event_id)
    if RANKS[status] == REPEATED_RANK:
        assert not merged.late
    assert set(before.terminals) <= set(state.terminals)


@given(TOLD)
def test_the_version_counts_the_changes(told: list[Told]) -> None:
    """One more when anything of the state changed, else the same."""
    state = None
    for each, event_id in told:
        latest = merge(state, each, event_id).state
        if state is None:
            assert latest.version == 1
        else:
            changed = standing(latest) != standing(state)
            assert latest.version == state.version + changed
        state = latest


@pytest.mark.parametrize(
    ("statuses", "status", "late"),
    [
        ("created", "created", [False]),
        ("created pending succeeded", "succeeded", [False, False, False]),
        ("succeeded pending", "succeeded", [False, True]),
        ("succeeded created failed", "failed", [False, True, False]),
        ("underpaid succeeded underpaid", "succeeded", [False, False, True]),
        ("renewed renewed renewed", "renewed", [False, False, False]),
        ("expired renewed updated", "expired", [False, False, False]),
        ("failed succeeded", "failed", [False, True]),
    ],
)
def test_one_event_after_another(statuses: str, status: str, late: list[bool]) -> None:
    """What providers really do, step by step."""
    state, told = None, []
    for number, each in enumerate(statuses.split()):
        merged = merge(state, change(each), f"e{number}")
        state = merged.state
        told.append(merged.late)

    assert state is not None
    assert (status, late) == (state.status, told)


@pytest.mark.parametrize(
    ("ends", "conflict"),
    [
        (("succeeded", "overpaid"), False),
        (("succeeded", "succeeded"), False),
        (("overpaid", "overpaid"), False),
        (("succeeded", "failed"), True),
        (("overpaid", "expired"), True),
        (("failed", "expired"), True),
        (("succeeded", "pending"), False),
    ],
)
def test_which_ends_contradict_each_other(ends: tuple[str, str], conflict: bool) -> None:
    """Both orders agree; succeeded and overpaid never contradict."""
    for order in itertools.permutations(ends):
        state = after([(change(each), f"e{number}") for number, each in enumerate(order)])

        assert conflict is state.conflict


def test_a_conflict_that_comes_late_is_a_change() -> None:
    """The status stays, the conflict shows, the version counts it."""
    state = merge(None, change("failed"), "e1").state
    merged = merge(state, change("succeeded"), "e0")

    assert merged == Merged(
        ResourceState(
            "failed", 5, 0, ROWS["failed"], "e1", terminals=("failed", "succeeded"), version=2
        ),
        late=True,
    )


def test_a_trusted_time_decides_within_a_rank_only() -> None:
    """A later time of a lower rank does not win."""
    state = after(
        [
            (change("succeeded", time_us=1), "e1"),
            (change("overpaid", time_us=9), "e2"),
            (change("succeeded", time_us=5), "e3"),
            (change("pending", time_us=100), "e4"),
        ]
    )

    assert (state.status, state.event_id) == ("overpaid", "e2")


def test_the_row_decides_before_the_event_id() -> None:
    """Among equals the row further down the pack's table wins; ids only break ties."""
    state = after([(change("overpaid"), "a"), (change("succeeded"), "z")])

    assert (state.status, state.event_id) == ("overpaid", "a")
    assert ROWS["overpaid"] > ROWS["succeeded"]


def test_a_state_survives_its_changelog() -> None:
    """What is written is what is read, under these names."""
    state = ResourceState("succeeded", 5, 7, 3, "evt_1", ("succeeded",), version=2)
    encoded = (
        b'{"status":"succeeded","rank":5,"time_us":7,"row":3,"event_id":"evt_1",'
        b'"terminals":["succeeded"],"version":2,"v":1}'
    )

    assert encoded == encode_state(state)
    assert state == decode_state(encoded)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="another shape"),
        pytest.param(
            b'{"status":"a","rank":5,"time_us":0,"row":1,"event_id":"e","v":2}', id="version 2"
        ),
    ],
)
def test_a_format_of_another_release_is_refused(value: bytes) -> None:
    """A state that this release does not know must not be merged as if it did."""
    with pytest.raises(msgspec.MsgspecError):
        decode_state(value)
