"""Registers webhooks by a provider's API: one request at a time, within limits, no secret said.

Nothing is sent twice: a registration whose answer is lost may exist, and the error says so.
"""

import re
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from hookmill.core.errors import ConfigurationError, HookmillError, UnparseableBody
from hookmill.core.parse import as_object, parse_json
from hookmill.providers.registration import (
    Api,
    Call,
    Registration,
    issued_secret,
    registration,
    registrations,
)

REQUEST_TIMEOUT_SECS = 30.0
ANSWER_BYTES_MAX = 1024 * 1024
SAID_CHARS_MAX = 200
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HIDDEN = "…"
_SECRETS = re.compile(r"\b(?:whsec|sk|pk|rk)_\S+")
_TELLING = ("message", "error", "description", "detail", "title")


class RegistrationFailed(HookmillError):
    """The provider did not do it, or its answer cannot be understood; says what to do next."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it would be sent, without the API key."""

    method: str
    url: str
    headers: dict[str, str]
    body: dict[str, str] | None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A registration that was just made; `secret` is in no `repr` and never told again."""

    registration: Registration
    secret: str

    def __repr__(self) -> str:
        return f"Made(registration={self.registration!r}, secret={HIDDEN})"


def request(api: Api, call: Call, base_url: str | None, **values: str) -> Request:
    """The request, its key hidden; raises ConfigurationError for a base that would leak the key."""
    base = (base_url or api.base_url).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ConfigurationError(f"{base}: only https, or the key could be read on its way")
    path = call.path.format(**{name: quote(text, safe="") for name, text in values.items()})
    body = call.body and {name: text.format(**values) for name, text in call.body.items()}
    name, template = api.key_header
    return Request(
        method=call.method,
        url=base + path,
        headers={name: template.format(key=HIDDEN)},
        body=dict(body) if body else None,
    )


class Registrar:
    """A provider's registrations, with the account's API key."""

    def __init__(
        self, api: Api, key: str, title: str, *, base_url: str | None = None,
        timeout_secs: float = REQUEST_TIMEOUT_SECS,
    ) -> None:  # fmt: skip
        if not key.isascii() or not key.isprintable() or key != key.strip():
            raise ConfigurationError("the API key cannot be right: it has characters of no header")
        self._api = api
        self._key = key
        self._title = title
        self._base_url = base_url
        self._timeout = aiohttp.ClientTimeout(total=timeout_secs)

    async def registered(self) -> tuple[Registration, ...]:
        """Every registration of the account; raises RegistrationFailed."""
        told = await self._ask(request(self._api, self._api.list, self._base_url))
        found = registrations(self._api, told)
        if found is None:
            raise RegistrationFailed(f"{self._title} answered with no list of webhooks")
        return found

    async def register(self, url: str, name: str) -> Made:
        """Register the address; raises RegistrationFailed, also where it is not known whether."""
        wanted = request(self._api, self._api.register, self._base_url, url=url, name=name)
        told = await self._ask(wanted, lost="; whether it is registered now is not known: look "
                               "with `hookmill providers registrations`, and unregister it, since "
                               "its secret is not told again")  # fmt: skip
        made, secret = registration(self._api, told), issued_secret(self._api, told)
        if made is None or not secret:
            own_id = f" (it has the id {made.id})" if made else ""
            raise RegistrationFailed(
                f"{self._title} answered without {'a secret' if made else 'an id'}{own_id}: look "
                "with `hookmill providers registrations`, and unregister what is of no use"
            )
        return Made(registration=made, secret=secret)

    async def unregister(self, own_id: str) -> None:
        """End that registration; raises RegistrationFailed, also where there is none."""
        if own_id.strip(". ") == "":
            raise ConfigurationError("the id of a registration is needed")
        wanted = request(self._api, self._api.unregister, self._base_url, id=own_id)
        await self._ask(wanted, missing=f"{self._title} has no webhook '{own_id}'")

    async def _ask(self, wanted: Request, *, lost: str = "", missing: str = "") -> Any:
        name, template = self._api.key_header
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                session.request(
                    wanted.method,
                    wanted.url,
                    json=wanted.body,
                    headers={name: template.format(key=self._key), "accept": "application/json"},
                    allow_redirects=False,  # another host must not be shown the key
                ) as answer,
            ):
                status = answer.status
                body = await _limited(answer)
        except TimeoutError:
            raise RegistrationFailed(
                f"{self._title} did not answer within {self._timeout.total:g} s{lost}"
            ) from None
        except aiohttp.ClientConnectorError:
            raise RegistrationFailed(f"{self._title} cannot be reached at {wanted.url}") from None
        except aiohttp.ClientError as error:
            raise RegistrationFailed(
                f"{self._title}: the connection broke ({type(error).__name__}){lost}"
            ) from None
        told = _json(body)
        if not 200 <= status < 300:
            raise RegistrationFailed(self._why(status, told, missing, lost))
        return told

    def _why(self, status: int, told: Any, missing: str, lost: str) -> str:
        if status == 404 and missing:
            return missing
        said = self._said(told)
        match status:
            case 401 | 403:
                hint = "is the api_key this account's, and may it do that?"
            case 409 | 422 | 400:
                hint = self._api.notes
            case 429:
                hint = "too many requests: wait a minute"
            case _ if status >= 500:
                hint = f"try again later{lost}"
            case _:
                hint = "another answer than its documentation says"
        return f"{self._title} answered {status}{said}: {hint}"

    def _said(self, told: Any) -> str:
        """The provider's own words, shortened, with nothing in them that looks like a secret."""
        for member in _TELLING:
            text = as_object(told).get(member)
            if isinstance(text, str) and text:
                clean = _SECRETS.sub(HIDDEN, text.replace(self._key, HIDDEN))
                short = "".join(each if each.isprintable() else " " for each in clean)
                return f" ('{short[:SAID_CHARS_MAX]}')"
        return ""


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    """The answer's body, of which only so much is taken."""
    found = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        found += chunk
        if len(found) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("too long")
    return bytes(found)


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except UnparseableBody:
        return None
