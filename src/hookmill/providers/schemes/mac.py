"""HMACs, and plain hashes with the secret inside the message."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from hookmill.core.delivery import Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.keys import signing_key, verify_hmac
from hookmill.providers.schemes.moments import epoch_us
from hookmill.providers.schemes.scheme import Place
from hookmill.providers.schemes.signed import KeyForm, Signed
from hookmill.providers.schemes.template import Source, parts_of

Algorithm = Literal["sha1", "sha256", "sha384", "sha512"]
_STANDARD_MESSAGE = "{header:webhook-id}.{header:webhook-timestamp}.{body}"


class Hmac(Signed, frozen=True, kw_only=True, tag="hmac"):
    """An HMAC of the message. `key_form` says what key the secret's text stands for.

    `text`: its UTF-8 bytes. `standard`: the same, but the base64 behind `whsec_`. `hex`, `base64`:
    what it encodes. `sha1`: the SHA-1 of the text.
    """

    algorithm: Algorithm = "sha256"
    key_form: KeyForm = "text"

    def key(self, text: str) -> bytes:
        """The key; raises ValueError that says what is wrong with the text."""
        return key_of(text, self.key_form)

    def example_secret(self, name: str) -> str:
        """Of the form that the key is written in."""
        digest = hashlib.sha256(name.encode()).digest()
        match self.key_form:
            case "hex":
                return digest.hex()
            case "base64":
                return base64.b64encode(digest).decode()
            case "standard":
                return "whsec_" + base64.b64encode(digest).decode()
            case _:
                return "trial-" + digest.hex()

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        """Every secret is tried against every signature, in constant time."""
        return verify_hmac(
            self.message(source),
            candidates=candidates,
            secrets=secrets,
            algorithm=self.algorithm,
        )

    def made(self, source: Source, secret: str) -> bytes:
        """The HMAC."""
        return self.made_by(source, self.key(secret))

    def made_by(self, source: Source, key: bytes) -> bytes:
        """The HMAC by the key itself."""
        return hmac.digest(key, self.message(source), self.algorithm)


class StandardWebhooks(Hmac, frozen=True, kw_only=True, tag="standard-webhooks"):
    """Standard Webhooks 1.0.0 (standardwebhooks.com), as Svix sends it.

    Symmetric signatures, `v1`, only. Svix's libraries take the time to be 5 minutes off, at most.
    """

    signature: Place = Place(
        header="webhook-signature",
        encoding="base64",
        separator=" ",
        joint=",",
        label="v1",
        repeats=True,
    )
    signed: str = _STANDARD_MESSAGE
    time: str = "header:webhook-timestamp"
    tolerance_secs: int | None = 300
    key_form: KeyForm = "standard"

    def message(self, source: Source) -> bytes:
        """The signed bytes; a header that is empty is missing, and the time must be one."""
        id_name, time_name = self._header_names
        message_id, timestamp = source.header(id_name), source.header(time_name)
        if not message_id:
            raise Refused(Reason.SIGNATURE_MISSING)
        if not timestamp:
            raise Refused(Reason.TIMESTAMP_MISSING)
        if epoch_us(timestamp, self.time_unit) is None:
            raise Refused(Reason.TIMESTAMP_OUT_OF_TOLERANCE)
        if self.signed == _STANDARD_MESSAGE and message_id.isascii():
            return b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), source.body)
        return super().message(source)

    @cached_property
    def _header_names(self) -> tuple[str, ...]:
        return tuple(part.name for part in parts_of(self.signed) if part.kind == "header")


class Hash(Signed, frozen=True, kw_only=True, tag="hash"):
    """A plain hash of a message that has `{key}`, the secret's text, in it."""

    algorithm: Algorithm = "sha512"

    def key(self, text: str) -> bytes:
        """The text's UTF-8 bytes."""
        return key_of(text, "text")

    def example_secret(self, name: str) -> str:
        """Any text."""
        return "trial-" + hashlib.sha256(name.encode()).hexdigest()

    def problems(self) -> Iterator[str]:
        """Without the secret in it anybody could make the hash."""
        yield from super().problems()
        if "key" not in {part.kind for part in parts_of(self.signed)}:
            yield "signed: a hash proves nothing unless {key}, the secret, is in it"

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        """Every secret is tried against every signature, in constant time."""
        found = None
        for secret in secrets:
            expected = self._digest(source, secret.key)
            for candidate in candidates:
                if hmac.compare_digest(expected, candidate) and found is None:
                    found = secret
        if found is None:
            raise Refused(Reason.SIGNATURE_INVALID)
        return found

    def made(self, source: Source, secret: str) -> bytes:
        """The hash."""
        return self._digest(source, self.key(secret))

    def _digest(self, source: Source, key: bytes) -> bytes:
        source.values = {**source.values, "key": key}
        return hashlib.new(self.algorithm, self.message(source)).digest()


def key_of(text: str, form: KeyForm) -> bytes:
    """The key that the text of a secret stands for; raises ValueError if it is none.

    A text that stands for no byte at all is none: anybody could sign with an empty key.
    """
    key = _decoded_key(text, form)
    if not key:
        raise ValueError("the secret is empty")
    return key


def _decoded_key(text: str, form: KeyForm) -> bytes:
    match form:
        case "standard":
            return signing_key(text)
        case "text":
            return text.encode()
        case "sha1":
            return hashlib.sha1(text.encode(), usedforsecurity=False).digest() if text else b""
        case "hex":
            try:
                return bytes.fromhex(text)
            except ValueError:
                raise ValueError("the secret must be hex: pairs of 0-9 and a-f") from None
        case "base64":
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("the secret must be base64") from None
