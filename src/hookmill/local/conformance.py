"""Holds a pack to what every pack must do: hundreds of cases from its stories and its fixtures.

Authentic deliveries are taken, by each live secret; altered ones are refused for the right
reason; identity is stable; normalization is total and free of floats. Deterministic.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import ConfigurationError, Refused, UnparseableBody
from hookmill.local.kit.alteration import (
    SIGNATURE,
    STATIC,
    TOKEN,
    Case,
    signature_cases,
    time_cases,
    with_header,
)
from hookmill.local.kit.parts import jwt_cases, part_cases, token_cases
from hookmill.local.kit.reading import (
    Outcome,
    draft_of,
    odd_outcomes,
    story_outcomes,
)
from hookmill.local.kit.specimen import (
    AT_US,
    FORGER,
    LIVE,
    OLD,
    Bench,
    Fixture,
    Folder,
    bench,
    folder,
    stories_told,
)
from hookmill.local.stories.story import Step
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.pack import Options, Pack, Terms
from hookmill.providers.schemes.jwt import Jwt
from hookmill.providers.schemes.mac import Hash, Hmac
from hookmill.providers.schemes.moments import epoch_us
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import expression_part, text_of
from hookmill.providers.schemes.token import Token

DEEP_STEPS = 2
"""How many steps every bit is flipped of; all others get the wide cases."""
PROBLEMS_MAX = 200


class Conformance(msgspec.Struct, frozen=True):
    """How many cases were tried, in all and by group, and what went otherwise than it must."""

    cases: int
    problems: list[str]
    coverage: dict[str, int] = {}


def examine(pack: Pack, options: object = None, fixtures: Path | None = None) -> Conformance:
    """Try the pack; `options` as an endpoint would have them, by default those of its fixtures,
    else those that it can be tried with. Raises ConfigurationError for a broken fixture."""
    found = folder(fixtures)
    chosen = trial_options(pack, found.options) if options is None else options
    outcomes = list(_outcomes(bench(pack, chosen), found))
    if options is None:
        outcomes += _of_variants(pack, fixtures)
    problems = [f"{each.group}: {each.problem}" for each in outcomes if each.problem is not None]
    return Conformance(
        len(outcomes),
        list(dict.fromkeys(problems))[:PROBLEMS_MAX],
        dict(sorted(Counter(each.group for each in outcomes).items())),
    )


def _of_variants(pack: Pack, fixtures: Path | None) -> Iterator[Outcome]:
    """The other schemes of the pack; a variant's own fixtures lie in a folder called as it."""
    variants = pack.declaration.variants if isinstance(pack, DeclaredPack) else {}
    for name in variants:
        found = folder(fixtures / name if fixtures else None)
        options = trial_options(pack, {**found.options, "variant": name})
        for each in _outcomes(bench(pack, options), found):
            problem = None if each.problem is None else f"variant {name}: {each.problem}"
            yield Outcome(each.group, problem)


def trial_options(pack: Pack, given: dict[str, Any]) -> Options:
    """Options with which the pack can be tried; raises ConfigurationError if they are none."""
    try:
        return msgspec.convert({**pack.example_options, **given}, pack.options)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"options of {pack.name}: {error}") from None


def _outcomes(tried: Bench, found: Folder) -> Iterator[Outcome]:
    told = [[step for step in story if _signable(tried, step)]
            for story in stories_told(tried.pack)]  # fmt: skip
    stories = [tuple(story) for story in told if story]
    steps = _distinct([step for story in stories for step in story])
    if not isinstance(tried.pack.scheme(tried.options), Jwt):  # there the signature is the body
        more = [_step(each) for each in found.fixtures]
        steps += [step for step in more if _signable(tried, step)]
    if not steps:
        yield Outcome("stories", "no story and no fixture can be signed: nothing was tried")
        return
    for number, step in enumerate(steps):
        deep = number < DEEP_STEPS
        for case in _cases(tried, step, deep=deep):
            yield Outcome(case.group, _judged(tried, case, step))
        yield from _secrets(tried, step)
        if deep:
            yield from odd_outcomes(tried, tried.delivery(step))
    yield from story_outcomes(tried, stories)
    yield from _constant_time(tried, steps[0])
    yield from _fixtures(tried, found)
    yield from _vectors(tried, found)


