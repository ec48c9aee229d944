"""The merge in the packs' own words: every order of arrival ends in the same place."""

import itertools
import os
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hookmill.config import options
from hookmill.core.event import STATUSES, Event, decode
from hookmill.core.outcome import Forward
from hookmill.core.record import Record
from hookmill.core.resource import (
    REPEATED_RANK,
    TERMINAL_RANK,
    Change,
    Merged,
    ResourceState,
    decode_state,
    encode_state,
    merge,
)
from hookmill.providers import echezona, pay3, rehive
from hookmill.providers.endpoint import build
from hookmill.providers.registry import PACKS
from hookmill.stages.normalize import Normalize
from support.alone import decide, read

BUSY = [HealthCheck.too_slow]  # the machine may have other work
TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
QUICK = settings(
    max_examples=150 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=BUSY,
)

ENDPOINTS = {
    name: build(name, options.Endpoint(provider=name, options=dict(pack.example_options)))
    for name, pack in PACKS.items()
}
YOCO_ROWS = {
    str(row.word): (number, row)
    for number, row in enumerate(PACKS["yoco"].declaration.rows, start=1)  # type: ignore[attr-defined]
    if row.kind != "other"
}
STAGE = Normalize(ENDPOINTS, raw_topic="webhooks-raw", to="events-normalized")

Told = tuple[Change, str]
"""A change and the id of the event that told it."""


class Body(NamedTuple):
    """An event of one resource as its provider tells it."""

    provider: str
    body: bytes
    event_id: str


def yoco_body(word: str, number: int) -> Body:
    """A payment and its refunds carry the same ids throughout."""
    payload = {"id": "x_1", "paymentId": "x_1", "amount": 900, "currency": "ZAR", "mode": "live"}
    fields = {"id": f"e{number}", "type": word, "payload": payload}
    return Body("yoco", msgspec.json.encode(fields), f"e{number}")


def rehive_body(status: str, updated: int, number: int) -> Body:
    """An invoice in that status, changed at that time (0 is none)."""
    currency = {"code": "ZAR", "divisibility": 2}
    quote = {"amount": 900, "total_paid": 900, "currency": currency}
    data = {"id": "x_1", "status": status, "updated": updated, "request_amount": 900,
            "request_currency": currency, "payment_processor_quotes": [quote]}  # fmt: skip
    return Body("rehive", msgspec.json.encode({"data": data}), f"e{number}")


def echezona_body(word: str, number: int) -> Body:
    """An event of one transaction."""
    data = {"transaction_id": "x_1", "amount": 9, "currency": "NGN"}
    return Body("echezona", msgspec.json.encode({"event": word, "data": data}), f"e{number}")


def pay3_body(order_type: str, status: str, paid: str, number: int) -> Body:
    """A status of one order; the token's signature was verified long before."""
    order = {"orderType": order_type, "orderId": "x_1", "orderStatus": status,
             "paymentStatus": paid or None}  # fmt: skip
    token = pay3.Pay3().sign(msgspec.json.encode(order), secret="s" * 48, message_id="m", at_us=0,
                             options=None)  # fmt: skip
    return Body("pay3", token.body, f"e{number}")


NUMBER = st.integers(1, 4)
TABLE_LINES = sorted((row.order_status, word) for row in pay3.ROWS for word in row.payment_statuses)
BODIES = {
    "yoco": st.builds(yoco_body, st.sampled_from(sorted(YOCO_ROWS)), NUMBER),
    "rehive": st.builds(rehive_body, st.sampled_from(sorted(rehive.STATUSES)),
                        st.sampled_from([0, 1_700_000_000_000, 1_700_000_000_001, 10**30]),
                        NUMBER),
    "echezona": st.builds(echezona_body, st.sampled_from(sorted(echezona.EVENTS)), NUMBER),
    "pay3": st.builds(lambda leg, line, number: pay3_body(leg, *line, number),
                      st.sampled_from(["CHECKOUT", "PAYOUT"]), st.sampled_from(TABLE_LINES),
                      NUMBER),
}  # fmt: skip
"""Everything that each pack has a word for, told of one resource."""


class Life:
    """Normalize with its state, and the events that it made."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes] = {}
        self.events: list[Event] = []

    def tell(self, body: Body) -> None:
        """One record more."""
        pairs = (("hm-endpoint", body.provider), ("hm-event-id", body.event_id))
        record = Record("webhooks-unique", 0, 0, 0, b"k", body.body,
                        tuple((name, value.encode()) for name, value in pairs))  # fmt: skip
        task = read(STAGE, record)
        outcome = decide(STAGE, task, {key: self.state[key] for key in task.state_keys
                                      if key in self.state})  # fmt: skip
        assert isinstance(outcome, Forward)
        self.state.update(outcome.state)
        assert outcome.outputs[0].value is not None
        self.events.append(decode(outcome.outputs[0].value))

    def ends(self) -> dict[bytes, Any]:
        """Where each resource stands: all of its state but the number of changes on the way."""
        return {
            key: msgspec.structs.replace(decode_state(value), version=0)
            for key, value in self.state.items()
        }


def lived(bodies: Sequence[Body]) -> Life:
    """A life in this order."""
    life = Life()
    for body in bodies:
        life.tell(body)
    return life


@pytest.mark.parametrize("provider", sorted(BODIES))
def test_a_life_ends_the_same_in_every_order(provider: str) -> None:
    """Statuses, conflicts and which event decided, for every word of the pack's table."""

    @QUICK
    @given(st.lists(BODIES[provider], min_size=1, max_size=5), st.randoms(use_true_random=False))
    def orders(bodies: list[Body], chance: random.Random) -> None:
        ends = lived(bodies).ends()
        permutations = list(itertools.permutations(bodies))
        for order in chance.sample(permutations, min(6, len(permutations))):
            assert lived(order).ends() == ends

    orders()


