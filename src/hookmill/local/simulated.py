"""What a simulated provider sends, as pure data: which events, in what order, signed when.

`planned` is what `hookmill send` posts; `deliveries` gives the same as signed requests, for the
tests of any receiver. The same seed and time, the same bytes (of ECDSA all but the signature).
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import msgspec

from hookmill.core.delivery import Delivery, Item
from hookmill.core.errors import ConfigurationError
from hookmill.local.simulator import FORGER, signed_with, stories_of
from hookmill.local.stories.story import Step, Story
from hookmill.providers.pack import Pack, SignedRequest
from hookmill.providers.registry import PACKS, own_pack, pack_named

Kind = Literal["genuine", "redelivered", "forged"]

AT_US = 1_790_000_000_000_000
"""2026-09-21T14:13:20Z: when deliveries are made unless it is said."""
SHARES = ("duplicates", "forged", "out_of_order", "skip")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what is sent. Shares lie between 0 and 1, `rate` is events a second on average.

    `skip` is the share of statuses that never come, the last of a story always does. `burst`
    events come at once. Events from `rotate_after` on are signed with the second secret; None:
    all with the first.
    """

    count: int
    seed: int = 1
    rate: float = 20.0
    burst: int = 1
    duplicates: float = 0.0
    forged: float = 0.0
    out_of_order: float = 0.0
    skip: float = 0.0
    rotate_after: int | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to send. `wait_secs` passes before it, from the one before."""

    kind: Kind
    step: Step
    rotated: bool
    wait_secs: float


def planned(
    stories: Callable[[random.Random, int], Story], plan: Plan, at_us: int
) -> Iterator[Planned]:
    """Everything that is sent, in order. A redelivery follows the delivery that it repeats.

    A redelivery is signed with the secret that its first delivery was: so says Razorpay of
    retries after a change of secrets, and both secrets are live while one is rotated.
    """
    chance = random.Random(plan.seed + 1)
    for number, step in enumerate(steps(stories, plan, at_us)):
        rotated = plan.rotate_after is not None and number >= plan.rotate_after
        wait_secs = plan.burst / plan.rate if number and number % plan.burst == 0 else 0.0
        forged = chance.random() < plan.forged
        yield Planned(
            kind="forged" if forged else "genuine", step=step, rotated=rotated, wait_secs=wait_secs
        )
        if not forged and chance.random() < plan.duplicates:
            yield Planned(kind="redelivered", step=step, rotated=rotated, wait_secs=0.0)


def steps(stories: Callable[[random.Random, int], Story], plan: Plan, at_us: int) -> list[Step]:
    """The events of as many stories as are needed, some left out, some swapped with the next."""
    telling = random.Random(plan.seed)
    leaving = random.Random(f"{plan.seed}: left out")
    swapping = random.Random(f"{plan.seed}: swapped")
    found: list[Step] = []
    while len(found) < plan.count:
        *before, last = stories(telling, at_us)
        found += [step for step in before if leaving.random() >= plan.skip]
        found.append(last)
    del found[plan.count :]
    for index in range(len(found) - 1):
        if swapping.random() < plan.out_of_order:
            found[index], found[index + 1] = found[index + 1], found[index]
    return found


@dataclass(frozen=True, kw_only=True)
class SimulatedDelivery:
    """A POST as the provider makes it: `headers` and `body` byte for byte, `query` as signed.

    `becomes` is the type that hookmill makes of it; of a body with several items, of one of them.
    `kind` says whether a receiver must take it (`genuine`), take it for what it has already
    (`redelivered`) or refuse it (`forged`). `rotated` says that the second secret signed it.
    """

    headers: Mapping[str, str]
    body: bytes
    query: str
    message_id: str
    becomes: str
    kind: Kind
    rotated: bool
    attempt: int
    at_us: int
    _sign: Callable[[int], SignedRequest] = field(repr=False, compare=False)
    _pack: Pack = field(repr=False, compare=False)
    _options: Any = field(repr=False, compare=False)

    @property
    def attempts_max(self) -> int:
        """How often the provider tries, this first attempt included."""
        return len(self._pack.retry_delays_secs) + 1

    @property
    def items(self) -> tuple[Item, ...]:
        """The events in it, with the ids by which hookmill knows one that it has seen."""
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        delivery = Delivery(headers, self.body, self.at_us, self.query)
        return self._pack.identify(delivery, self._options)

    def again(self, attempt: int) -> "SimulatedDelivery":
        """The same event at a later attempt, signed anew when the provider's schedule has it.

        `attempt` counts from 1. Raises ValueError for one that the provider does not make.
        """
        if not 1 <= attempt <= self.attempts_max:
            raise ValueError(f"{self._pack.title} makes {self.attempts_max} attempts")
        after_secs = [0, *accumulate(self._pack.retry_delays_secs)]
        at_us = self.at_us + (after_secs[attempt - 1] - after_secs[self.attempt - 1]) * 1_000_000
        request = self._sign(at_us)
        return replace(
            self, headers=request.headers, body=request.body, query=request.query, at_us=at_us,
            attempt=attempt,
        )  # fmt: skip


def deliveries(
    provider: str | Path | Pack,
    *,
    secret: str | None = None,
    rotate_to: str | None = None,
    options: Mapping[str, Any] | None = None,
    at_us: int = AT_US,
    seed: int = 1,
    count: int = 10,
    rotate_after: int | None = None,
    **shares: float,
) -> Iterator[SimulatedDelivery]:
    """Deliveries as the provider would make them, signed, for the tests of a receiver.

    `provider` is a pack's name, its TOML file, or a pack. `secret` is the secret's text, as the
    provider's dashboard shows it (a private key where the provider has one); left out: one made for
    trials. From `rotate_after` on (half of `count`) they are signed with `rotate_to`, if given.
    `options` are the endpoint's. `at_us` is when the first is sent, in epoch microseconds: a
    receiver that judges times must be told it, or be handed its own. `shares` are the rest of
    `Plan`: `duplicates`, `forged`, `out_of_order`, `skip`, `rate`, `burst`.

    Raises ConfigurationError for what cannot be meant.
    """
    pack = _pack(provider)
    chosen = _options(pack, pack.example_options if options is None else options)
    first = secret or pack.example_secret("main", chosen)
    after = (count // 2 if rotate_after is None else rotate_after) if rotate_to else None
    plan = _plan(count=count, seed=seed, rotate_after=after, **shares)
    return _signed(pack, chosen, plan, at_us, first, rotate_to or first)


def _signed(
    pack: Pack, options: Any, plan: Plan, at_us: int, first: str, second: str
) -> Iterator[SimulatedDelivery]:
    forger = pack.example_secret(FORGER, options)
    now_us = at_us
    for each in planned(stories_of(pack), plan, at_us):
        now_us += int(each.wait_secs * 1_000_000)
        right = second if each.rotated else first
        secret = forger if each.kind == "forged" else right

        def sign(at_us: int, step: Step = each.step, secret: str = secret) -> SignedRequest:
            return signed_with(pack, step, secret=secret, at_us=at_us, options=options)

        request = sign(now_us)
        made = SimulatedDelivery(
            headers=request.headers, body=request.body, query=request.query,
            message_id=each.step.message_id, becomes=each.step.becomes, kind=each.kind,
            rotated=each.rotated, attempt=1, at_us=now_us,
            _sign=sign, _pack=pack, _options=options,
        )  # fmt: skip
        if each.kind == "redelivered" and made.attempts_max > 1:
            made = made.again(2)
        yield made


def _pack(provider: str | Path | Pack) -> Pack:
    if isinstance(provider, Pack):
        return provider
    path = Path(provider)
    return own_pack(path) if path.suffix == ".toml" else pack_named(str(provider), PACKS)


def _options(pack: Pack, given: Mapping[str, Any]) -> Any:
    try:
        chosen = msgspec.convert(dict(given), pack.options)
        pack.check_options(chosen)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"options of {pack.title}: {error}") from None
    return chosen


def _plan(**given: Any) -> Plan:
    """The plan; raises ConfigurationError for a name or a figure that no plan has."""
    unknown = set(given) - set(Plan.__struct_fields__)
    if unknown:
        raise ConfigurationError(f"no plan has {', '.join(sorted(unknown))}")
    plan = Plan(**given)
    outside = [name for name in SHARES if not 0 <= getattr(plan, name) <= 1]
    outside += [name for name in ("count", "burst", "rate") if getattr(plan, name) <= 0]
    if outside:
        raise ConfigurationError(f"{', '.join(outside)}: out of range")
    return plan