def _cases(tried: Bench, step: Step, *, deep: bool) -> Iterator[Case]:
    scheme = tried.pack.scheme(tried.options)
    good = tried.delivery(step)
    bare = Delivery((("content-type", "application/json"),), step.body, AT_US)
    reasons = SIGNATURE | STATIC | TOKEN
    yield Case("authentic", "signed by the newer secret", good, taken=True)
    if not isinstance(scheme, Jwt):
        yield Case("wrong key", "unsigned", bare, reasons=reasons)
    forged = tried.delivery(step, by=FORGER)
    yield Case("wrong key", "signed by a forger", forged, reasons=reasons)
    yield from time_cases(tried, step)
    added = with_header(good, "x-other", "1")
    yield Case("authentic", "with a header more", added, taken=True)
    if not deep:
        return
    match scheme:
        case Signed():
            yield from signature_cases(tried, step)
            yield from part_cases(tried, step)
        case Token():
            yield from token_cases(tried, step)
        case Jwt():
            yield from jwt_cases(tried, step)
        case _:
            pass


def _judged(tried: Bench, case: Case, step: Step, terms: Terms | None = None) -> str | None:
    try:
        secret = tried.pack.verify(case.delivery, terms or tried.terms())
    except Refused as error:
        if case.taken:
            return f"an authentic {step.becomes}, {case.what}, is refused: {error}"
        if error.reason not in case.reasons:
            return f"{case.what}: refused as {error}, not {' or '.join(sorted(case.reasons))}"
        return None
    except Exception as error:  # a verifier answers or refuses, nothing else
        return f"{case.what}: {type(error).__name__}: {error}"
    if not case.taken:
        return f"{step.becomes}, {case.what}, is taken"
    return None if secret.name == LIVE else f"{case.what}: put down to secret '{secret.name}'"


def _secrets(tried: Bench, step: Step) -> Iterator[Outcome]:
    """Rotation: each live secret is enough, in every order; one that was removed is none."""
    for by, names, name in (
        (OLD, (OLD, LIVE), OLD), (OLD, (LIVE, OLD), OLD), (LIVE, (LIVE, OLD), LIVE),
        (LIVE, (OLD, LIVE), LIVE), (OLD, (OLD,), OLD), (OLD, (LIVE,), None), (LIVE, (OLD,), None),
        (LIVE, (FORGER, OLD, LIVE), LIVE),
    ):  # fmt: skip
        what = f"{step.becomes} signed by {by} with {', '.join(names)} live"
        yield Outcome("rotation", _by(tried, tried.delivery(step, by=by), names, name, what))
    none = Terms(secrets=[], tolerance_secs=tried.tolerance_secs, options=tried.options)
    case = Case("rotation", "without any live secret", tried.delivery(step))
    yield Outcome("rotation", _judged(tried, case._replace(reasons=SIGNATURE | STATIC | TOKEN),
                                      step, none))  # fmt: skip


def _by(
    tried: Bench, delivery: Delivery, names: tuple[str, ...], expected: str | None, what: str
) -> str | None:
    try:
        found = tried.pack.verify(delivery, tried.terms(*names)).name
    except Refused as error:
        return None if expected is None else f"{what} is refused: {error}"
    except Exception as error:  # a verifier answers or refuses, nothing else
        return f"{what}: {type(error).__name__}: {error}"
    return None if found == expected else f"{what} is put down to {found}"


