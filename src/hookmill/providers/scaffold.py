"""Begins a pack of one's own: a TOML file that explains itself, and its folder of fixtures."""

import re
from collections.abc import Iterator
from pathlib import Path

from hookmill.config.shape import nearest
from hookmill.core.errors import ConfigurationError
from hookmill.providers.loading import SCHEMES, declared
from hookmill.providers.registry import PACKS

VERIFICATIONS = {
    "hmac": """\
# An HMAC of the body in a header. `encoding`: hex or base64. `signed` may be put together of the
# request's parts: "{header:x-time}.{body}", "{option:url}{body}", "{/order/id}:{/amount}".
[verification]
scheme = "hmac"
algorithm = "sha256"                # sha1, sha256, sha384, sha512
key_form = "text"                   # what the secret's text is: text, hex, base64, standard, sha1
signed = "{body}"
signature = { header = "x-signature", encoding = "hex" }
# A signed time, if there is one, and how far it may be off:
# time = "header:x-time"
# time_unit = "s"                   # s, ms, us, rfc3339, s-or-ms
# tolerance_secs = 300
""",
    "standard-webhooks": """\
# Standard Webhooks (Svix): webhook-id, webhook-timestamp, webhook-signature; nothing to choose.
[verification]
scheme = "standard-webhooks"
tolerance_secs = 300
""",
    "hash": """\
# A plain hash of some fields and the secret, in the body.
[verification]
scheme = "hash"
algorithm = "sha512"
signed = "{/order_id}{/amount}{key}"
signature = { field = "/signature", encoding = "hex" }
""",
    "token": """\
# The secret itself in a header, perhaps behind a word: `Authorization: Bearer …`.
[verification]
scheme = "token"
header = "x-callback-token"
# word = "Bearer"
""",
    "basic": """\
# HTTP's basic authentication; the secret is `user:password`.
[verification]
scheme = "basic"
""",
    "jwt": """\
# The body holds a token; its claims are the event.
[verification]
scheme = "jwt"
algorithm = "HS256"                 # HS256, HS384, HS512: this one and no other
field = "/token"
""",
    "rsa": """\
# A signature by the provider's private key; the endpoint's secret is its public key, from a file.
[verification]
scheme = "rsa"
digest = "sha256"
signed = "{body}"
signature = { header = "x-signature", encoding = "base64" }
""",
    "ecdsa": """\
# A signature by the provider's private key; the endpoint's secret is its public key, from a file.
[verification]
scheme = "ecdsa"
digest = "sha256"
signed = "{body}"
signature = { header = "x-signature", encoding = "base64" }
""",
}
SCHEME_NAMES = tuple(VERIFICATIONS)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")

_TEXT = """\
# What hookmill knows of NAME. docs/guides/add-a-provider.md explains every key.
# Write beside each fact where it is written; what is not confirmed, leave out.
name = "NAME"
title = "TITLE"
verifies = "What proves the sender, in one sentence."
sources = ["https://docs.example.com/webhooks"]
# How long it waits before each further attempt, and within which time it wants an answer.
retry_delays_secs = [60, 300, 1800]
answer_deadline_secs = 10.0
# Longer than its longest redelivery; where no time is signed this is the replay protection.
dedup_window_secs = 2592000
# Where the event's name stands: a pointer into the JSON, or header:NAME (then keep_headers too).
word = "/type"

VERIFICATION
# Where the facts of an event stand. What a kind of object has elsewhere is said in [shapes.KIND].
[default]
event_id = "/id"                    # several are tried in order; "{/type}:{/data/id}" derives one
resource = "/data/id"
status = "/data/status"
occurred_at = "/created_at"
time_unit = "rfc3339"               # rfc3339, s, ms
metadata = "/data/metadata"

[shapes.payment]
amount = { figure = "/data/amount", currency = "/data/currency", unit = "minor" }
links = { payment = "/data/id" }

[shapes.refund]
subject = ["/data/payment_id", "/data/id"]
amount = { figure = "/data/amount", currency = "/data/currency", unit = "minor" }
links = { payment = "/data/payment_id", refund = "/data/id" }

# Their words and ours; what no line fits is kept as other.unrecognized.
[[events]]
word = "payment.succeeded"
becomes = "payment.succeeded"

[[events]]
word = "payment.failed"
becomes = "payment.failed"

[[events]]
word = "refund.succeeded"
becomes = "refund.succeeded"

# What `hookmill send NAME` tells, and what `hookmill providers test` alters in every way.
[[stories]]
name = "paid and refunded"
[[stories.steps]]
becomes = "payment.succeeded"
body = \'\'\'{"id":"evt_{{new}}","type":"payment.succeeded","created_at":"{{now:rfc3339}}",
 "data":{"id":"{{payment}}","status":"succeeded","amount":{{amount}},"currency":"EUR","metadata":{}}FIELDS}\'\'\'
[[stories.steps]]
becomes = "refund.succeeded"
body = \'\'\'{"id":"evt_{{new}}","type":"refund.succeeded","created_at":"{{now:rfc3339}}",
 "data":{"id":"{{refund}}","payment_id":"{{payment}}","status":"succeeded",
 "amount":{{amount}},"currency":"EUR","metadata":{}}FIELDS}\'\'\'
"""


def scaffold(name: str, scheme: str, folder: Path) -> Iterator[Path]:
    """Make the file and the folder; yields what was made.

    Raises ConfigurationError for a name that is taken or no name, and for an unknown scheme.
    """
    if scheme not in VERIFICATIONS:
        raise ConfigurationError(
            f"no scheme is called '{scheme}'{nearest(scheme, list(VERIFICATIONS))}"
        )
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"'{name}': lower-case letters, digits and hyphens")
    if name in PACKS:
        raise ConfigurationError(f"'{name}' is hookmill's own pack; choose another name")
    path = folder.joinpath(f"{name}.toml")
    if path.exists():
        raise ConfigurationError(f"{path} is there already")
    text = text_of_pack(name, scheme)
    declared(text, str(path))
    folder.joinpath(name).mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    yield path
    yield folder.joinpath(name)


def text_of_pack(name: str, scheme: str) -> str:
    """The file's text: a pack that works as it stands."""
    assert scheme in SCHEMES
    fields = ',"order_id":"{{order}}","amount":{{amount}}' if scheme == "hash" else ""
    return (
        _TEXT.replace("VERIFICATION", VERIFICATIONS[scheme])
        .replace("FIELDS", fields)
        .replace("TITLE", name.replace("-", " ").title())
        .replace("NAME", name)
    )
