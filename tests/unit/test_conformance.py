"""Every pack does what every pack must do, and the kit notices one that does not."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.local.conformance import EXAMPLE_OPTIONS, examine
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS
from hookmill.providers.yoco import Yoco

FIXTURES = Path(__file__).parents[1] / "fixtures"


def options_of(name: str) -> Any:
    """Options with which the pack can work."""
    return msgspec.convert(EXAMPLE_OPTIONS.get(name, {}), PACKS[name].options)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_pack_conforms(name: str) -> None:
    """Authentic deliveries are taken, altered ones refused, stories become what they tell."""
    found = examine(PACKS[name], options_of(name))

    assert found.problems == []
    assert found.cases > 200


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_pack_says_whether_its_events_have_a_mode(name: str) -> None:
    """A route that asks for a mode that an endpoint's events never have is refused by it."""
    expected = [json.loads(path.read_text()) for path in (FIXTURES / name).glob("*.expected.json")]
    modes = {(each.get("draft") or {}).get("mode") for each in expected}

    assert len(expected) > 5
    assert PACKS[name].says_mode is bool(modes & {"live", "test"})


def test_a_verifier_that_takes_everything_is_noticed() -> None:
    """The kit can fail."""

    class Gullible(Yoco):
        def verify(self, delivery: Delivery, terms: Terms) -> Secret:
            return terms.secrets[1]

    found = examine(Gullible(), options_of("yoco"))

    assert any("wrong secret" in each for each in found.problems)
    assert any("altered" in each for each in found.problems)
