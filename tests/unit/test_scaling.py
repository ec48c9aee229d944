"""The simulation of the autoscaling: what holds for every curve, group and policy."""

import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hookmill.cli.main import application
from hookmill.core.errors import ConfigurationError
from hookmill.local.scaling import curves
from hookmill.local.scaling.group import Group, World
from hookmill.local.scaling.plot import svg
from hookmill.local.scaling.policy import Autoscaler, Figures, Policy, even, wish
from hookmill.local.scaling.simulation import SCRAPE_SECS, Run, simulate

HALF_AN_HOUR_SECS = 1800


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any group."""
    return World(
        partitions=draw(st.integers(1, 24)),
        capacity_per_sec=draw(st.integers(1, 500)),
        hottest=draw(st.floats(0, 1)),
        startup_secs=draw(st.integers(0, 60)),
        rebalance_secs=draw(st.integers(0, 10)),
        leave_secs=draw(st.integers(0, 20)),
    )


@st.composite
def policies(draw: st.DrawFn, partitions: int) -> Policy:
    """Any policy for so many partitions."""
    most = draw(st.integers(1, partitions))
    return Policy(
        replicas_min=draw(st.integers(1, most)),
        replicas_max=most,
        age_secs=draw(st.integers(0, 30)),
        lag_records=draw(st.integers(0, 2000)),
        work_per_sec=draw(st.integers(0, 500)),
        poll_secs=draw(st.integers(1, 30)),
        up_window_secs=draw(st.integers(0, 60)),
        up_pods=draw(st.integers(1, 5)),
        down_window_secs=draw(st.integers(0, 120)),
        down_percent=draw(st.integers(1, 100)),
    )


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[int], World, Policy, Run]:
    """Any curve, played."""
    world = draw(worlds())
    policy = draw(policies(world.partitions))
    arrivals = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=400))
    return arrivals, world, policy, simulate(arrivals, world, policy)


@given(runs())
def test_what_came_was_done_or_is_left(played: tuple[list[int], World, Policy, Run]) -> None:
    """In every second, to the last record."""
    arrivals, _, _, run = played
    came = done = 0
    for row, count in zip(run.rows, arrivals, strict=True):
        came, done = came + row.arrivals, done + row.done

        assert row.arrivals == count
        assert row.backlog == came - done >= 0
        assert (row.age_secs == 0) or row.backlog


@given(runs())
def test_there_are_never_more_replicas_than_partitions_nor_fewer_than_wanted(
    played: tuple[list[int], World, Policy, Run],
) -> None:
    """And nobody does more than the replicas that run can do."""
    _, world, policy, run = played
    for row in run.rows:
        assert policy.replicas_min <= row.replicas <= policy.replicas_max <= world.partitions
        assert row.done <= row.replicas * world.capacity_per_sec


@given(runs())
def test_it_is_scaled_at_polls_and_no_faster_than_the_policy_says(
    played: tuple[list[int], World, Policy, Run],
) -> None:
    """Up by so many pods at once, down by such a share, and down only after its window."""
    _, _, policy, run = played
    for before, after in pairwise(run.rows):
        if before.replicas != after.replicas:
            assert before.at_secs % policy.poll_secs == 0
            assert after.replicas - before.replicas <= policy.up_pods
            assert after.replicas >= before.replicas * (100 - policy.down_percent) // 100
    grown = [b.at_secs for a, b in pairwise(run.rows) if b.replicas > a.replicas]
    for before, after in pairwise(run.rows):
        if after.replicas < before.replicas:
            recent = [at for at in grown if 0 < after.at_secs - at < policy.down_window_secs]
            assert not recent, "it was wanted within the window"


@given(runs())
def test_the_oldest_never_grows_older_faster_than_time(
    played: tuple[list[int], World, Policy, Run],
) -> None:
    """A second makes it a second older, at most."""
    for before, after in pairwise(played[-1].rows):
        assert after.age_secs <= before.age_secs + 1


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 20))
def test_a_longer_lag_never_asks_for_fewer(low: int, more: int, replicas: int) -> None:
    """The wish grows with each figure, but for the tenth around what runs."""
    policy = Policy(age_secs=0, work_per_sec=0, lag_records=100, replicas_max=12)

    less = wish(policy, Figures(0, low, 0), replicas, 12)
    larger = wish(policy, Figures(0, low + more, 0), replicas, 12)
    assert less - 1 <= larger


def test_the_largest_wish_of_the_three_counts() -> None:
    """Age asks for 3, records for 4, work for 2."""
    policy = Policy(age_secs=10, lag_records=100, work_per_sec=1000, replicas_max=12)

    assert wish(policy, Figures(30, 350, 1500), replicas=2, partitions=12) == 4


@given(st.integers(1, 10_000), st.integers(1, 1000), st.integers(1, 60))
def test_no_replica_gets_more_than_its_target_and_none_is_there_for_nothing(
    figure: int, target: int, partitions: int
) -> None:
    """One fewer would leave more partitions to the busiest, or there is one for each already."""
    replicas = even(figure, target, partitions)
    most = -(-partitions // replicas)

    assert 1 <= replicas <= partitions
    assert replicas == partitions or most * figure <= target * partitions
    assert replicas == 1 or -(-partitions // (replicas - 1)) > most


def test_of_twelve_partitions_only_so_many_replicas_are_wished_for() -> None:
    """Those that share them out evenly."""
    assert {even(figure, 100, 12) for figure in range(2000)} == {0, 1, 2, 3, 4, 6, 12}


def test_within_a_tenth_of_its_target_nothing_changes() -> None:
    """So a figure that trembles does not make the group do so."""
    policy = Policy(age_secs=10, lag_records=0, work_per_sec=0, replicas_max=12)

    assert wish(policy, Figures(999, 0, 0), replicas=11, partitions=12) == 11
    assert wish(policy, Figures(999, 0, 0), replicas=10, partitions=12) == 12


def test_scaling_down_waits_until_fewer_have_sufficed_for_the_whole_window() -> None:
    """One high figure within it keeps what runs."""
    policy = Policy(down_window_secs=60, up_window_secs=0, poll_secs=10, lag_records=0,
                    work_per_sec=0, replicas_min=1)  # fmt: skip
    autoscaler = Autoscaler(policy, 12)

    assert autoscaler.decide(0, Figures(40, 0, 0), 4) == 4
    decided = [autoscaler.decide(at, Figures(0, 0, 0), 4) for at in range(10, 80, 10)]
    assert decided == [4, 4, 4, 4, 4, 4, 2]


def test_a_member_that_left_leaves_its_partitions_for_a_session() -> None:
    """Static members do not say good-bye; the others go on meanwhile."""
    world = World(partitions=2, capacity_per_sec=10, leave_secs=5, rebalance_secs=2)
    group = Group(world, replicas=2)
    group.scale(0, 1)

    done = [group.second(at, 10) for at in range(8)]

    assert done == [5, 5, 5, 5, 5, 0, 0, 10]


def test_a_busy_partition_is_not_helped_by_more_members() -> None:
    """One member reads it, whatever the others do."""
    world = World(partitions=12, capacity_per_sec=1000, hottest=0.5)
    run = simulate([6000] * HALF_AN_HOUR_SECS, world, Policy(lag_records=10_000, work_per_sec=0))

    assert run.replicas_max == 12
    assert run.rows[-1].backlog > 1000 * HALF_AN_HOUR_SECS


def test_work_done_keeps_what_a_steady_load_needs() -> None:
    """Lag alone gives back what it was given: no lag, no members, and then lag again."""
    steady = curves.shape("ramp", peak_per_sec=90_000, secs=4 * 3600)
    lag_only = simulate(steady, World(), Policy(work_per_sec=0))
    with_work = simulate(steady, World(), Policy())

    assert with_work.age_secs_max < 2 * SCRAPE_SECS < lag_only.age_secs_max
    assert with_work.rebalances < lag_only.rebalances / 2


@pytest.mark.parametrize("name", curves.SHAPES)
def test_each_shape_is_as_long_and_as_high_as_it_is_told(name: str) -> None:
    """A second each; the peak is reached and not passed."""
    made = curves.shape(name, peak_per_sec=1000, secs=3600)

    assert len(made) == 3600
    assert max(made) == pytest.approx(1000, abs=2)
    assert min(made) >= 0


def test_a_curve_from_a_file() -> None:
    """A line between two points, a header or none."""
    assert curves.from_csv("0,0\n4,8\n") == [0, 2, 4, 6]
    assert curves.from_csv("seconds,records_per_sec\n0,1\n2,1\n3,9\n") == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,1\n", "at least two lines"),
        ("0,1\n5\n", "line 2: 5 is no seconds,records_per_sec"),
        ("0,1\nx,2\n", "line 2: x,2"),
        ("5,1\n9,1\n", "line 1: seconds begin with 0"),
        ("0,1\n9,1\n9,2\n", "line 3: seconds begin with 0 and grow"),
        ("0,1\n9,-1\n", "line 2: .* a rate is not negative"),
    ],
)
def test_a_file_that_is_no_curve_is_refused_with_its_line(text: str, said: str) -> None:
    """It is told where."""
    with pytest.raises(ConfigurationError, match=said):
        curves.from_csv(text)


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=20))
def test_no_record_is_lost_by_rounding(rates: list[float]) -> None:
    """What is counted is what the curve holds, within one."""
    points = [(10.0 * place, rate) for place, rate in enumerate(rates)]
    exact = sum(
        low + (high - low) * second / 10 for low, high in pairwise(rates) for second in range(10)
    )

    assert abs(sum(curves.each_second(points)) - exact) < 1 + exact * 1e-9


def test_the_picture_has_a_line_for_each_figure() -> None:
    """And is well-formed, whatever the title."""
    run = simulate(curves.shape("burst", peak_per_sec=90_000, secs=600), World(), Policy())
    root = ElementTree.fromstring(svg(run, "a <day> & more"))
    lines = [each for each in root.iter() if each.get("fill") == "none"]

    assert len(lines) == 4
    assert all(re.fullmatch(r"M[\d. L-]+", each.get("d", "")) for each in lines)


def test_the_command_gives_one_json_value_and_draws(tmp_path: Path) -> None:
    """The summary, and the highest of each minute."""
    (tmp_path / "curve.csv").write_text("seconds,records_per_sec\n0,1000\n180,1000\n")
    done = CliRunner().invoke(
        application(),
        ["scaling", "--curve", str(tmp_path / "curve.csv"), "--svg", str(tmp_path / "a.svg"),
         "--json"],
    )  # fmt: skip
    told = json.loads(done.stdout)

    assert [each["at_secs"] for each in told["minutes"]] == [0, 60, 120]
    assert told["summary"]["age_secs_max"] == 0
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shape", "square"], "no shape is called 'square': steady"),
        (["--replicas-max", "13"], "at most 13 replicas for 12 partitions"),
        (["--replicas-min", "13"], "least number of replicas is above"),
        (["--capacity", "0"], "capacity_per_sec"),
        (["--curve", "gone.csv"], "gone.csv cannot be read"),
    ],
)
def test_what_cannot_be_played_is_said(options: list[str], said: str) -> None:
    """As a usage error, not as a figure."""
    done = CliRunner().invoke(application(), ["scaling", "--hours", "0.1", *options])

    assert isinstance(done.exception, ConfigurationError)
    assert said in str(done.exception)
