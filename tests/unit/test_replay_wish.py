"""Which events of the past a replay gives a handler, and how they go."""

import pytest

from hookmill.core.event import Event, encode
from hookmill.core.record import Record
from hookmill.stages import headers
from hookmill.stages.letters import Place
from hookmill.stages.replay import Wish, again, meant
from hookmill.stages.route import Rule
from support.events import payment

EVENT = payment(1)
RULES = (
    Rule(name="money", handlers=("ledger", "audit"), types=("payment.*",)),
    Rule(name="all", handlers=("log",)),
)


def record(event: Event | None = None, *, value: bytes = b"") -> Record:
    """A record of `events-normalized`."""
    return Record("events-normalized", 3, 42, 0, b"shop|p_1", value or encode(event or EVENT),
                  (("ce_id", b"hm_1"), (headers.DELIVERY, b"d")))  # fmt: skip


def wish(**changes: object) -> Wish:
    """Everything of the ledger's."""
    return Wish(**{"handler": "ledger", "since_us": 0, "until_us": 9, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (True, {}),
        (False, {"handler": "nobody"}),
        (True, {"handler": "log"}),
        (True, {"types": ("payment.*",)}),
        (False, {"types": ("refund.*", "dispute.lost")}),
        (True, {"endpoints": (EVENT.endpoint,)}),
        (False, {"endpoints": ("elsewhere",)}),
        (True, {"subjects": ("other", EVENT.subject)}),
        (False, {"subjects": ("other",)}),
    ],
)
def test_a_replay_takes_what_the_rules_give_the_handler_and_the_wish_selects(
    expected: bool, changes: dict[str, object]
) -> None:
    """Both, and the rules as they are now."""
    assert meant(record(), wish(**changes), RULES) is expected


def test_what_is_no_event_is_left_out() -> None:
    """Route set it aside; it is sent again from there."""
    assert not meant(record(value=b"{"), wish(handler="log"), RULES)


def test_an_event_goes_as_it_was_and_says_where_it_was_taken_from() -> None:
    """Its id stays, so that an idempotent handler counts it once."""
    gone = again(record(), Place("events-normalized", 3, 42), "handler-ledger")

    assert (gone.topic, gone.key, gone.value) == ("handler-ledger", b"shop|p_1", encode(EVENT))
    assert gone.headers == (
        *record().headers, (headers.REPLAYED_FROM, b"events-normalized:3:42")
    )  # fmt: skip


def test_the_same_wish_has_the_same_name() -> None:
    """How far it came is kept under it; another wish begins anew."""
    assert wish().name == wish().name
    assert wish().name.startswith("replay-ledger-")
    assert len({each.name for each in (wish(), wish(until_us=8), wish(types=("payment.*",)))}) == 3
