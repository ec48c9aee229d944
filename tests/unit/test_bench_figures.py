"""Figures of a benchmark: percentiles, ratios to the floor, and what is kept from run to run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.bench import saved
from hookmill.bench.figures import Check, Figure, Result, Row, latency
from hookmill.cli.bench.shown import show
from hookmill.core.errors import ConfigurationError


def result(**changes: object) -> Result:
    """A small one: the floor used 2 s for 1,000, the row 3 s for 2,000."""
    given = {
        "bench": "dedup",
        "unit": "records",
        "per": 100_000,
        "floor": Row(name="floor", work=1_000, wall_secs=1.0, cpu_secs=2.0),
        "rows": (Row(name="dedup", work=2_000, wall_secs=4.0, cpu_secs=3.0),),
        "checks": (Check("every key came out once", True),),
    }
    return Result(**{**given, **changes})  # type: ignore[arg-type]


def test_a_ratio_compares_the_same_amount_of_work() -> None:
    """1.5 ms a record against 2 ms."""
    found = result()
    assert found.rows[0].cpu_for(100_000) == pytest.approx(150)
    assert found.ratio(found.rows[0]) == pytest.approx(0.75)
    assert found.rows[0].per_sec == 500


def test_without_a_floor_there_is_no_ratio() -> None:
    """It is not made up."""
    found = result(floor=None)
    assert found.ratio(found.rows[0]) is None


def test_a_wrong_result_makes_the_run_bad_and_a_slow_one_does_not() -> None:
    """Machines differ; an event that is missing is wrong on every one."""
    assert result(at_most=0.1).good
    assert not result(checks=(Check("every key came out once", False),)).good


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_measured_values_in_order(seconds: list[float]) -> None:
    """No value is made up between two measured ones."""
    found = latency(seconds)
    assert found.p50_ms <= found.p99_ms <= found.p999_ms <= found.max_ms
    assert {found.p50_ms, found.p99_ms, found.p999_ms} <= {each * 1000 for each in seconds}


def test_no_measurement_has_no_percentiles() -> None:
    """It is an error, not a zero."""
    with pytest.raises(ValueError, match="nothing was measured"):
        latency([])


@pytest.mark.parametrize(
    ("value", "good"), [(0.9, True), (1.0, True), (1.1, False)], ids=["below", "at", "above"]
)
def test_a_figure_knows_whether_it_keeps_its_aim(value: float, good: bool) -> None:
    """The aim itself is kept."""
    assert Figure(name="pause", value=value, unit="s", at_most=1.0).good is good
    assert Figure(name="rate", value=2 - value, unit="keys/s", at_least=1.0).good is good


def test_each_benchmark_keeps_its_last_result(tmp_path: Path) -> None:
    """One benchmark's run leaves the others' results as they were."""
    path = tmp_path / "deep" / "bench.json"
    assert saved.read(path) is None
    saved.keep(path, result(bench="route"), at="2026-11-25T10:00:00+00:00")
    saved.keep(path, result(notes=("first",)), at="2026-11-25T11:00:00+00:00")
    saved.keep(path, result(notes=("second",)), at="2026-11-25T12:00:00+00:00")
    found = saved.read(path)
    assert found is not None
    assert found.at == "2026-11-25T12:00:00+00:00"
    assert found.results == {"route": result(bench="route"), "dedup": result(notes=("second",))}
    assert found.machine.cores >= 1


def test_the_table_says_where_it_was_measured_and_what_it_is_held_against(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A figure without its machine says nothing, and one of another machine says little here."""
    here = saved.Machine(cores=2, memory_gib=24, processor="one", python="3.11.2 (Apr 28 2025)")
    there = saved.Machine(cores=64, memory_gib=24, processor="two", python="3.13.1 (main)")
    told = "note   2 cores, one, 24 GiB, Python 3.11.2 (Apr 28 2025)\n"

    def shown(earlier: saved.Saved | None) -> str:
        show(result(), here, earlier)
        return capsys.readouterr().out

    assert shown(None).endswith(told)
    assert shown(saved.Saved(here, "2026-01-01T00:00:00Z", {"dedup": result()})).endswith(told)
    assert shown(saved.Saved(there, "2026-01-01T00:00:00Z", {})).endswith(told)
    assert shown(saved.Saved(there, "2026-01-01T00:00:00Z", {"dedup": result()})).endswith(
        told + "note   the earlier figures are of 64 cores, two, 24 GiB, Python 3.13.1 (main)\n"
    )


def test_a_file_of_something_else_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Not an empty comparison."""
    path = tmp_path / "bench.json"
    path.write_text('{"results": 7}')
    with pytest.raises(ConfigurationError, match=r"bench\.json holds no results"):
        saved.read(path)
