"""A consumer's questions to a broker: one after the other, with a rest between."""

import asyncio
from typing import Any

import pytest

from hookmill.kafka.inbox import rested


async def answers(assignment: Any, node_id: int, request: Any) -> bool:
    """At once."""
    return True


async def test_a_node_that_answered_rests_before_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another is asked meanwhile, and what was never asked at once."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("hookmill.kafka.inbox.REST_SECS", 1_000.0)
    paced = rested(answers)
    assert await paced(None, 1, None)
    assert await paced(None, 2, None)
    assert slept == []

    assert await paced(None, 1, None)
    (rest,) = slept
    assert 0 < rest <= 1_000


async def test_whoever_is_no_longer_interested_is_told_that_nothing_came() -> None:
    """As aiokafka's own question says when an assignment is given up in the middle of it."""
    paced = rested(answers)
    await paced(None, 1, None)
    resting = asyncio.ensure_future(paced(None, 1, None))
    await asyncio.sleep(0)
    resting.cancel()

    assert await resting is False
