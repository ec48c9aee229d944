"""What a team gets to test its own receiver with: signed deliveries of any provider."""

import stripe

from hookmill.testing.providers import AT_US, deliveries

SECRET = "whsec_of_the_tests"


def test_the_providers_own_library_takes_them() -> None:
    """With the secret that they were signed with, at their time."""
    found = list(deliveries("stripe", secret=SECRET, seed=3, count=8))

    for each in found:
        stripe.WebhookSignature.verify_header(
            each.body.decode(), each.headers["stripe-signature"], SECRET, tolerance=None
        )
    assert len(found) == 8


def test_the_same_seed_gives_the_same_business() -> None:
    """So that a failing test fails again."""
    one, other = (
        [(each.body, each.becomes) for each in deliveries("yoco", secret="whsec_" + "a" * 32,
                                                          at_us=AT_US, seed=5, count=6)]
        for _ in range(2)
    )  # fmt: skip

    assert one == other
    assert len({body for body, _ in one}) > 1
