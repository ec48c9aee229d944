"""The plan of faults: all of it from the seed, every kind in its turn, brokers one at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.chaos.faults import (
    MEANINGS,
    OF_BROKERS,
    SESSION_SECS,
    SHORT,
    Fault,
    Kind,
    Targets,
    plan,
    short,
)

TARGETS = Targets(
    processes=["ingress-1", "dedup-1", "dedup-2", "handler-ledger-1"],
    stateful=["dedup-1", "dedup-2", "handler-ledger-1"],
    doubled=["dedup-1", "dedup-2"],
    stages=["dedup"],
    topics=["webhooks-unique", "events-normalized"],
)


def planned(seed: int, kinds: list[Kind] | None = None, seconds: float = 300.0) -> list[Fault]:
    """A plan for these targets."""
    return plan(seed, kinds or list(Kind), TARGETS, seconds=seconds, freeze_secs_max=30.0)


def test_every_fault_has_a_meaning() -> None:
    """`--faults help` lists them."""
    assert set(MEANINGS) == set(Kind)


def test_the_same_seed_gives_the_same_plan() -> None:
    """So that what was found can be found again; another seed gives another one."""
    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


@given(seed=st.integers(0, 10_000))
def test_each_kind_comes_before_any_comes_again(seed: int) -> None:
    """In any run that is long enough."""
    first = planned(seed)[: len(Kind)]

    assert {fault.kind for fault in first} == set(Kind)


@given(seed=st.integers(0, 10_000))
def test_faults_of_brokers_do_not_overlap(seed: int) -> None:
    """Two brokers at once are a kind of their own: by chance no promise could hold."""
    free_secs = 0.0
    for fault in planned(seed):
        if fault.kind in OF_BROKERS:
            assert fault.at_secs > free_secs
            free_secs = fault.at_secs + fault.for_secs


@given(seed=st.integers(0, 10_000), seconds=st.floats(10, 600))
def test_a_plan_keeps_to_its_time_and_its_targets(seed: int, seconds: float) -> None:
    """In order, none before the start, each with a target that is there."""
    faults = planned(seed, seconds=seconds)

    assert [each.at_secs for each in faults] == sorted(each.at_secs for each in faults)
    assert all(each.target or each.brokers for each in faults)
    assert all(set(each.brokers) <= {1, 2, 3} for each in faults)
    for each in faults:
        if each.kind is Kind.NO_QUORUM:
            assert len(each.brokers) == 2
        if each.kind is Kind.FULL_DISK:
            assert each.target in TARGETS.stateful


def test_only_the_kinds_that_were_asked_for() -> None:
    """`--faults kill,freeze`."""
    found = {fault.kind for fault in planned(1, [Kind.KILL, Kind.FREEZE])}

    assert found == {Kind.KILL, Kind.FREEZE}


@pytest.mark.parametrize("seed", range(20))
def test_the_short_form_has_each_of_its_faults_once(seed: int) -> None:
    """Its zombie outlasts the group's session, so that there are two owners."""
    faults = short(seed, TARGETS)

    assert [fault.kind for fault in faults] == list(SHORT)
    [zombie] = [fault for fault in faults if fault.kind is Kind.ZOMBIE]
    assert zombie.for_secs > SESSION_SECS
    assert zombie.target in TARGETS.doubled
    assert [each.target for each in faults if each.kind is Kind.REFUSE_WRITES] == [
        "webhooks-unique"
    ]


def test_a_fault_says_what_it_does() -> None:
    """For whoever reads the run."""
    fault = Fault(at_secs=1, kind=Kind.NO_QUORUM, brokers=(1, 3), for_secs=4.25)

    assert str(fault) == "no-quorum broker 1, broker 3 for 4.2 s"
    assert str(Fault(at_secs=1, kind=Kind.KILL, target="dedup-1")) == "kill dedup-1"
