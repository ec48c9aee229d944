"""What the kit works on: bodies of stories and fixtures, signed as the provider signs."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import ConfigurationError
from hookmill.local.simulator import stories_of
from hookmill.local.stories.story import Step, Story
from hookmill.providers.pack import Pack, SignedRequest, Terms

AT_US = 1_790_000_000_000_000
STORIES = 40
OLD, LIVE, FORGER = "old", "live", "a forger"
TRIED_TOLERANCE_SECS = 300
"""Where a time is signed and the provider has no tolerance of its own."""


class Bench(msgspec.Struct, frozen=True):
    """A pack, the options it is tried with, and the secrets that are live: an old and a new one."""

    pack: Pack
    options: Any
    texts: dict[str, str]

    @property
    def tolerance_secs(self) -> int | None:
        """The tolerance that is tried."""
        scheme = self.pack.scheme(self.options)
        if not scheme.signs_time:
            return None
        return scheme.default_tolerance_secs or TRIED_TOLERANCE_SECS

    def terms(self, *names: str) -> Terms:
        """Under what deliveries are verified: by default with both secrets."""
        secrets = [
            Secret(name, self.pack.key(self.texts[name], self.options))
            for name in names or (OLD, LIVE)
        ]
        return Terms(secrets=secrets, tolerance_secs=self.tolerance_secs, options=self.options)

    def request(self, step: Step, *, by: str = LIVE, at_us: int = AT_US) -> SignedRequest:
        """The step as the provider would send it."""
        return self.pack.sign(
            step.body, secret=self.texts[by], message_id=step.message_id, at_us=at_us,
            options=self.options, headers=step.headers,
        )  # fmt: skip

    def delivery(self, step: Step, *, by: str = LIVE, at_us: int = AT_US) -> Delivery:
        """The step as it arrives, at the time when it was signed."""
        return arrived(self.request(step, by=by, at_us=at_us), at_us)


def bench(pack: Pack, options: Any) -> Bench:
    """The pack with secrets made for the trial."""
    return Bench(
        pack, options, {name: pack.example_secret(name, options) for name in (OLD, LIVE, FORGER)}
    )


def arrived(request: SignedRequest, at_us: int = AT_US) -> Delivery:
    """The request as the ingress sees it."""
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return Delivery(headers, request.body, at_us, request.query)


def stories_told(pack: Pack) -> list[Story]:
    """Stories of the pack, the same every time; none where it has none."""
    try:
        tell = stories_of(pack)
    except ConfigurationError:
        return []
    chance = random.Random(pack.name)
    return [tell(chance, AT_US) for _ in range(STORIES)]


class Fixture(msgspec.Struct, frozen=True, kw_only=True):
    """A case of a folder: `NAME.json` (or `.txt`), `NAME.headers.json`, `NAME.expected.json`.

    `expected` holds `item` (or `items`) and `draft` (or `drafts`), or `refused`; None where
    there is no such file. `query` and `options` may stand in the headers' file as `?` and
    `options`.
    """

    name: str
    body: bytes
    headers: dict[str, str]
    expected: dict[str, Any] | None
    query: str = ""

    def delivery(self, at_us: int) -> Delivery:
        """As it arrives."""
        pairs = tuple((name.lower(), value) for name, value in self.headers.items())
        return Delivery(pairs, self.body, at_us, self.query)


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a fixtures folder."""

    fixtures: tuple[Fixture, ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    options: dict[str, Any] = {}
    vectors: tuple[dict[str, Any], ...] = ()


def folder(path: Path | None) -> Folder:
    """The fixtures in a folder; raises ConfigurationError for a file that is no JSON."""
    if path is None or not path.is_dir():
        return Folder()
    told = _json(path / "secrets.json") or {"secrets": []}
    return Folder(
        fixtures=tuple(_fixtures(path)),
        secrets=tuple((each["name"], each["text"]) for each in told["secrets"]),
        options=told.get("options", {}),
        vectors=tuple(_json(path / "vectors.json") or ()),
    )


def _fixtures(path: Path) -> Iterator[Fixture]:
    for body in sorted([*path.glob("*.json"), *path.glob("*.txt")]):
        if body.name.count(".") != 1 or body.stem in ("secrets", "vectors"):
            continue
        headers = dict(_json(path / f"{body.stem}.headers.json") or {})
        query = headers.pop("?", "")
        expected = _json(path / f"{body.stem}.expected.json")
        yield Fixture(name=body.stem, body=body.read_bytes(), headers=headers,
                      expected=expected, query=query)  # fmt: skip


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is no JSON") from None
