"""What proving a sender costs: every pack has its bare primitive, and a wrong verifier is told."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hookmill.bench.figures import Row
from hookmill.bench.verify import Subject, measured, primitive, result, subject
from hookmill.cli.main import application
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.pack import Pack, Terms
from hookmill.providers.registry import PACKS

ROW = Row(name="yoco", work=1, wall_secs=1.0, cpu_secs=1.0)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_every_pack_has_a_bare_primitive_on_what_was_really_signed(name: str) -> None:
    """Of a signature it says that it fits: it is made of the same bytes by the same key."""
    tried = subject(PACKS[name])

    assert tried.genuine
    assert tried.forged
    fits = [primitive(tried, each)() is True for each in tried.genuine]
    assert any(fits) if name == "mercadopago" else all(fits)  # an id's other case may be signed
    if not tried.pack.scheme(tried.terms.options).static:
        assert not any(primitive(tried, each)() for each in tried.forged)
    assert result([(tried, ROW)]).good


def test_work_is_counted_for_both_alike() -> None:
    """The ratio of a row is to a floor of its own, for as much work."""
    row = measured(subject(PACKS["stripe"]), 40)

    assert row.work == 40
    assert row.cpu_secs > 0
    assert row.floor_cpu_secs is not None
    assert result([]).ratio(row) == pytest.approx(row.cpu_secs / row.floor_cpu_secs)


class Gullible:
    """Takes whatever comes."""

    name = "gullible"

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """The secret, unseen."""
        return terms.secrets[0]


class Stubborn:
    """Takes nothing at all."""

    name = "stubborn"

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Refuse."""
        raise Refused(Reason.SIGNATURE_INVALID)


@pytest.mark.parametrize(
    ("pack", "wrong"),
    [(Gullible(), "every forged one was refused"), (Stubborn(), "every genuine delivery")],
)
def test_a_fast_wrong_verifier_is_no_figure(pack: Pack, wrong: str) -> None:
    """Both ways of being wrong are told."""
    tried = subject(PACKS["yoco"])
    found = result([(Subject(pack, tried.terms, tried.genuine, tried.forged), ROW)])

    assert not found.good
    assert [each.what.startswith(wrong) for each in found.checks if not each.good] == [True]


def test_the_command_prints_one_json_value_and_keeps_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For scripts, and to be held against the next run."""
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(application(), ["bench", "verify", "yoco", "--count", "8", "--json"])

    assert said.exit_code == 0, said.output
    assert [row["name"] for row in json.loads(said.stdout)["rows"]] == ["yoco"]
    assert (tmp_path / ".hookmill" / "bench.json").exists()
