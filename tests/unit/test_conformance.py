"""Every pack does what every pack must do, and the kit notices one that does not."""

from typing import Any

import msgspec
import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.local.conformance import EXAMPLE_OPTIONS, examine
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS
from hookmill.providers.yoco import Yoco


def options_of(name: str) -> Any:
    """Options with which the pack can work."""
    return msgspec.convert(EXAMPLE_OPTIONS.get(name, {}), PACKS[name].options)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_pack_conforms(name: str) -> None:
    """Authentic deliveries are taken, altered ones refused, stories become what they tell."""
    found = examine(PACKS[name], options_of(name))

    assert found.problems == []
    assert found.cases > 200


def test_a_verifier_that_takes_everything_is_noticed() -> None:
    """The kit can fail."""

    class Gullible(Yoco):
        def verify(self, delivery: Delivery, terms: Terms) -> Secret:
            return terms.secrets[1]

    found = examine(Gullible(), options_of("yoco"))

    assert any("wrong secret" in each for each in found.problems)
    assert any("altered" in each for each in found.problems)
