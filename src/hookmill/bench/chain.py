"""Judges a run of the whole chain: what each part took, and that nothing is missing or twice.

Where the time goes is told by the broker: it stamps every record of the chain with the millisecond
of its append (LogAppendTime), so a part's time runs from the append of the record that it reads to
the append of the record that it writes, and production pays nothing for it. The commit of the part
before, for which a `read_committed` reader waits, lies in the part that waits.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from hookmill.bench.figures import Check, Latency, latency
from hookmill.bench.open_loop import Posted

PARTS = ("ingress", "dedup", "normalize", "route", "handler")
"""In flow order; each but the last ends with the append of its own record."""


class Run(msgspec.Struct, frozen=True):
    """What a run left behind. Times in `posted` and `handled` are those of the monotonic clock,
    `clock_us` added to them gives epoch microseconds; `appended` has epoch milliseconds, by part
    and delivery, one for each record."""

    posted: Sequence[Posted]
    handled: Sequence[tuple[str, int]]
    appended: Mapping[str, Sequence[tuple[str, int]]]
    clock_us: int

    @property
    def accepted(self) -> dict[str, Posted]:
        """What the ingress took, by the id that it gave."""
        return {each.delivery: each for each in self.posted if each.delivery is not None}


def total(run: Run) -> Latency:
    """From when a delivery was due to when its handler had it."""
    handled = dict(run.handled)
    return latency(
        [(handled[delivery] - each.due_us) / 1e6 for delivery, each in run.accepted.items()
         if delivery in handled]
    )  # fmt: skip


def answered(run: Run) -> Latency:
    """From when a delivery was due to when the provider had the answer."""
    return latency([(each.answered_us - each.due_us) / 1e6 for each in run.accepted.values()])


def late_sends(run: Run) -> Latency:
    """How late the loader itself was; it is in every other latency, too."""
    return latency([(each.sent_us - each.due_us) / 1e6 for each in run.posted])


def by_part(run: Run) -> dict[str, Latency]:
    """What each part took. Two appends in one millisecond are 0 apart."""
    ends_us = [
        {delivery: at_ms * 1000 for delivery, at_ms in run.appended[part]} for part in PARTS[:-1]
    ]
    ends_us.append({delivery: at_us + run.clock_us for delivery, at_us in run.handled})
    begins_us = {delivery: each.due_us + run.clock_us for delivery, each in run.accepted.items()}
    found = {}
    for part, end_us in zip(PARTS, ends_us, strict=True):
        found[part] = latency(
            [max(0, end_us[each] - at_us) / 1e6 for each, at_us in begins_us.items()
             if each in end_us]
        )  # fmt: skip
        begins_us = dict(end_us)
    return found


def checks(run: Run) -> tuple[Check, ...]:
    """Whether every delivery was taken and went through every part exactly once."""
    refused = Counter(each.status for each in run.posted if each.delivery is None)
    wanted = Counter(list(run.accepted))
    went = {f"the topic that {part} writes": [each for each, _ in run.appended[part]]
            for part in PARTS[:-1]}  # fmt: skip
    went["the handler"] = [each for each, _ in run.handled]
    found = [Check(_refused(refused, len(run.posted)), not refused)]
    for where, deliveries in went.items():
        came = Counter(each for each in deliveries if each in wanted)
        missing, twice = len(wanted - came), len(came - wanted)
        text = f"every accepted delivery is in {where} exactly once"
        if missing or twice:
            text += f": {missing} missing, {twice} more than once, of {len(wanted)}"
        found.append(Check(text, not (missing or twice)))
    return tuple(found)


def _refused(refused: Counter[int], posted: int) -> str:
    if not refused:
        return f"all {posted:,} deliveries were accepted"
    told = ", ".join(f"{count} of {status or 'no answer'}" for status, count in refused.items())
    return f"of {posted:,} deliveries were not accepted: {told}"
