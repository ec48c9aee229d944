"""Writes what fixtures lack, so that a person can read it and correct the pack, or keep it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from hookmill.core.errors import ConfigurationError, Refused, UnparseableBody
from hookmill.local.conformance import signed_at_us, trial_options
from hookmill.local.kit.reading import draft_of
from hookmill.local.kit.specimen import AT_US, LIVE, bench, folder
from hookmill.providers.pack import Pack


def record(pack: Pack, path: Path) -> Iterator[Path]:
    """Sign the bodies that have no headers with the folder's first secret, and write what each
    becomes where that is not written. Yields the files; overwrites none."""
    secrets = path / "secrets.json"
    if not secrets.is_file():
        text = pack.example_secret("fixtures", trial_options(pack, {}))
        _write(secrets, {"secrets": [{"name": "main", "text": text}], "options": {}})
        yield secrets
    found = folder(path)
    tried = bench(pack, trial_options(pack, found.options))
    text = found.secrets[0][1] if found.secrets else tried.texts[LIVE]
    for fixture in found.fixtures:
        headers = path / f"{fixture.name}.headers.json"
        if not headers.is_file():
            try:
                request = pack.sign(fixture.body, secret=text, message_id=f"msg_{fixture.name}",
                                    at_us=AT_US, options=tried.options)  # fmt: skip
            except (Refused, UnparseableBody, ValueError) as error:
                raise ConfigurationError(f"{fixture.name} cannot be signed: {error}") from None
            if request.body != fixture.body:
                continue  # the signature lies in the body, which stays as it is
            query = {"?": request.query} if request.query else {}
            _write(headers, {**request.headers, **query})
            yield headers
    for fixture in folder(path).fixtures:
        if fixture.expected is None:
            expected = path / f"{fixture.name}.expected.json"
            _write(expected, draft_of(tried, fixture, signed_at_us(tried, fixture)))
            yield expected


def _write(path: Path, value: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
