"""Rules that every owner of a partition keeps: where it begins, and that it commits whole."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hookmill.core.errors import HookmillError


class OffsetOutOfRange(HookmillError):
    """The position is outside the log: records were deleted unread. Only a person can go on."""


def goes_on_at(committed: int | None, kept: int | None, begin: int) -> int | None:
    """Where a partition goes on, by the group's committed offset and the one kept in the changelog.

    A transaction writes both, so they are the same; or the group's is gone, or was set back by
    hand. One that is ahead was committed alone, and what lies between has no outputs: it is done
    again. (Seen with Apache Kafka 4.3.1, two of three brokers killed: a coordinator that came back
    from its crash committed a part of what its successor aborted; see `transaction._settle`.)
    A kept one that the log has deleted tells nothing any more.
    """
    if kept is None or kept < begin:
        return committed if committed is not None else kept
    return kept if committed is None else min(committed, kept)


def in_range(topic: str, partition: int, start: int | None, begin: int, end: int) -> int:
    """The offset to start from: the log's start where there is none; never one outside the log."""
    if start is None:
        return begin
    if not begin <= start <= end:
        raise OffsetOutOfRange(
            f"offset {start} of partition {partition} of {topic} is outside the log ({begin} to "
            f"{end}): records were deleted unread, or the topic was made anew; set the group's "
            "offset by hand to go on"
        )
    return start


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await the work even through a cancellation: a commit and the store's write are one thing.

    The cancellation then goes on, whatever became of the work: a failed commit must not look like
    an ordinary error of a worker that is to be run anew.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the next owner's fence settles it
        raise
    finally:
        del task  # its error knows this call: a cycle, and the transaction with it
