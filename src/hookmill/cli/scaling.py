"""`hookmill scaling`: what the autoscaler would make of an arrival curve."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hookmill.cli.options import AsJson
from hookmill.cli.output import err, print_json, print_table
from hookmill.core.errors import ConfigurationError
from hookmill.local.scaling import curves, plot
from hookmill.local.scaling.group import World
from hookmill.local.scaling.policy import Policy
from hookmill.local.scaling.simulation import Row, Run, simulate

ROWS_SHOWN = 24
HOURS_MAX = 168
SHAPES = ", ".join(curves.SHAPES)

WORLD, POLICY = World(), Policy()


Shape = Annotated[str, typer.Option(help=f"The arrival curve: {SHAPES}.")]
Peak = Annotated[float, typer.Option(min=1, help="Records a second at the shape's highest.")]
Hours = Annotated[float, typer.Option(min=0.1, max=HOURS_MAX, help="How long the shape takes.")]
Curve = Annotated[
    Path | None,
    typer.Option(
        help="A file instead: lines `seconds,records_per_sec`, straight lines between them.",
        show_default=False,
    ),
]
Capacity = Annotated[int, typer.Option(help="Records a second that one replica can do, measured.")]
Partitions = Annotated[int, typer.Option(help="kafka.partitions.")]
Hottest = Annotated[
    float, typer.Option(help="The busiest partition's share; 0: all have the same.")
]
Startup = Annotated[int, typer.Option(help="Seconds from the decision to a member at work.")]
Rebalance = Annotated[
    int, typer.Option(help="Seconds that all stand still while the group is shared out.")
]
Leave = Annotated[int, typer.Option(help="Seconds that the partitions of one that left wait.")]
Least = Annotated[int, typer.Option(help="minReplicaCount.")]
Greatest = Annotated[int, typer.Option(help="maxReplicaCount.")]
Age = Annotated[int, typer.Option(help="Trigger: seconds of age for each replica; 0: none.")]
Lag = Annotated[int, typer.Option(help="Trigger: records behind for each replica; 0: none.")]
Work = Annotated[int, typer.Option(help="Trigger: records a second done by each replica; 0: none.")]
DownWindow = Annotated[int, typer.Option(help="Seconds that fewer must have sufficed.")]
Svg = Annotated[Path | None, typer.Option(help="Draw it into this file.", show_default=False)]


def scaling(
    shape: Shape = "day",
    peak: Peak = 100_000,
    hours: Hours = 24.0,
    curve: Curve = None,
    capacity: Capacity = WORLD.capacity_per_sec,
    partitions: Partitions = WORLD.partitions,
    hottest: Hottest = WORLD.hottest,
    startup: Startup = WORLD.startup_secs,
    rebalance: Rebalance = WORLD.rebalance_secs,
    leave: Leave = WORLD.leave_secs,
    replicas_min: Least = POLICY.replicas_min,
    replicas_max: Greatest = POLICY.replicas_max,
    age: Age = POLICY.age_secs,
    records: Lag = POLICY.lag_records,
    work: Work = POLICY.work_per_sec,
    down_window: DownWindow = POLICY.down_window_secs,
    svg: Svg = None,
    as_json: AsJson = False,
) -> None:
    """Try the autoscaling on paper: an arrival curve in, replicas and age of the oldest event out.

    Plays the curve second by second against a consumer group and the rules of KEDA and Kubernetes.
    Nothing is started, nothing is random. What is not said is as deploy/kubernetes has it for
    dedup; give the capacity that `hookmill bench` measured on your machines.
    """
    world = _checked(
        World, partitions=partitions, capacity_per_sec=capacity, hottest=hottest,
        startup_secs=startup, rebalance_secs=rebalance, leave_secs=leave,
    )  # fmt: skip
    policy = _checked(
        Policy, replicas_min=replicas_min, replicas_max=replicas_max, age_secs=age,
        lag_records=records, work_per_sec=work, down_window_secs=down_window,
    )  # fmt: skip
    if curve is not None:
        arrivals, name = _from_file(curve), curve.name
    else:
        secs = int(hours * curves.HOUR_SECS)
        arrivals = curves.shape(shape, peak_per_sec=peak, secs=secs)
        name = f"{shape}, {peak:g} records a second at its highest"
    run = simulate(arrivals, world, policy)
    if svg is not None:
        svg.write_text(plot.svg(run, f"{name}; a replica can do {capacity}"))
    _show(run, as_json)


def _checked(made: type[Any], **values: Any) -> Any:
    """The struct with these values; raises ConfigurationError for one that it does not take."""
    try:
        return msgspec.convert(values, made)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error).replace("$.", "")) from None


def _from_file(path: Path) -> list[int]:
    try:
        arrivals = curves.from_csv(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if len(arrivals) > HOURS_MAX * curves.HOUR_SECS:
        raise ConfigurationError(f"{path}: a curve is at most {HOURS_MAX} hours long")
    return arrivals


def _show(run: Run, as_json: bool) -> None:
    minutes = [_highest(run.rows[start : start + 60]) for start in range(0, len(run.rows), 60)]
    summary = {
        "age_secs_max": run.age_secs_max,
        "secs_above_30": run.secs_above(30),
        "replicas_max": run.replicas_max,
        "replica_hours": round(run.replica_hours, 1),
        "rebalances": run.rebalances,
        "backlog_at_the_end": run.rows[-1].backlog if run.rows else 0,
    }
    if as_json:
        print_json({"summary": summary, "minutes": [msgspec.to_builtins(row) for row in minutes]})
        return
    step = max(1, -(-len(minutes) // ROWS_SHOWN))
    shown = [_highest(minutes[start : start + step]) for start in range(0, len(minutes), step)]
    print_table(
        ("from", "came/s", "done/s", "backlog", "age", "replicas"),
        [
            (
                plot.clock(row.at_secs),
                row.arrivals,
                row.done,
                row.backlog,
                f"{row.age_secs} s",
                row.replicas,
            )
            for row in shown
        ],
    )
    err.print(
        f"oldest {summary['age_secs_max']} s, above 30 s for {summary['secs_above_30']} s; "
        f"at most {summary['replicas_max']} replicas, {summary['replica_hours']} replica-hours, "
        f"{summary['rebalances']} rebalances; {summary['backlog_at_the_end']} records left"
    )


def _highest(rows: list[Row]) -> Row:
    """The highest of each figure, at the time of the first."""
    return Row(
        rows[0].at_secs,
        *(max(getattr(row, name) for row in rows) for name in Row.__struct_fields__[1:]),
    )
