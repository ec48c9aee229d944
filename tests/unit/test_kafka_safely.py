"""Where a partition goes on: by the group's offset, and by the one that was written with it; and
what becomes of a commit that fails."""

import asyncio

import pytest

from hookmill.kafka.safely import goes_on_at, to_the_end
from support.garbage import uncollected


@pytest.mark.parametrize(
    ("expected", "committed", "kept"),
    [
        (None, None, None),
        (7, 7, None),
        (7, None, 7),
        (7, 7, 7),
        (7, 9, 7),
        (5, 5, 7),
        (9, 9, 3),
    ],
    ids=["nothing", "a new changelog", "the group's is gone", "as written", "committed alone",
         "set back by hand", "what the changelog tells is deleted"],
)  # fmt: skip
def test_the_lower_one_is_believed(
    expected: int | None, committed: int | None, kept: int | None
) -> None:
    """As long as the log still has it: from offset 4 on."""
    assert goes_on_at(committed, kept, 4) == expected


async def test_a_commit_that_failed_holds_nothing() -> None:
    """Its transaction is megabytes, and a broker may refuse for hours."""

    async def commit() -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    with uncollected() as garbage:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await to_the_end(commit())
        await asyncio.sleep(0)

    assert not garbage
