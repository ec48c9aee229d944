"""Decides a few records: all together where nothing is in the way, else one after the other.

Whether a record's state counts depends on whether its outputs fit their topics and the
transaction. Nearly always they do, so the stage decides all of them as if they did, each of its
steps for all at once; where something is in the way, that is thrown away and each has its turn.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hookmill.core.outcome import DeadLetter, Forward, Outcome, Retry
from hookmill.core.record import Output, Record, size_of
from hookmill.kafka.store import Overlay
from hookmill.stages.stage import Stage


class Decisions(NamedTuple):
    """The outcomes of the first of some records, in order, without any `Retry`.

    `size_bytes` is what they write. `retry` is what was said of the record behind them, if it is to
    be tried again; without it that one found no room.
    """

    outcomes: list[Outcome]
    size_bytes: int
    retry: Retry | None = None


class Decider:
    """A stage, and what of its decisions counts. `value_bytes_max` says for a topic how large an
    output may be."""

    def __init__(self, stage: Stage[Any], value_bytes_max: Callable[[str], int]) -> None:
        self._stage = stage
        self._value_bytes_max = value_bytes_max

    def decide(
        self, records: Sequence[Record], overlay: Overlay, *, room_bytes: int, always_one: bool
    ) -> Decisions:
        """What is said of these records, as far as it has room; with `always_one` the first has.

        What they change lies in the overlay.
        """
        try:
            tasks = self._stage.read(records)
        except Exception:  # whose defect it is shows where each is read alone
            alone = [self._read_alone(record) for record in records]
            return self._in_turn(alone, overlay, room_bytes, always_one=always_one)
        state = overlay.look_up({key for task in tasks for key in task.state_keys})
        together = self._together(tasks, state, overlay, room_bytes)
        return together or self._in_turn(tasks, overlay, room_bytes, always_one=always_one)

    def _read_alone(self, record: Record) -> Any:
        try:
            [task] = self._stage.read([record])
        except Exception as error:  # a defect of the stage must not stop the partition
            return _defect(error)
        return task

    def _together(
        self, tasks: Sequence[Any], state: dict[bytes, bytes], overlay: Overlay, room_bytes: int
    ) -> Decisions | None:
        """As if nothing were in the way; None where something is."""
        try:
            outcomes = self._stage.decide(tasks, state)
        except Exception:  # as above
            return None
        retry: Retry | None = None
        whole_bytes = 0
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, Retry):
                outcomes, retry = outcomes[:place], outcome
                break
            size_bytes = self._size(outcome)
            if size_bytes is None:
                return None
            whole_bytes += size_bytes
        if whole_bytes > room_bytes:
            return None
        for outcome in outcomes:
            if isinstance(outcome, Forward):
                overlay.put(outcome.state)
        return Decisions(outcomes, whole_bytes, retry)

    def _in_turn(
        self, tasks: Sequence[Any], overlay: Overlay, room_bytes: int, *, always_one: bool
    ) -> Decisions:
        """Each as it is once those before it are done."""
        outcomes: list[Outcome] = []
        whole_bytes = 0
        for task in tasks:
            outcome = self._alone(task, overlay)
            if isinstance(outcome, Retry):
                return Decisions(outcomes, whole_bytes, outcome)
            size_bytes = self._size(outcome)
            if size_bytes is None:
                what = "an output is larger than its topic takes"
                outcome, size_bytes = DeadLetter("output_too_large", what), 0
            if whole_bytes + size_bytes > room_bytes and (outcomes or not always_one):
                break
            whole_bytes += size_bytes
            if isinstance(outcome, Forward):
                overlay.put(outcome.state)
            outcomes.append(outcome)
        return Decisions(outcomes, whole_bytes)

    def _alone(self, task: Any, overlay: Overlay) -> Outcome:
        if isinstance(task, DeadLetter):
            return task
        try:
            [outcome] = self._stage.decide([task], overlay.look_up({*task.state_keys}))
        except Exception as error:  # pure code fails the same way every time
            return _defect(error)
        return outcome

    def _size(self, outcome: Outcome) -> int | None:
        """What it writes to topics, in bytes; None where one of them does not take its output."""
        whole_bytes = size_bytes = 0
        measured: Output | None = None
        for output in outcome.outputs if isinstance(outcome, Forward) else ():
            if measured is None or not _alike(output, measured):
                size_bytes, measured = size_of(output), output
            if size_bytes > self._value_bytes_max(output.topic):
                return None
            whole_bytes += size_bytes
        return whole_bytes


def _alike(one: Output, other: Output) -> bool:
    """Whether both are the same record, for two topics."""
    return one.value is other.value and one.headers is other.headers and one.key is other.key


def _defect(error: Exception) -> DeadLetter:
    return DeadLetter("stage_error", f"{type(error).__name__}: {error}")
