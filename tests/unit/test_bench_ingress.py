"""The benchmark of the ingress: deliveries that are really signed, wrong results that are told."""

import pytest

from hookmill.bench.ingress import Posted, Side, all_kept, posts
from hookmill.bench.load import Answer, Outcome
from hookmill.cli.bench.trials import outage_figures
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.local.simulator import Target
from hookmill.providers.pack import Terms
from hookmill.providers.registry import PACKS

AT_US = 1_790_000_000_000_000
YOCO = PACKS["yoco"]
TARGET = Target(url="http://x", endpoint="shop", pack=YOCO, options=None,
                secret=YOCO.example_secret("main"))  # fmt: skip
TERMS = Terms(secrets=[Secret("main", YOCO.key(TARGET.secret))], tolerance_secs=180)


def outcome(*answers: Answer) -> Outcome:
    """What a load says."""
    return Outcome(answers=list(answers), unposted=0, wall_secs=2.0, cpu_secs=0.5)


def kept(delivery: str, body: bytes) -> Record:
    """A record of webhooks-raw."""
    return Record("webhooks-raw", 0, 0, 0, b"k", body, (("hm-delivery", delivery.encode()),))


def test_requests_are_whole_signed_and_different() -> None:
    """About 1 KiB each; the ingress has nothing to refuse and nothing to find in a cache."""
    made = posts(TARGET, 20, seed=1, at_us=AT_US)

    assert len({each.body for each in made}) == 20
    for each in made:
        head, _, body = each.wire.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = tuple((name, value) for name, _, value in (one.partition(": ") for one in lines))
        assert line == "POST /webhooks/shop HTTP/1.1"
        assert body == each.body
        assert dict(headers)["content-length"] == str(len(body))
        assert 1000 <= len(body) <= 1100
        assert YOCO.verify(Delivery(headers, body, AT_US), TERMS).name == "main"


def test_only_a_2xx_counts_as_accepted() -> None:
    """By the id that the answer gave."""
    side = Side(name="ingress")
    posted = [Posted(b"", b"a"), Posted(b"", b"b"), Posted(b"", b"c")]
    side.add(
        posted,
        outcome(Answer(0, 200, 1.0, 0.1, "d-1"), Answer(1, 503, 1.0, 0.2, ""),
                Answer(2, 0, 1.0, 0.3, "")),
        cpu_secs=0.5, rss_bytes=7,
    )  # fmt: skip

    assert side.kept == {"d-1": b"a"}
    assert side.offered == 3
    assert side.row().latency is not None


@pytest.mark.parametrize(
    ("found", "good"),
    [
        ([kept("d-1", b"a"), kept("d-2", b"b")], True),
        ([kept("d-1", b"a")], False),
        ([kept("d-1", b"a"), kept("d-2", b"B")], False),
        ([kept("d-1", b"a"), kept("d-2", b"b"), kept("d-2", b"b")], False),
        ([kept("d-1", b"a"), kept("d-2", b"b"), kept("d-3", b"c")], False),
    ],
    ids=["all of it", "one lost", "one altered", "one twice", "one too many"],
)
def test_what_was_acknowledged_is_looked_up(found: list[Record], good: bool) -> None:
    """Once, byte for byte, and nothing else."""
    said = {"d-1": b"a", "d-2": b"b"}

    assert all_kept("webhooks-raw", said, found).good is good


def test_an_outage_is_told_by_its_moments() -> None:
    """Killed at 10, known at 14, back at 20, accepted at 20.5; who waited 4 s did not know yet."""
    figures = outage_figures(
        outcome(
            Answer(0, 200, 9.0, 0.01, "d-0"),
            Answer(1, 503, 14.0, 3.9, ""),
            Answer(2, 503, 15.0, 0.002, ""),
            Answer(3, 503, 16.0, 0.002, ""),
            Answer(4, 200, 20.5, 0.3, "d-4"),
            Answer(5, 200, 21.0, 0.01, "d-5"),
        ),
        killed_at=10.0,
        back_at=20.0,
    )

    assert [each.value for each in figures] == pytest.approx([4.0, 2.0, 0.5])
    assert figures[-1].good


def test_an_outage_that_does_not_end_is_an_error() -> None:
    """Not a figure."""
    with pytest.raises(HookmillError, match="0 accepted after its return"):
        outage_figures(outcome(Answer(0, 503, 15.0, 0.1, "")), killed_at=10.0, back_at=20.0)
