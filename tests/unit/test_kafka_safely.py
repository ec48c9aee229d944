"""Where a partition goes on: by the group's offset, and by the one that was written with it."""

import pytest

from hookmill.kafka.safely import goes_on_at


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
