"""Every pack does what every pack must do, and the kit notices one that does not."""

import json
from pathlib import Path

import msgspec
import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.local.conformance import examine
from hookmill.local.kit.specimen import bench, stories_told
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_pack_conforms(name: str) -> None:
    """Authentic deliveries are taken, altered ones refused, stories become what they tell."""
    found = examine(PACKS[name], fixtures=FIXTURES / name)

    assert found.problems == []
    assert found.cases > 500
    assert found.coverage["fixtures"] > 10


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_pack_says_whether_its_events_have_a_mode(name: str) -> None:
    """A route that asks for a mode that an endpoint's events never have is refused by it."""
    expected = [json.loads(path.read_text()) for path in (FIXTURES / name).rglob("*.expected.json")]
    modes = {(each.get("draft") or {}).get("mode") for each in expected}

    assert len(expected) > 5
    assert PACKS[name].says_mode is bool(modes & {"live", "test"})


@pytest.mark.parametrize("name", sorted(PACKS))
def test_two_lives_share_no_event(name: str) -> None:
    """Else one of them would be dropped as a duplicate of the other."""
    pack = PACKS[name]
    tried = bench(pack, msgspec.convert(dict(pack.example_options), pack.options))
    owners: dict[tuple[str, str], int] = {}
    for number, story in enumerate(stories_told(pack)):
        for step in story:
            for item in pack.identify(tried.delivery(step), tried.options):
                owner = owners.setdefault((item.event_id, item.event_type), number)
                assert owner == number, (step.becomes, item.event_id)


def test_a_verifier_that_takes_everything_is_noticed() -> None:
    """The kit can fail."""

    class Gullible(DeclaredPack):
        def verify(self, delivery: Delivery, terms: Terms) -> Secret:
            return terms.secrets[0]

    yoco = PACKS["yoco"]
    assert isinstance(yoco, DeclaredPack)
    found = examine(Gullible(yoco.declaration))

    assert any("a forger" in each for each in found.problems)
    assert any("flip" in each for each in found.problems)
