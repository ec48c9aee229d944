"""Topics as KafkaTopic resources: what Strimzi is told is what `topics apply` would make."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hookmill.cli.main import application
from hookmill.kafka.strimzi import as_yaml, kafka_topic
from hookmill.kafka.topics import wanted
from hookmill.pipeline import Names, Topic

ASCII = st.text(st.characters(max_codepoint=126), max_size=30)
RAW = Topic("webhooks-raw", "ingress", 3_024_000_000, 1_310_720)


def test_a_resource_says_all_that_the_topic_must_be() -> None:
    """Partitions, replicas and every setting, under the label of its cluster."""
    want = wanted(RAW, Names(), partitions=12, replication_factor=3)

    assert kafka_topic(want, "kafka") == {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": "webhooks-raw", "labels": {"strimzi.io/cluster": "kafka"}},
        "spec": {"partitions": 12, "replicas": 3, "config": want.settings},
    }


@pytest.mark.parametrize(
    ("namespace", "name"), [("EU_1", "eu-1-webhooks-raw"), ("_x", "x-webhooks-raw")]
)
def test_a_name_that_kubernetes_does_not_take_is_beside_the_topics_own(
    namespace: str, name: str
) -> None:
    """The resource gets one that it takes; the topic keeps its own."""
    want = wanted(RAW, Names(namespace), partitions=1, replication_factor=1)
    made = kafka_topic(want, "kafka")

    assert made["metadata"]["name"] == name
    assert made["spec"]["topicName"] == want.name


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z.-]{0,20}", fullmatch=True).filter(
            lambda key: yaml.safe_load(key) == key
        ),
        st.one_of(st.integers(), ASCII, st.sampled_from(["true", "No", "1e3", "compact,delete"])),
        min_size=1,
    )
)
def test_the_text_says_the_same_as_the_resource(config: dict[str, object]) -> None:
    """Whatever stands in it, an independent reader of YAML finds it again."""
    resource = {"apiVersion": "v1", "spec": {"config": config}}

    assert yaml.safe_load(as_yaml(resource)) == resource


def test_the_command_prints_one_for_each_topic_and_asks_no_cluster() -> None:
    """As YAML documents, or as one JSON value: the same ones."""
    told = CliRunner().invoke(application(), ["topics", "strimzi", "--cluster", "payments"])
    as_json = CliRunner().invoke(
        application(), ["topics", "strimzi", "--cluster", "payments", "--json"]
    )
    resources = list(yaml.safe_load_all(told.stdout))

    assert resources == json.loads(as_json.stdout)
    assert "webhooks-raw" in {each["metadata"]["name"] for each in resources}
    assert {each["metadata"]["labels"]["strimzi.io/cluster"] for each in resources} == {"payments"}
