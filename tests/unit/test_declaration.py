"""A pack as data: what its rows mean where they leave something out."""

import pytest

from hookmill.core.event import TYPES
from hookmill.core.resource import REPEATED_RANK, TERMINAL_RANK
from hookmill.providers.declaration import Row

REPEATED = {"subscription.renewed", "subscription.renewal_failed", "subscription.updated"}
UNDER_WAY = {
    "payment.created", "payment.pending", "payment.authorized", "payment.underpaid",
    "refund.pending", "transfer.pending", "subscription.created", "dispute.opened",
}  # fmt: skip


@pytest.mark.parametrize("becomes", [each for each in TYPES if not each.startswith("other.")])
def test_a_status_ends_its_resource_unless_it_is_one_that_goes_on(becomes: str) -> None:
    """A new status that is not thought of here would end a payment that goes on."""
    rank = Row(word="x", becomes=becomes).standing

    assert (rank == REPEATED_RANK) is (becomes in REPEATED)
    assert (REPEATED_RANK < rank < TERMINAL_RANK) is (becomes in UNDER_WAY)


def test_a_row_may_say_its_rank_itself() -> None:
    """Where a failed attempt may be followed by another."""
    assert Row(word="x", becomes="payment.failed", rank=2).standing == 2
