"""Topics as Strimzi's operator wants them: one KafkaTopic resource for each.

apiVersion `kafka.strimzi.io/v1`, the label `strimzi.io/cluster` that names the Kafka resource, and
`spec` with topicName, partitions, replicas and config: Strimzi's custom resource reference.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hookmill.kafka.topics import Wanted

API_VERSION = "kafka.strimzi.io/v1"
CLUSTER_LABEL = "strimzi.io/cluster"

_PLAIN = re.compile(r"[a-zA-Z][a-zA-Z0-9.,/-]*")
_NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
"""Words that a reader of YAML, 1.1 or 1.2, takes for something else."""


def kafka_topic(want: Wanted, cluster: str) -> dict[str, Any]:
    """The resource of one topic, as JSON has it.

    A resource's name is a DNS name; `topicName` says what the topic is called where that differs.
    """
    name = re.sub(r"[^a-z0-9-]", "-", want.name.lower()).strip("-")
    called = {} if name == want.name else {"topicName": want.name}
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaTopic",
        "metadata": {"name": name, "labels": {CLUSTER_LABEL: cluster}},
        "spec": {
            **called,
            "partitions": want.partitions,
            "replicas": want.replication_factor,
            "config": dict(want.settings),
        },
    }


def as_yaml(resource: Mapping[str, Any]) -> str:
    """The resource as YAML text, without a `---` before it."""
    return "\n".join(_lines(resource, 0)) + "\n"


def _lines(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Mappings by indentation; text in quotes where YAML would take it for something else."""
    for key, each in value.items():
        start = f"{'  ' * depth}{key}:"
        if isinstance(each, Mapping):
            yield start
            yield from _lines(each, depth + 1)
        elif isinstance(each, str) and (not _PLAIN.fullmatch(each) or each.lower() in _NOT_TEXT):
            yield f"{start} {json.dumps(each)}"
        else:
            yield f"{start} {each}"