@pytest.mark.parametrize("provider", sorted(BODIES))
def test_a_life_told_again_changes_nothing(provider: str) -> None:
    """Not even the versions; and each event tells the same of itself, in any order."""

    @QUICK
    @given(st.lists(BODIES[provider], min_size=1, max_size=4), st.randoms(use_true_random=False))
    def again(bodies: list[Body], chance: random.Random) -> None:
        life = lived(bodies)
        before = dict(life.state)
        shuffled = chance.sample(bodies, len(bodies))
        for body in shuffled:
            life.tell(body)

        assert life.state == before
        own = [_own(event) for event in life.events]
        assert sorted(own[: len(bodies)]) == sorted(own[len(bodies) :])

    again()


def _own(event: Event) -> bytes:
    """What an event says of itself, which no other event may change."""
    return msgspec.json.encode(msgspec.structs.replace(event, resource=None, late=False))


@pytest.mark.parametrize("provider", sorted(BODIES))
def test_an_event_tells_how_its_resource_stands(provider: str) -> None:
    """Its own status, or if it is late the one that stood; what ends were told of stays."""

    @QUICK
    @given(st.lists(BODIES[provider], min_size=1, max_size=6))
    def stands(bodies: list[Body]) -> None:
        life = Life()
        for body in bodies:
            before = life.ends()
            life.tell(body)
            event, after = life.events[-1], life.ends()
            assert set(before) <= set(after)
            assert all(set(before[key].terminals) <= set(after[key].terminals) for key in before)
            if event.resource is None:
                assert (event.kind, event.late, before) == ("other", False, after)
                continue
            key = f"{body.provider}|{event.mode}|{event.kind}|{event.resource.id}".encode()
            stood = before[key].status if key in before else None
            assert event.resource.status in STATUSES[event.kind]
            assert event.resource.status == (stood if event.late else event.status)
            assert event.resource.conflict is (len(after[key].terminals) > 1)

    stands()


# The merge itself, with changes that no pack makes yet.

RANKS = {"renewed": 0, "created": 1, "pending": 2, "authorized": 3, "underpaid": 4,
         "succeeded": 5, "overpaid": 5, "failed": 5, "cancelled": 5, "reversed": 6}  # fmt: skip
CHANGES = st.builds(
    lambda status, row, time_us: Change("payment", "r", status, RANKS[status], time_us, row),
    st.sampled_from(sorted(RANKS)),
    st.integers(0, 3),
    st.sampled_from([0, 0, 1, 2, 2**62]),
)
TOLD = st.lists(
    st.tuples(CHANGES, st.sampled_from(["", "a", "b", "é", "z"])), min_size=1, max_size=5
)


def after(told: Sequence[Told]) -> list[Merged]:
    """Every step of the way."""
    steps: list[Merged] = []
    for change, event_id in told:
        state = decode_state(encode_state(steps[-1].state)) if steps else None
        steps.append(merge(state, change, event_id))
    return steps


def _one_row_one_status(told: Sequence[Told]) -> bool:
    """Packs hold to it: at one standing an event has one status."""
    standings = {(c.rank, c.time_us, c.row, event_id): c.status for c, event_id in told}
    return all(standings[c.rank, c.time_us, c.row, event_id] == c.status for c, event_id in told)


@QUICK
@given(TOLD)
def test_all_permutations_of_changes_end_the_same(told: list[Told]) -> None:
    """Every single one of them, for ranks, times and rows that are equal as often as not."""
    assume(_one_row_one_status(told))
    ends = {
        msgspec.structs.replace(after(order)[-1].state, version=0)
        for order in itertools.permutations(told)
    }

    assert len(ends) == 1


@QUICK
@given(TOLD)
def test_a_repetition_is_no_change(told: list[Told]) -> None:
    """At once or after others: the state is the very same, and it is late unless it decides."""
    state = after(told)[-1].state
    for change, event_id in told:
        again = merge(state, change, event_id)

        assert again.state == state
        assert again.late is (change.rank != REPEATED_RANK)


@QUICK
@given(TOLD)
def test_late_says_that_the_state_did_not_move(told: list[Told]) -> None:
    """Only the list of ends may grow by it, which the version counts."""
    before: ResourceState | None = None
    for (change, _), step in zip(told, after(told), strict=True):
        moved = before is None or (before.status, before.event_id, before.rank) != (
            step.state.status, step.state.event_id, step.state.rank)  # fmt: skip
        assert not (step.late and moved)
        assert not step.late or change.rank != REPEATED_RANK
        if before is not None:
            same = msgspec.structs.replace(before, version=step.state.version) == step.state
            assert step.state.version == before.version + (not same)
        if change.rank >= TERMINAL_RANK:
            assert change.status.replace("overpaid", "succeeded") in step.state.terminals
        before = step.state


@QUICK
@given(st.binary(max_size=80))
def test_what_is_no_state_is_refused(value: bytes) -> None:
    """With the error that the engine sets records aside for, and no other."""
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_state(value)


def test_no_two_lines_of_a_table_share_a_row_with_different_statuses() -> None:
    """Else the order of arrival would decide between two events of one id."""
    lines = [
        *(("yoco", row.kind, number, row.our_status) for number, row in YOCO_ROWS.values()),
        *(("echezona", row.kind, row.row, row.status) for row in echezona.EVENTS.values()),
        *(("rehive", "payment", row.row, row.status) for row in rehive.STATUSES.values()),
    ]
    statuses = {line[:3]: line[3] for line in lines}

    assert all(statuses[line[:3]] == line[3] for line in lines)
    assert len(set(pay3.ROWS)) == len(pay3.ROWS)
