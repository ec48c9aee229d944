"""The ScaledObjects, held to the groups, the metrics and the partitions, and to the simulation."""

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hookmill.cli.setup import load_setup
from hookmill.config.options import Configuration
from hookmill.local.scaling.group import World
from hookmill.local.scaling.policy import Policy, even
from hookmill.pipeline import STAGES, HandlerTopics, Names
from hookmill.telemetry.catalog import REGISTRY
from support.manifests import FOLDER, Manifest, container, manifests, of_kind

FOUND = manifests("production")
SCALED = of_kind(FOUND, "ScaledObject")
MEMBERS = {
    name: each for name, each in of_kind(FOUND, "StatefulSet").items()
    if each["metadata"]["labels"]["app.kubernetes.io/name"] == "hookmill"
}  # fmt: skip
CONFIG: Configuration = load_setup(FOLDER / "overlays/production/hookmill.toml").config
QUERY = re.compile(r"ceil\(12 / clamp_min\(floor\(12 \* (\d+) / (?P<figure>.+)\), 1\)\)")
AGE_OF_DEDUP = 'hookmill_group_lag_seconds{group="hookmill-dedup"}'
UNSEEN_SHARE_MAX = 0.01
"""How much of a threshold the markers may be that every partition rests before."""

parts = pytest.mark.parametrize("name", MEMBERS)


def trigger(name: str, called: str) -> Manifest:
    """The trigger of that name."""
    (found,) = (each for each in SCALED[name]["spec"]["triggers"] if each["name"] == called)
    return dict(found)


def behavior(name: str) -> Manifest:
    """What the pod autoscaler is told."""
    config = SCALED[name]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    return dict(config["behavior"])


def target(name: str, called: str) -> int:
    """The figure for each replica, out of a query that answers with replicas."""
    found = QUERY.fullmatch(trigger(name, called)["metadata"]["query"])
    assert found is not None
    return int(found[1])


def test_each_stage_and_handler_is_scaled() -> None:
    """And nothing else is: the ingress has its own autoscaler, the monitor is one."""
    expected = {*STAGES, *(HandlerTopics(name).part for name in CONFIG.handlers)}

    assert expected == set(MEMBERS) == set(SCALED)


@parts
def test_it_scales_what_is_there_and_nobody_says_otherwise(name: str) -> None:
    """The StatefulSet of its name, which has no number of replicas for an `apply` to put back."""
    its = SCALED[name]["spec"]["scaleTargetRef"]

    assert its == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name}
    assert "replicas" not in MEMBERS[name]["spec"]


@parts
def test_there_are_never_more_replicas_than_partitions(name: str) -> None:
    """Nor an uneven number of them at most; and never none."""
    spec = SCALED[name]["spec"]

    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= CONFIG.kafka.partitions
    assert CONFIG.kafka.partitions % spec["maxReplicaCount"] == 0


@parts
def test_it_looks_at_the_group_and_the_topic_that_the_process_reads(name: str) -> None:
    """As the map and the configuration call them."""
    names = Names(CONFIG.kafka.namespace)
    args = container(MEMBERS[name])["args"]
    stage = STAGES.get(args[1]) if args[0] == "stage" else None
    reads = stage.reads if stage else HandlerTopics(args[1]).queue
    kafka = trigger(name, "records")["metadata"]

    assert kafka["consumerGroup"] == names.group(name)
    assert kafka["topic"] == names.topic(reads)
    assert kafka["bootstrapServers"].split(",") == list(CONFIG.kafka.bootstrap_servers)
    assert f'{{group="{names.group(name)}"}}' in trigger(name, "age")["metadata"]["query"]


@parts
def test_kafka_is_asked_as_the_processes_ask_it(name: str) -> None:
    """The same way of proving who asks; a version of the protocol that Kafka 4 still speaks."""
    its = trigger(name, "records")
    mechanism = CONFIG.kafka.sasl_mechanism.lower().replace("-", "_").replace("sha_", "sha")
    (authentication,) = of_kind(FOUND, "TriggerAuthentication")

    assert its["metadata"]["sasl"] == mechanism
    assert its["metadata"]["tls"] == "enable"
    assert its["authenticationRef"] == {"name": authentication}
    assert tuple(map(int, its["metadata"]["version"].split("."))) >= (2, 1, 0)
    assert its["metadata"]["offsetResetPolicy"] == "earliest"


@parts
def test_markers_of_transactions_ask_for_nothing(name: str) -> None:
    """A group that is through rests one offset before the end of each partition."""
    threshold = int(trigger(name, "records")["metadata"]["lagThreshold"])

    assert CONFIG.kafka.partitions <= UNSEEN_SHARE_MAX * threshold


@parts
@pytest.mark.parametrize("called", ["age", "work"])
def test_each_query_is_about_a_metric_that_there_is(name: str, called: str) -> None:
    """Of the catalog; and when it is missing, nothing is scaled down."""
    metadata = trigger(name, called)["metadata"]
    found = re.findall(r"(hookmill_\w+)\{(\w+)=", metadata["query"])
    labels: dict[str, tuple[str, ...]] = {}
    for each in list(REGISTRY._collector_to_names):
        labels |= dict.fromkeys(REGISTRY._collector_to_names[each], each._labelnames)

    assert found
    assert all(label in labels[metric] for metric, label in found)
    assert metadata["ignoreNullValues"] == "false"


