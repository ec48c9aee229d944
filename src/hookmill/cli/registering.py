"""`hookmill providers register|registrations|unregister`: webhooks by the provider's own API."""

import asyncio
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import load_setup
from hookmill.config.options import Endpoint, SecretSource
from hookmill.config.secrets import read_once
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.local.registrar import Made, Registrar, RegistrationFailed, Request, request
from hookmill.local.secret_file import SecretFile
from hookmill.providers.registration import Api, api_of

EndpointName = Annotated[str, typer.Argument(metavar="ENDPOINT", help="of the configuration")]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Another address than the provider's, for trials: https, or this machine.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the request, without the key; send nothing.")
]


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and its provider's API."""

    name: str
    title: str
    api: Api
    configured: Endpoint

    def registrar(self, base_url: str | None) -> Registrar:
        """With the endpoint's API key; raises ConfigurationError where it has none."""
        source = self.configured.api_key
        if source is None:
            raise ConfigurationError(
                f'endpoints.{self.name}.api_key is needed: api_key = {{ env = "…" }}'
            )
        try:
            key = read_once(source, environ=os.environ)
        except ConfigurationError as error:
            raise ConfigurationError(f"endpoints.{self.name}.api_key: {error}") from None
        return Registrar(self.api, key, self.title, base_url=base_url)


def desk(config: Path | None, endpoint: str) -> Desk:
    """The endpoint's; raises ConfigurationError where there is none or no API is known."""
    setup = load_setup(config)
    found = setup.endpoints.get(endpoint)
    if found is None:
        have = ", ".join(setup.endpoints) or "none"
        raise ConfigurationError(f"no endpoint is called '{endpoint}'; there are: {have}")
    return Desk(
        name=endpoint,
        title=found.pack.title,
        api=api_of(found.pack.name, found.pack.title),
        configured=setup.config.endpoints[endpoint],
    )


def register(
    endpoint: EndpointName,
    url: Annotated[str, typer.Option(help="Where the provider reaches it: https://…")],
    name: Annotated[
        str | None,
        typer.Option(help="What it is called there. Default: the endpoint.", show_default=False),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            help="Which of the endpoint's secrets it is for. Default: its first by file.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a secret's file that is there already.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Even if the address is registered already.")
    ] = False,
    show_secret: Annotated[
        bool, typer.Option("--show-secret", help="Print the secret; it is told only once.")
    ] = False,
    dry_run: DryRun = False,
    base_url: BaseUrl = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Register the endpoint at its provider, and put the secret where the configuration says.

    The provider tells the secret this one time. It goes into the file that the endpoint's secret
    names (only its owner can read it; it is never replaced without --force) and is printed nowhere;
    a secret by environment variable is printed, for you to store, with --show-secret only.
    """
    at = desk(config, endpoint)
    _check_address(url, endpoint)
    called = name or endpoint
    if dry_run:
        wanted = request(at.api, at.api.register, base_url, url=url, name=called)
        _print_request(wanted, as_json=as_json)
        return
    path = _path(at, secret)
    if path is None and not show_secret:
        raise ConfigurationError(
            f"the secret is told only once, and endpoints.{endpoint}.secrets names no file for it: "
            "name one, or give --show-secret to have it printed"
        )
    place = SecretFile(path, replace=force) if path else nullcontext()
    with place as kept:
        made = asyncio.run(_made(at.registrar(base_url), url, called, again=again))
        stored = _stored(kept, made, endpoint) if kept else None
    _print_made(made, endpoint, stored, show_secret=show_secret, as_json=as_json)
    if stored:
        err.print(f"the secret is in {path}, for its owner's eyes only", markup=False)


def registrations(
    endpoint: EndpointName,
    base_url: BaseUrl = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Every webhook that the provider has for this endpoint's account; secrets are not told."""
    found = asyncio.run(desk(config, endpoint).registrar(base_url).registered())
    if as_json:
        print_json([msgspec.to_builtins(each) for each in found])
        return
    rows = [(each.id, each.name, each.url, each.mode) for each in found]
    print_table(("id", "name", "url", "mode"), rows)


def unregister(
    endpoint: EndpointName,
    own_id: Annotated[str, typer.Argument(metavar="ID", help="from `providers registrations`")],
    dry_run: DryRun = False,
    base_url: BaseUrl = None,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """End a registration: the provider sends nothing there any more. The secret's file stays."""
    at = desk(config, endpoint)
    if dry_run:
        wanted = request(at.api, at.api.unregister, base_url, id=own_id)
        _print_request(wanted, as_json=as_json)
        return
    asyncio.run(at.registrar(base_url).unregister(own_id))
    if as_json:
        print_json({"endpoint": endpoint, "unregistered": own_id})
    else:
        err.print(f"{at.title} has no webhook {own_id} any more", markup=False)


async def _made(registrar: Registrar, url: str, name: str, *, again: bool) -> Made:
    """Register, unless the address is registered: two of one address deliver everything twice."""
    if not again:
        for each in await registrar.registered():
            if each.url == url:
                raise RegistrationFailed(
                    f"{url} is registered already, as {each.id}, and its secret is not told again: "
                    "unregister that one first, or give --again to have both for a rotation"
                )
    return await registrar.register(url, name)


def _stored(place: SecretFile, made: Made, endpoint: str) -> str:
    try:
        place.keep(made.secret)
    except HookmillError as error:
        raise RegistrationFailed(
            f"registered as {made.registration.id}, but {error}; to begin anew: hookmill providers "
            f"unregister {endpoint} {made.registration.id}"
        ) from None
    return str(place.path)


def _path(at: Desk, secret: str | None) -> Path | None:
    """The file that the secret goes into; None where it is by environment variable."""
    sources = at.configured.secrets
    if secret is None:
        files = [each.file for each in sources if each.file is not None]
        return Path(files[0]) if files else None
    named: list[SecretSource] = [each for each in sources if each.name == secret]
    if not named:
        have = ", ".join(each.name for each in sources)
        raise ConfigurationError(f"endpoints.{at.name} has no secret '{secret}'; it has: {have}")
    return Path(named[0].file) if named[0].file else None


def _check_address(url: str, endpoint: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
        raise ConfigurationError(f"--url {url}: it must be https://HOST/…/webhooks/{endpoint}")
    if not parts.path.endswith(f"/webhooks/{endpoint}"):
        err.print(
            f"note: the address does not end in /webhooks/{endpoint}: whatever stands before "
            "hookmill must lead it there",
            markup=False,
        )


def _print_request(wanted: Request, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(wanted))
        return
    print(f"{wanted.method} {wanted.url}")
    for name, value in wanted.headers.items():
        print(f"{name}: {value}")
    if wanted.body is not None:
        print(f"content-type: application/json\n\n{msgspec.json.encode(wanted.body).decode()}")


def _print_made(
    made: Made, endpoint: str, stored: str | None, *, show_secret: bool, as_json: bool
) -> None:
    told: dict[str, Any] = {"endpoint": endpoint, **msgspec.to_builtins(made.registration)}
    if stored:
        told["secret_file"] = stored
    if show_secret:
        told["secret"] = made.secret
    if as_json:
        print_json(told)
    else:
        print_table(("", ""), [(key.replace("_", " "), value) for key, value in told.items()])
