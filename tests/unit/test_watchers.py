"""What engines tell of themselves becomes metrics: counted once, and with bounded labels."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookmill.cli import telemetry
from hookmill.cli.telemetry import HandlerTelemetry, StageTelemetry, bounded_type, show_secret_ages
from hookmill.config.options import Endpoint, SecretSource
from hookmill.core.outcome import DeadLetter, Forward, Outcome
from hookmill.core.record import Output, Record
from hookmill.stages import headers
from hookmill.stages.dedup import Duplicate
from hookmill.stages.normalize import Unrecognized
from hookmill.telemetry import catalog, kinds
from support.receivers import event


class Shown:
    """What the metrics show, compared with what they showed before."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in catalog.REGISTRY.collect()
            for sample in family.samples
        }

    def more(self, name: str, **labels: str) -> float:
        """By how much a sample has grown."""
        key = (f"hookmill_{name}", tuple(sorted(labels.items())))
        return self._now().get(key, 0) - self._before.get(key, 0)


@pytest.fixture
def shown() -> Shown:
    """From here on."""
    return Shown()


@pytest.fixture(autouse=True)
def types() -> Iterator[None]:
    """As in a process that has just begun."""
    telemetry._types.clear()
    yield
    telemetry._types.clear()


def record(**more: str) -> Record:
    """A record of an endpoint."""
    pairs = {headers.ENDPOINT: "shop", headers.PROVIDER: "yoco", headers.DELIVERY: "d-1", **more}
    carried = tuple((name, value.encode()) for name, value in pairs.items())
    return Record("in", 0, 7, 0, b"shop|p_1", b"{}", carried)


def forward(*extra: tuple[str, bytes]) -> Forward:
    """One output with these headers."""
    return Forward((Output("to", b"", b"", extra),))


def committed(stage: str, outcomes: Iterable[Outcome], **more: str) -> None:
    """A transaction with these outcomes."""
    tally = StageTelemetry(stage, 0).tally()
    for each in outcomes:  # a transaction is told of chunk after chunk
        tally.add([(record(**more), each)])
    tally.committed(0.2)


def test_a_transaction_is_counted_with_everything_in_it(shown: Shown) -> None:
    """Its records by outcome, its size, and what was set aside by reason."""
    committed("dedup", [forward(), forward(), DeadLetter("no_identity")])

    assert shown.more("transactions_total", stage="dedup", result="committed") == 1
    assert shown.more("transaction_seconds_sum", stage="dedup") == pytest.approx(0.2)
    assert shown.more("stage_batch_records_sum", stage="dedup") == 3
    assert shown.more("stage_batch_records_count", stage="dedup") == 1
    assert shown.more("stage_records_total", stage="dedup", outcome="forwarded") == 2
    assert shown.more("stage_records_total", stage="dedup", outcome="dead_lettered") == 1
    assert shown.more("dead_letters_total", part="dedup", reason="no_identity") == 1


def test_how_late_duplicates_come_is_shown_by_endpoint(shown: Shown) -> None:
    """A clock that went back between two brokers makes it 0, never less."""
    ages_ms = [-5, 500, 3_600_000]
    committed("dedup", [Duplicate("duplicate", age_ms=each, endpoint="shop") for each in ages_ms])

    assert shown.more("stage_records_total", stage="dedup", outcome="dropped") == 3
    assert shown.more("duplicates_dropped_total", endpoint="shop") == 3
    assert shown.more("duplicate_age_seconds_sum", endpoint="shop") == pytest.approx(3600.5)
    assert shown.more("duplicate_age_seconds_bucket", endpoint="shop", le="1.0") == 2
    assert shown.more("duplicate_age_seconds_bucket", endpoint="shop", le="600.0") == 2
    assert shown.more("duplicate_age_seconds_bucket", endpoint="shop", le="3600.0") == 3


def test_an_unrecognized_event_is_counted_by_the_providers_own_word(shown: Shown) -> None:
    """Only those; and an event without a word of its own is counted too."""
    unknown = Unrecognized(forward().outputs)
    committed("normalize", [unknown, forward()], **{headers.EVENT_TYPE: "loan.paid"})
    committed("normalize", [unknown])

    assert shown.more("unrecognized_events_total", provider="yoco", type="loan.paid") == 1
    assert shown.more("unrecognized_events_total", provider="yoco", type="-") == 1


def test_a_providers_words_are_bounded() -> None:
    """The first fifty of the process; of those that are no label none."""
    words = [f"word.{number}" for number in range(60)]
    first = [bounded_type(each) for each in words]
    again = [bounded_type(each) for each in words]

    assert first == again == words[:50] + ["other"] * 10
    assert [bounded_type(each) for each in ("x" * 65, "new\nline")] == ["other", "other"]


def test_it_is_shown_how_long_after_its_receipt_an_event_is_handled(shown: Shown) -> None:
    """Retries and lags included; a clock that is behind makes it 0."""
    received = msgspec.structs.replace(event(), received_at="2026-11-23T09:00:00.000000Z")
    at_us = 1_795_424_400_000_000
    HandlerTelemetry("x", 0, now_us=lambda: at_us + 90_000_000).handled(record(), received, 0.1)
    HandlerTelemetry("x", 0, now_us=lambda: at_us - 90_000_000).handled(record(), received, 0.1)

    assert shown.more("handler_settled_seconds_sum", handler="x") == pytest.approx(90)
    assert shown.more("handler_settled_seconds_count", handler="x") == 2


def test_a_secrets_age_is_that_of_its_file(tmp_path: Path) -> None:
    """Looked up when metrics are asked for; a secret of the environment has none."""
    path = tmp_path / "secret"
    path.write_text("s")
    files = Endpoint(
        provider="yoco",
        secrets=(SecretSource(name="now", file=str(path)), SecretSource(name="old", env="E")),
    )
    show_secret_ages({"aged": files})
    os.utime(path, (0, 1_700_000_000))

    def age(secret: str) -> Any:
        name = "hookmill_secret_modified_timestamp_seconds"
        return catalog.REGISTRY.get_sample_value(name, {"endpoint": "aged", "secret": secret})

    assert age("now") == 1_700_000_000
    assert age("old") is None
    path.unlink()
    assert age("now") != age("now"), "not a number while the file is away"


def test_a_moment_is_not_shown_before_it_is_known() -> None:
    """0 would be 1970: every process would seem to have a certificate that has expired."""
    moment = kinds.Moment("hm_moment", "A moment", registry=None)
    before = [sample for family in moment.collect() for sample in family.samples]
    moment.set(5)
    [after] = [sample for family in moment.collect() for sample in family.samples]

    assert before == []
    assert after.value == 5
