"""A stage that is handed one record at a time."""

from collections.abc import Mapping
from typing import Any

from hookmill.core.outcome import Outcome
from hookmill.core.record import Record


def read(stage: Any, record: Record) -> Any:
    """What the stage reads in this record."""
    [task] = stage.read([record])
    return task


def decide(stage: Any, task: Any, state: Mapping[bytes, bytes]) -> Outcome:
    """What it decides; the state stays as it is."""
    outcome: Outcome
    [outcome] = stage.decide([task], dict(state))
    return outcome
