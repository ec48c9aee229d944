"""Holds a pack to what every pack must do, from its own stories: signed, altered, told again."""

import random
from collections.abc import Iterator

import msgspec

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Refused, UnparseableBody
from hookmill.local.simulator import WRONG_SECRET, stories_of
from hookmill.local.stories.story import Step
from hookmill.providers.pack import Pack, SignedRequest, Terms

STORIES = 40
EXAMPLE_OPTIONS = {
    "echezona": {
        "header": "x-echezona-signature",
        "algorithm": "hmac-sha512",
        "encoding": "hex",
    }
}
"""For packs that cannot work without options, which their provider does not publish."""
AT_US = 1_790_000_000_000_000
SECRET = "whsec_Y29uZm9ybWFuY2Utc2VjcmV0LTAwMDAwMDAwMDAw"


class Conformance(msgspec.Struct, frozen=True):
    """How many cases were tried, and those that went otherwise than they must."""

    cases: int
    problems: list[str]


def examine(pack: Pack, options: object) -> Conformance:
    """Try the pack with signed, forged and altered deliveries of its stories. Deterministic."""
    chance = random.Random(pack.name)
    stories = stories_of(pack.name)
    steps = [step for _ in range(STORIES) for step in stories(chance, AT_US)]
    found = [problem for step in steps for problem in _cases(pack, options, step)]
    return Conformance(len(found), [each for each in found if each is not None])


def _cases(pack: Pack, options: object, step: Step) -> Iterator[str | None]:
    """One line for each case that fails, None for each that passes."""
    terms = Terms(
        secrets=[Secret("old", pack.key(SECRET + "b2xk")), Secret("live", pack.key(SECRET))],
        tolerance_secs=pack.tolerance_secs,
        options=options,
    )
    signed = pack.sign(
        step.body, secret=SECRET, message_id=step.message_id, at_us=AT_US, options=options
    )
    delivery = _delivery(signed)
    yield _taken(pack, delivery, terms, step)
    yield _becomes(pack, delivery, options, step)
    forged = pack.sign(
        step.body, secret=WRONG_SECRET, message_id=step.message_id, at_us=AT_US, options=options
    )
    yield _refused(pack, _delivery(forged), terms, f"{step.becomes} signed with a wrong secret")
    bare = _delivery(SignedRequest({"content-type": "application/json"}, step.body))
    yield _refused(pack, bare, terms, f"{step.becomes} without any signature")
    if pack.tolerance_secs is not None:
        for late_secs in (pack.tolerance_secs + 1, -pack.tolerance_secs - 1):
            moved = msgspec.structs.replace(delivery, received_at_us=AT_US + late_secs * 1_000_000)
            yield _refused(pack, moved, terms, f"{step.becomes} {late_secs} s after its signing")
    for name in pack.signed_headers:
        altered = {**signed.headers, name: _altered(signed.headers[name])}
        changed = _delivery(SignedRequest(altered, signed.body))
        yield _refused(pack, changed, terms, f"{step.becomes} with an altered {name}")
    if pack.signs_body:
        for position in (0, len(signed.body) // 2, len(signed.body) - 1):
            changed = _delivery(SignedRequest(signed.headers, _flipped(signed.body, position)))
            yield _refused(pack, changed, terms, f"{step.becomes} with byte {position} altered")


def _delivery(request: SignedRequest) -> Delivery:
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return Delivery(headers, request.body, AT_US)


def _altered(text: str) -> str:
    return text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]


def _flipped(body: bytes, position: int) -> bytes:
    return body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]


def _taken(pack: Pack, delivery: Delivery, terms: Terms, step: Step) -> str | None:
    try:
        name = pack.verify(delivery, terms).name
    except Refused as error:
        return f"an authentic {step.becomes} is refused: {error}"
    return None if name == "live" else f"{step.becomes} is put down to secret '{name}'"


def _refused(pack: Pack, delivery: Delivery, terms: Terms, what: str) -> str | None:
    try:
        pack.verify(delivery, terms)
    except Refused:
        return None
    return f"a {what} is taken"


def _becomes(pack: Pack, delivery: Delivery, options: object, step: Step) -> str | None:
    items = pack.identify(delivery)
    if items != pack.identify(delivery) or len(items) != 1 or not items[0].event_id:
        return f"{step.becomes} has no stable identity"
    try:
        draft = pack.normalize(items[0].body, options)
    except UnparseableBody as error:
        return f"{step.becomes} is unparseable: {error}"
    became = f"{draft.kind}.{draft.status}"
    return None if became == step.becomes else f"{step.becomes} becomes {became}"
