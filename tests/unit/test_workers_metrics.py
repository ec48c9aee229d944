"""Several workers' metrics as one page: counters, gauges and histograms added up."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hookmill.cli.workers import add_up
from hookmill.telemetry import catalog

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def page(*lines: str) -> str:
    """A page of the text format."""
    return "\n".join(lines) + "\n"


def worker(requests: dict[str, int], in_flight: int, seconds: list[float]) -> str:
    """What a worker with these numbers shows."""
    registry = CollectorRegistry()
    counter = Counter("hm_requests", "Deliveries answered", ("outcome",), registry=registry)
    for outcome, count in requests.items():
        counter.labels(outcome).inc(count)
    Gauge("hm_in_flight", "Being answered", registry=registry).set(in_flight)
    histogram = Histogram("hm_seconds", "How long", buckets=(0.1, 1.0), registry=registry)
    for each in seconds:
        histogram.observe(each)
    return generate_latest(registry).decode()


def samples(text: str) -> Samples:
    """Every sample of a page, as Prometheus would read it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_samples_of_one_name_and_labels_are_added() -> None:
    """A label set that only one worker has stays as it is."""
    one = worker({"accepted": 3, "draining": 1}, 2, [0.05, 0.5])
    other = worker({"accepted": 4, "secret_invalid": 7}, 5, [3.0])

    assert samples(add_up([one, other])) == {
        ("hm_requests_total", (("outcome", "accepted"),)): 7.0,
        ("hm_requests_total", (("outcome", "draining"),)): 1.0,
        ("hm_requests_total", (("outcome", "secret_invalid"),)): 7.0,
        ("hm_in_flight", ()): 7.0,
        ("hm_seconds_bucket", (("le", "0.1"),)): 1.0,
        ("hm_seconds_bucket", (("le", "1.0"),)): 2.0,
        ("hm_seconds_bucket", (("le", "+Inf"),)): 3.0,
        ("hm_seconds_count", ()): 3.0,
        ("hm_seconds_sum", ()): 3.55,
    }


def test_of_a_moment_the_earliest_is_shown() -> None:
    """The certificate that expires first; added up it would be one of the year 2080."""
    pages = []
    for moment in (1_790_000_000, 1_780_000_000):
        registry = CollectorRegistry()
        Gauge("hm_expiry_timestamp_seconds", "When", registry=registry).set(moment)
        pages.append(generate_latest(registry).decode())

    assert samples(add_up(pages)) == {("hm_expiry_timestamp_seconds", ()): 1_780_000_000}


def test_the_page_is_written_as_prometheus_reads_it() -> None:
    """One head a family, its samples below it, a line break at the end."""
    one = page(
        "# HELP hm_requests_total Deliveries answered",
        "# TYPE hm_requests_total counter",
        'hm_requests_total{endpoint="shop",outcome="accepted"} 3.0',
        "# HELP hm_in_flight Being answered",
        "# TYPE hm_in_flight gauge",
        "hm_in_flight 1.0",
    )

    assert add_up([one, one]) == page(
        "# HELP hm_requests_total Deliveries answered",
        "# TYPE hm_requests_total counter",
        'hm_requests_total{endpoint="shop",outcome="accepted"} 6.0',
        "# HELP hm_in_flight Being answered",
        "# TYPE hm_in_flight gauge",
        "hm_in_flight 2.0",
    )


def test_types_survive() -> None:
    """Dashboards ask a counter for its rate and a histogram for its quantiles."""
    text = add_up([worker({"accepted": 1}, 1, [1.0])] * 2)
    types = {family.name: family.type for family in text_string_to_metric_families(text)}

    assert types == {"hm_requests": "counter", "hm_in_flight": "gauge", "hm_seconds": "histogram"}


def test_buckets_stay_in_their_order() -> None:
    """Prometheus wants them rising, and all of a label set together."""
    both = add_up([worker({}, 0, [0.5]), worker({}, 0, [0.05])])
    buckets = [line for line in both.splitlines() if line.startswith("hm_seconds_bucket")]

    assert buckets == [
        'hm_seconds_bucket{le="0.1"} 1.0',
        'hm_seconds_bucket{le="1.0"} 2.0',
        'hm_seconds_bucket{le="+Inf"} 2.0',
    ]


def test_no_worker_says_when_it_began() -> None:
    """The sum of two points in time means nothing, so none is shown."""
    catalog.REQUESTS.labels("shop", "accepted").inc()
    shown = generate_latest(catalog.REGISTRY).decode()

    assert "hookmill_ingress_requests_total" in shown
    assert "_created" not in shown


@pytest.mark.parametrize("value", ['quo"te', "back\\slash", "two\nlines", "a,b={}", "", "ü"])
def test_label_values_survive(value: str) -> None:
    """Whatever characters a label has."""
    text = add_up([worker({value: 1}, 0, [])] * 2)

    assert samples(text)["hm_requests_total", (("outcome", value),)] == 2.0


def test_help_texts_survive() -> None:
    """A line break in one must not break the page."""
    registry = CollectorRegistry()
    Gauge("hm_odd", "two\nlines and a \\", registry=registry).set(1)
    (family,) = text_string_to_metric_families(add_up([generate_latest(registry).decode()]))

    assert family.documentation == "two\nlines and a \\"


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ((1e15, 1.0), 1_000_000_000_000_001.0),
        ((1e300, 1e300), 2e300),
        ((float("inf"), 1.0), float("inf")),
        ((-1.5, 0.5), -1.0),
    ],
)
def test_any_figure_can_be_added(values: tuple[float, float], total: float) -> None:
    """Large, small and endless ones read back as they are."""
    pages = []
    for value in values:
        registry = CollectorRegistry()
        Gauge("hm_figure", "A figure", registry=registry).set(value)
        pages.append(generate_latest(registry).decode())

    assert samples(add_up(pages)) == {("hm_figure", ()): total}


def test_one_worker_is_shown_as_it_is() -> None:
    """Sample by sample."""
    alone = worker({"accepted": 3, "draining": 1}, 2, [0.05])

    assert samples(alone) == samples(add_up([alone]))


def test_no_worker_is_an_empty_page() -> None:
    """Prometheus takes it; nothing is invented."""
    assert samples(add_up([])) == {}
