"""The map: what every stage reads and writes exists, and nothing is kept for too short a time."""

import re

import pytest

from hookmill import pipeline
from hookmill.config.options import Configuration, Endpoint, Handler, Ingress
from hookmill.core.event import STATUSES
from hookmill.pipeline import STAGES, Names, Stage, Topic
from hookmill.providers.endpoint import build_all
from hookmill.stages.dedup import Dedup
from hookmill.stages.normalize import Normalize
from hookmill.stages.route import Route, Rule

DAY_MS = 24 * 60 * 60 * 1000

CONFIG = Configuration(
    endpoints={"shop-za": Endpoint(provider="yoco"), "invoices": Endpoint(provider="rehive")},
    handlers={"ledger": Handler(type="ledger"), "log": Handler(type="log")},
)


def topics(config: Configuration = CONFIG) -> dict[str, Topic]:
    """The topics of that configuration by name."""
    return {each.name: each for each in pipeline.topics(config, build_all(config.endpoints))}


def test_the_map_in_flow_order() -> None:
    """The whole list, as `hookmill topics plan` shows it."""
    assert list(topics()) == [
        "webhooks-raw",
        "webhooks-deliveries",
        "webhooks-rejected",
        "webhooks-unique",
        "dedup-seen",
        "dedup-dlq",
        "events-normalized",
        "resource-state",
        "normalize-dlq",
        "events-payment",
        "events-refund",
        "events-transfer",
        "events-subscription",
        "events-dispute",
        "events-other",
        "route-positions",
        "route-dlq",
        "handler-ledger",
        "handler-ledger-retry-30",
        "handler-ledger-retry-300",
        "handler-ledger-retry-3600",
        "handler-ledger-state",
        "handler-ledger-dlq",
        "handler-log",
        "handler-log-retry-30",
        "handler-log-retry-300",
        "handler-log-retry-3600",
        "handler-log-state",
        "handler-log-dlq",
        "dlq-decisions",
    ]


def test_no_topic_is_named_twice() -> None:
    """Two entries would differ one day."""
    listed = pipeline.topics(CONFIG, build_all(CONFIG.endpoints))

    assert len(listed) == len({each.name for each in listed})


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_stages_topics_are_in_the_map(stage: Stage) -> None:
    """What it reads, its changelog, where it sets aside."""
    needed = {stage.reads, stage.dead_letters} | ({stage.changelog} if stage.changelog else set())

    assert needed <= set(topics())


def test_each_stage_reads_what_the_one_before_writes() -> None:
    """The chain has no gap."""
    written_by = {name: topic.written_by for name, topic in topics().items()}

    assert [(each.name, written_by[each.reads]) for each in STAGES.values()] == [
        ("dedup", "ingress"),
        ("normalize", "dedup"),
        ("route", "normalize"),
    ]


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_stage_has_its_decision(stage: Stage) -> None:
    """The map and the code know the same stages."""
    expected = {"dedup": Dedup, "normalize": Normalize, "route": Route}
    made = pipeline.decision(stage, build_all(CONFIG.endpoints), [], Names())

    assert type(made) is expected[stage.name]
    assert made.name == stage.name


def test_a_stage_that_nobody_knows_is_a_defect() -> None:
    """It can come from no configuration."""
    with pytest.raises(AssertionError, match="no stage is called enrich"):
        pipeline.decision(Stage("enrich", "webhooks-raw", None), {}, [], Names())


def test_every_kind_has_its_topic() -> None:
    """A kind without one would stop route."""
    assert {kind: f"events-{kind}" for kind in STATUSES} == pipeline.KIND_TOPICS
    assert set(pipeline.KIND_TOPICS.values()) <= set(topics())


def test_every_handler_that_a_rule_names_has_its_queue() -> None:
    """Route writes to topics of the map only."""
    rules = [Rule(name="money", handlers=("ledger", "log"))]
    made = pipeline.decision(pipeline.ROUTE, {}, rules, Names())

    assert isinstance(made, Route)
    assert set(made._queues.values()) == {"handler-ledger", "handler-log"}
    assert set(made._queues.values()) <= set(topics())


def test_a_handlers_topics_are_named_after_it() -> None:
    """One queue a handler, so that a redrive reaches nobody else."""
    its = pipeline.HandlerTopics("ledger")

    assert its.part == its.queue == "handler-ledger"
    assert its.dead_letters == "handler-ledger-dlq"
    assert its.state == "handler-ledger-state"
    assert its.retry(300) == "handler-ledger-retry-300"


def test_every_dead_letter_goes_again_to_where_it_failed() -> None:
    """A stage's to its input, a handler's to its own queue; topics of the map, all of them."""
    found = pipeline.sent_again_to(["ledger", "log"])

    assert list(found.items()) == [
        ("dedup-dlq", "webhooks-raw"),
        ("normalize-dlq", "webhooks-unique"),
        ("route-dlq", "events-normalized"),
        ("handler-ledger-dlq", "handler-ledger"),
        ("handler-log-dlq", "handler-log"),
    ]
    assert {*found, *found.values()} <= set(topics())
    assert {name for name in topics() if name.endswith("-dlq")} == set(found)


