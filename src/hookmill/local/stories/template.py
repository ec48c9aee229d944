"""Stories that are data: bodies with placeholders, filled from a generator of chance.

`{{name}}` is text of letters and digits, the same all through a story; `{{number:name}}` digits;
`{{uuid:name}}` a UUID. `{{new}}`, `{{number:new}}`, `{{uuid:new}}` are others each time.
`{{amount}}` is minor units, `{{part}}` and `{{rest}}` add up to it, `{{major}}`, `{{major_part}}`
the same with two decimals. `{{now}}` is the step's time in seconds, `{{now:ms}}` and
`{{now:rfc3339}}` the same otherwise.
"""

import random
import re
import string
import uuid
from collections.abc import Callable

from hookmill.local.stories.story import Step, Story
from hookmill.providers.declaration import StoryText
from hookmill.providers.schemes.moments import written

STEP_US = 60_000_000
PLACEHOLDER = re.compile(r"\{\{\s*([\w:.-]+)\s*\}\}")
_LETTERS = string.ascii_letters + string.digits
ID_LETTERS = 16
NUMBER_DIGITS = 9


def stories_from(texts: tuple[StoryText, ...]) -> Callable[[random.Random, int], Story]:
    """The stories as the simulator takes them: one life, chosen by chance, from that time on."""

    def stories(rng: random.Random, at_us: int) -> Story:
        text = texts[rng.randrange(len(texts))]
        return filled(text, rng, at_us)

    return stories


def filled(text: StoryText, rng: random.Random, at_us: int) -> Story:
    """One story with its placeholders filled."""
    minor = rng.randrange(5, 5000) * 100
    known = _amounts(minor)
    steps = []
    for number, step in enumerate(text.steps):
        moment_us = at_us + number * STEP_US
        message_id = _letters(rng)

        def value(match: re.Match[str], moment_us: int = moment_us) -> str:
            return _value(match[1], known, rng, moment_us)

        steps.append(
            Step(
                body=PLACEHOLDER.sub(value, step.body).encode(),
                message_id=message_id,
                becomes=step.becomes,
                headers={name: PLACEHOLDER.sub(value, each) for name, each in step.headers.items()},
            )
        )
    return tuple(steps)


def _amounts(minor: int) -> dict[str, str]:
    part = minor // 100 * 40
    return {
        "amount": str(minor),
        "part": str(part),
        "rest": str(minor - part),
        "major": f"{minor // 100}.{minor % 100:02d}",
        "major_part": f"{part // 100}.{part % 100:02d}",
    }


def _value(name: str, known: dict[str, str], rng: random.Random, at_us: int) -> str:
    if name == "now":
        return written(at_us, "s")
    if name == "now:ms":
        return written(at_us, "ms")
    if name == "now:rfc3339":
        return written(at_us, "rfc3339")
    kind, _, own = name.rpartition(":")
    if own == "new":
        return _made(kind, rng)
    if name not in known:
        known[name] = _made(kind, rng)
    return known[name]


def _made(kind: str, rng: random.Random) -> str:
    match kind:
        case "number":
            return str(rng.randrange(10 ** (NUMBER_DIGITS - 1), 10**NUMBER_DIGITS))
        case "uuid":
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        case _:
            return _letters(rng)


def _letters(rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, k=ID_LETTERS))