def _constant_time(tried: Bench, step: Step) -> Iterator[Outcome]:
    """What compares a secret or a MAC must take as long whatever it finds."""
    scheme = tried.pack.scheme(tried.options)
    if not isinstance(scheme, Hmac | Hash | Token | Jwt):
        return
    terms = tried.terms(OLD, LIVE)
    for by in (OLD, LIVE, FORGER):
        calls = _compared(tried.pack, tried.delivery(step, by=by), terms)
        ok = calls >= len(terms.secrets)
        said = f"{calls} comparisons in constant time for {len(terms.secrets)} secrets"
        yield Outcome("constant time", None if ok else f"signed by {by}: {said}")


def _compared(pack: Pack, delivery: Delivery, terms: Terms) -> int:
    count = 0

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event == "c_call" and getattr(argument, "__name__", "").endswith("compare_digest"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        pack.verify(delivery, terms)
    except Refused:
        return count
    finally:
        sys.setprofile(before)
    return count


def _distinct(steps: list[Step]) -> list[Step]:
    """One step for each type that they become, then the others, as far as it is worth it."""
    first = {step.becomes: step for step in reversed(steps)}
    return [*first.values(), *steps[:20]]


def _step(fixture: Fixture) -> Step:
    return Step(body=fixture.body, message_id=f"m-{fixture.name}", becomes=fixture.name,
                headers={})  # fmt: skip


def _signable(tried: Bench, step: Step) -> bool:
    """Whether a body can be signed: not where a field that is signed is not in it."""
    try:
        tried.delivery(step)
    except (Refused, UnparseableBody, ValueError, TypeError):
        return False
    return True


def _fixtures(tried: Bench, found: Folder) -> Iterator[Outcome]:
    secrets = [Secret(name, tried.pack.key(text, tried.options)) for name, text in found.secrets]
    for fixture in found.fixtures:
        at_us = signed_at_us(tried, fixture)
        delivery = fixture.delivery(at_us)
        terms = Terms(secrets=secrets, tolerance_secs=tried.tolerance_secs, options=tried.options)
        if secrets and fixture.headers:
            try:
                tried.pack.verify(delivery, terms)
            except Refused as error:
                yield Outcome("fixtures", f"{fixture.name} is refused: {error}")
            else:
                yield Outcome("fixtures", None)
        if fixture.expected is not None:
            became = draft_of(tried, fixture, at_us)
            wrong = [key for key in became if became[key] != fixture.expected.get(key)]
            yield Outcome(
                "fixtures", f"{fixture.name}: another {', '.join(wrong)}" if wrong else None
            )


def _vectors(tried: Bench, found: Folder) -> Iterator[Outcome]:
    for vector in found.vectors:
        if "headers" not in vector or "secret" not in vector:
            continue
        body = vector["body"].encode()
        fixture = Fixture(name=vector["name"], body=body, headers=vector["headers"], expected=None,
                          query=vector.get("query", ""))  # fmt: skip
        delivery = fixture.delivery(signed_at_us(tried, fixture))
        options = trial_options(tried.pack, vector.get("options", {}))
        for text, taken in ((vector["secret"], True), (tried.texts[FORGER], False)):
            terms = Terms(secrets=[Secret("its own", tried.pack.key(text, options))],
                          tolerance_secs=tried.tolerance_secs, options=options)  # fmt: skip
            try:
                tried.pack.verify(delivery, terms)
                ok = taken
            except Refused:
                ok = not taken
            said = f"vector {vector['name']} is {'refused' if taken else 'taken by another key'}"
            yield Outcome("vectors", None if ok else said)


def signed_at_us(tried: Bench, fixture: Fixture) -> int:
    """The time that a fixture says it was signed at, else that of the trial."""
    scheme = tried.pack.scheme(tried.options)
    if not isinstance(scheme, Signed) or not scheme.time:
        return AT_US
    try:
        source = scheme.source(fixture.delivery(AT_US), tried.options)
    except (Refused, UnparseableBody):
        return AT_US
    return epoch_us(text_of(source.value(expression_part(scheme.time))), scheme.time_unit) or AT_US