@pytest.mark.parametrize(
    ("topic", "delay_secs"),
    [
        ("handler-a-retry-30", 30),
        ("handler-a-retry-", None),
        ("handler-a-retry-30s", None),
        ("handler-ab-retry-30", None),
        ("handler-a-dlq", None),
        ("handler-a", None),
    ],
)
def test_a_retry_topic_says_its_delay(topic: str, delay_secs: int | None) -> None:
    """Those of a delay that is configured no more are known by their name."""
    assert pipeline.HandlerTopics("a").delay_secs(topic) == delay_secs


def test_nothing_between_provider_and_handler_is_kept_shorter_than_raw() -> None:
    """A part that stood still must be able to come back."""
    found = topics()
    aside = {"webhooks-rejected"}
    kept_ms = {name: topic.retention_ms for name, topic in found.items() if name not in aside}

    assert found["webhooks-raw"].retention_ms == 35 * DAY_MS
    assert min(kept_ms.values()) == 35 * DAY_MS
    assert found["webhooks-rejected"].retention_ms == 7 * DAY_MS
    assert found["resource-state"].retention_ms == 400 * DAY_MS


def test_sightings_outlive_the_longest_window() -> None:
    """By a week: a sighting that is gone too early lets an event through twice."""
    long = Endpoint(provider="yoco", dedup_window_secs=90 * 86_400)
    config = Configuration(endpoints={**CONFIG.endpoints, "long": long})

    assert topics()["dedup-seen"].retention_ms == 37 * DAY_MS
    assert topics(config)["dedup-seen"].retention_ms == 97 * DAY_MS
    assert topics(Configuration())["dedup-seen"].retention_ms == 37 * DAY_MS


def test_only_state_is_compacted() -> None:
    """Events are deleted by age alone; a compacted queue would lose some."""
    compacted = {name for name, each in topics().items() if each.cleanup == "compact,delete"}

    assert compacted == {each.changelog for each in STAGES.values() if each.changelog}
    assert compacted == {"dedup-seen", "resource-state", "route-positions"}


def test_changelogs_close_their_segments_soon() -> None:
    """Only closed ones are compacted, and a changelog gets a mark with every transaction."""
    soon = {name for name, each in topics().items() if each.segment_ms == 3_600_000}

    assert soon == {name for name, each in topics().items() if "compact" in each.cleanup}
    assert {each.changelog for each in STAGES.values()} < soon


def test_what_is_parked_and_what_was_decided_is_kept_for_ever() -> None:
    """A parked event has no other place, however long its handler stands still."""
    kept = {name for name, each in topics().items() if each.cleanup == "compact"}

    assert kept == {"handler-ledger-state", "handler-log-state", "dlq-decisions"}


@pytest.mark.parametrize("body_bytes_max", [1024, 1_048_576, 16 * 1024 * 1024])
def test_every_topic_takes_what_the_ingress_takes(body_bytes_max: int) -> None:
    """Later topics take more: headers grow on the way."""
    found = topics(Configuration(ingress=Ingress(body_bytes_max=body_bytes_max)))
    by_ingress = {each.message_bytes_max for each in found.values() if each.written_by == "ingress"}
    later = {each.message_bytes_max for each in found.values() if each.written_by != "ingress"}

    assert by_ingress == {body_bytes_max + 256 * 1024}
    assert min(later) == body_bytes_max + 512 * 1024


def test_names_have_hyphens_and_no_dots() -> None:
    """Kafka's own metrics cannot tell dots from underscores."""
    for name in topics():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


@pytest.mark.parametrize(
    ("namespace", "topic", "group"),
    [
        ("", "webhooks-raw", "hookmill-dedup"),
        ("eu", "eu-webhooks-raw", "eu-hookmill-dedup"),
        ("eu-", "eu-webhooks-raw", "eu-hookmill-dedup"),
        ("eu-west", "eu-west-webhooks-raw", "eu-west-hookmill-dedup"),
    ],
)
def test_the_namespace_goes_in_front_of_every_name(namespace: str, topic: str, group: str) -> None:
    """Joined by one hyphen, whether it ends in one or not."""
    names = Names(namespace)

    assert (topic, group) == (names.topic("webhooks-raw"), names.group("dedup"))


def test_groups_are_named_after_their_part() -> None:
    """As dashboards and scripts know them."""
    parts = [*STAGES, "handler-ledger"]

    assert [Names().group(part) for part in parts] == [
        "hookmill-dedup",
        "hookmill-normalize",
        "hookmill-route",
        "hookmill-handler-ledger",
    ]


def test_events_name_the_raw_topic_as_it_is_in_the_cluster() -> None:
    """Whoever reads an event finds its bytes without knowing of namespaces."""
    made = pipeline.decision(pipeline.NORMALIZE, {}, [], Names("eu"))

    assert isinstance(made, Normalize)
    assert made._raw_topic == "eu-webhooks-raw"