@parts
def test_every_figure_counts_for_each_replica(name: str) -> None:
    """Average values, taken once a poll; a query's answer is replicas already."""
    triggers = SCALED[name]["spec"]["triggers"]

    assert [each["name"] for each in triggers] == ["age", "records", "work"]
    assert {each["metricType"] for each in triggers} == {"AverageValue"}
    assert all(each["useCachedMetrics"] for each in triggers)
    assert trigger(name, "age")["metadata"]["threshold"] == "1"
    assert trigger(name, "work")["metadata"]["threshold"] == "1"
    assert trigger(name, "records")["metadata"]["ensureEvenDistributionOfPartitions"] == "true"


@given(st.integers(0, 10**6))
def test_a_query_answers_as_the_simulation_does(figure: int) -> None:
    """PromQL computed: division by nothing is endless, and all of the rest is arithmetic."""
    answer: Any = eval(
        QUERY.sub(r"ceil(over(12, clamp_min(floor(over(12 * \1, X)), 1)))",
                  trigger("dedup", "age")["metadata"]["query"]),
        {
            "X": figure,
            "over": lambda a, b: a / b if b else math.inf,
            "floor": lambda x: x if math.isinf(x) else math.floor(x),
            "ceil": math.ceil,
            "clamp_min": max,
        },
    )  # fmt: skip

    assert answer == even(figure, target("dedup", "age"), 12)


def test_prometheus_takes_the_queries_and_answers_so(tmp_path: Path) -> None:
    """Its own evaluator, for an age or a rate of any size; where nothing is known, no answer."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on this machine (Debian: prometheus)")
    ages = {0: 0, 5: 1, 15: 2, 25: 3, 35: 4, 45: 6, 61: 12, 100_000: 12}
    queries = {f"{name}:{called}": trigger(name, called)["metadata"]["query"]
               for name in MEMBERS for called in ("age", "work")}  # fmt: skip
    rules = [{"record": name.replace("-", "_"), "expr": query} for name, query in queries.items()]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "keda", "interval": "1m", "rules": rules}]})
    )
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": AGE_OF_DEDUP, "values": f"{age}x9"}
            ],
            "promql_expr_test": [
                {"expr": "dedup:age", "eval_time": "5m",
                 "exp_samples": [{"labels": "dedup:age", "value": replicas}]},
                {"expr": "route:age", "eval_time": "5m", "exp_samples": []},
            ],
        }
        for age, replicas in ages.items()
    ]  # fmt: skip
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests})
    )

    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@parts
def test_scaling_down_is_slow_and_scaling_up_outlasts_a_rebalance(name: str) -> None:
    """A removal stops the group; a rebalance makes age by itself and must not ask for more."""
    up, down = behavior(name)["scaleUp"], behavior(name)["scaleDown"]
    world = World()

    assert up["stabilizationWindowSeconds"] > world.leave_secs + world.rebalance_secs
    assert down["stabilizationWindowSeconds"] >= 10 * up["stabilizationWindowSeconds"]
    (policy,) = down["policies"]
    assert policy["periodSeconds"] > world.leave_secs + world.rebalance_secs
    assert CONFIG.kafka.session_timeout_secs == world.leave_secs


def test_the_simulation_plays_what_dedup_has() -> None:
    """Its defaults are the manifest's figures, so the guide speaks of what runs."""
    spec = SCALED["dedup"]["spec"]
    up, down = behavior("dedup")["scaleUp"], behavior("dedup")["scaleDown"]
    (up_policy,), (down_policy,) = up["policies"], down["policies"]

    assert World().partitions == CONFIG.kafka.partitions
    assert (up_policy["type"], down_policy["type"]) == ("Pods", "Percent")
    assert Policy() == Policy(
        replicas_min=spec["minReplicaCount"],
        replicas_max=spec["maxReplicaCount"],
        age_secs=target("dedup", "age"),
        lag_records=int(trigger("dedup", "records")["metadata"]["lagThreshold"]),
        work_per_sec=target("dedup", "work"),
        poll_secs=spec["pollingInterval"],
        up_window_secs=up["stabilizationWindowSeconds"],
        up_pods=up_policy["value"],
        up_period_secs=up_policy["periodSeconds"],
        down_window_secs=down["stabilizationWindowSeconds"],
        down_percent=down_policy["value"],
        down_period_secs=down_policy["periodSeconds"],
    )


@parts
def test_alike_but_for_names_and_figures(name: str) -> None:
    """What holds of dedup's holds of all: the same keys, in the same places."""

    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: keys(each) for key, each in value.items()}
        return [keys(each) for each in value] if isinstance(value, list) else None

    assert keys(SCALED[name]) == keys(SCALED["dedup"])
