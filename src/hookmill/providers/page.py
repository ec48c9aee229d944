"""A pack's page in Markdown, made from the pack alone: docs/providers/NAME.md is nothing else."""

from collections.abc import Iterator
from itertools import groupby

from hookmill.providers.declared import DeclaredPack
from hookmill.providers.pack import Pack
from hookmill.providers.schemes.template import several

DAY_SECS, HOUR_SECS, MINUTE_SECS = 86_400, 3600, 60


def page(pack: Pack) -> str:
    """The whole page."""
    blocks = [
        f"# {pack.title}",
        f"<!-- Made by `hookmill providers show {pack.name} --markdown`: change the pack. -->",
        pack.verifies,
        pack.about.strip(),
        "## Configuration",
        f"```toml\n{setup(pack).strip()}\n```",
        *_options(pack),
        "## Contract",
        "\n".join(_contract(pack)),
        "## Events",
        "\n".join(_events(pack)),
        *_facts(pack),
        "## Sources",
        "\n".join(f"- <{each}>" for each in pack.sources),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def setup(pack: Pack) -> str:
    """The configuration to paste: the pack's own, else the shortest that works."""
    if pack.setup:
        return pack.setup
    variable = f"{pack.name.upper().replace('-', '_')}_SECRET"
    lines = [
        f"[endpoints.{pack.name}]",
        f'provider = "{pack.name}"',
        f'secrets = [{{ name = "main", env = "{variable}" }}]',
    ]
    if pack.example_options:
        chosen = ", ".join(f'{key} = "{value}"' for key, value in pack.example_options.items())
        lines.append(f"options = {{ {chosen} }}")
    return "\n".join(lines)


def _options(pack: Pack) -> Iterator[str]:
    if not isinstance(pack, DeclaredPack):
        return
    declaration = pack.declaration
    lines = ["| option | what it chooses |", "|---|---|"]
    if declaration.variants:
        words = ", ".join(f"`{each}`" for each in ("default", *declaration.variants))
        lines.append(f"| `variant` | how the sender is proved: {words} |")
    for name, option in declaration.options.items():
        words = ", ".join(f"`{each}`" for each in option.choices)
        default = "required" if option.required else f"default: {option.default or 'none'}"
        said = "; ".join(part for part in (option.about, words, default) if part)
        lines.append(f"| `{name}` | {said} |")
    if len(lines) > 2:
        yield "\n".join(lines)


def _contract(pack: Pack) -> Iterator[str]:
    tolerance_secs = pack.tolerance_secs
    statuses = ", ".join(map(str, sorted(pack.success_statuses or ())))
    yield "| | |"
    yield "|---|---|"
    time = "none is signed or judged" if tolerance_secs is None else f"±{duration(tolerance_secs)}"
    yield f"| signed time | {time} |"
    yield f"| body | {'signed' if pack.signs_body else '**not signed as a whole**'} |"
    yield f"| success | {statuses or 'any 2xx'} |"
    if pack.accepted_answer is not None:
        answer = pack.accepted_answer
        yield f"| our answer | {answer.status} `{answer.body}` |"
    for reason, status in pack.refusal_statuses.items():
        yield f"| refusal | {status} for `{reason}` |"
    yield f"| answer deadline | {pack.answer_deadline_secs:g} s |"
    waits = ", ".join(_times(each, len([*same])) for each, same in groupby(pack.retry_delays_secs))
    yield f"| redelivery, as simulated | {waits or 'none known'} |"
    yield f"| deduplication window | {duration(pack.dedup_window_secs)} |"
    if pack.fetch:
        yield f"| content | none: ask `{pack.fetch}` |"


def _events(pack: Pack) -> Iterator[str]:
    yield "| theirs | ours |"
    yield "|---|---|"
    for word, becomes in pack.events.items():
        yield f"| `{word.replace('|', ' or ')}` | `{becomes}` |"
    yield "| anything else | `other.unrecognized` |"
    if isinstance(pack, DeclaredPack):
        notes = [(row.word, row.note) for row in pack.declaration.rows if row.note]
        if notes:
            yield ""
        for theirs, note in notes:
            words = ", ".join(f"`{each}`" for each in several(theirs))
            yield f"- {words}: {note}"


def _facts(pack: Pack) -> Iterator[str]:
    facts = pack.declaration.facts if isinstance(pack, DeclaredPack) else ()
    if facts:
        yield "## What is confirmed, and by whom"
        yield "\n".join(
            ["| fact | said by | where |", "|---|---|---|",
             *(f"| {each.says} | {each.sure} | {each.source or 'nowhere'} |" for each in facts)]
        )  # fmt: skip


def _times(secs: int, count: int) -> str:
    return duration(secs) if count == 1 else f"{count} times {duration(secs)}"


def duration(secs: int) -> str:
    """Seconds as people say them: 2 d, 5 h 30 min, 45 s."""
    parts = []
    for unit_secs, word in ((DAY_SECS, "d"), (HOUR_SECS, "h"), (MINUTE_SECS, "min"), (1, "s")):
        count, secs = divmod(secs, unit_secs)
        if count:
            parts.append(f"{count} {word}")
    return " ".join(parts) or "0 s"
