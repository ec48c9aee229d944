"""How webhooks are registered at providers that have an API for it: pure data, with its source.

Only what is documented well enough to be relied on is here. Not here: Rehive (its pages say the
paths, not how a caller proves itself), Pay3 (the published path and headers are not certain),
Echezona (its dashboard only).
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from hookmill.core.errors import ConfigurationError
from hookmill.core.parse import as_object

Method = Literal["GET", "POST", "DELETE"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. In `path` and in the texts of `body`: `{name}`, `{url}`, `{id}`."""

    method: Method
    path: str
    body: Mapping[str, str] | None = None


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's registrations: how to make, see and end one, and where the answers say what.

    `listed` names the member of the answer that is the list, "" the answer itself; the first that
    fits counts. `id` to `secret` are members of one registration. `key_header` is a header's name
    and a template of `{key}`.
    """

    base_url: str
    key_header: tuple[str, str]
    register: Call
    list: Call
    unregister: Call
    listed: tuple[str, ...]
    id: str = "id"
    name: str = "name"
    url: str = "url"
    mode: str = "mode"
    secret: str = "secret"
    notes: str = ""
    """What a person should know when it fails."""
    sources: tuple[str, ...]


# Registering: https://developer.yoco.com/checkout-api-reference/webhooks/register-webhook: "secret"
# is in this answer only; at most 5 webhooks an account, one is recommended. Listing and deleting
# stand in public integrations alone: `{"subscriptions": [...]}` in three of them, a bare list in
# one description; deleting answers 200 or 204, and 404 what is gone.
YOCO = Api(
    base_url="https://payments.yoco.com/api",
    key_header=("authorization", "Bearer {key}"),
    register=Call(method="POST", path="/webhooks", body={"name": "{name}", "url": "{url}"}),
    list=Call(method="GET", path="/webhooks"),
    unregister=Call(method="DELETE", path="/webhooks/{id}"),
    listed=("subscriptions", ""),
    notes="Yoco allows 5 webhooks an account and recommends one; the key's mode (sk_live_, "
    "sk_test_) is the webhook's",
    sources=(
        "https://developer.yoco.com/checkout-api-reference/webhooks/register-webhook",
        "https://developer.yoco.com/online/api-reference/webhooks/accept-events",
    ),
)

APIS: Mapping[str, Api] = {"yoco": YOCO}


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as the provider has it. The secret is only in the answer that made it."""

    id: str
    url: str | None = None
    name: str | None = None
    mode: str | None = None


def api_of(provider: str, title: str) -> Api:
    """The provider's API; raises ConfigurationError where none is known."""
    found = APIS.get(provider)
    if found is None:
        raise ConfigurationError(
            f"{title} has no documented API for registering webhooks; its dashboard has: see "
            f"`hookmill providers show {provider} --markdown`. With an API: {', '.join(APIS)}"
        )
    return found


def registration(api: Api, told: Any) -> Registration | None:
    """One registration of an answer; None where it has no id."""
    own_id = _text(told, api.id)
    if not own_id:
        return None
    return Registration(
        id=own_id, url=_text(told, api.url), name=_text(told, api.name), mode=_text(told, api.mode)
    )


def registrations(api: Api, told: Any) -> tuple[Registration, ...] | None:
    """All of a list's answer; None where it holds no such list."""
    for member in api.listed:
        found = as_object(told).get(member) if member else told
        if isinstance(found, list):
            each = [registration(api, one) for one in found]
            return tuple(one for one in each if one is not None)
    return None


def issued_secret(api: Api, told: Any) -> str | None:
    """The secret in the answer that made a registration."""
    return _text(told, api.secret)


def _text(told: Any, member: str) -> str | None:
    found = as_object(told).get(member)
    return found if isinstance(found, str) else None
