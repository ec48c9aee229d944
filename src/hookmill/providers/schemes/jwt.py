"""A body that is a token: JSON Web Tokens with one HMAC algorithm, pinned."""

import binascii
import hashlib
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused, UnparseableBody
from hookmill.core.parse import Number, figure_text, parse_object
from hookmill.providers.keys import signing_key, verify_hmac
from hookmill.providers.schemes.items import set_at
from hookmill.providers.schemes.scheme import Scheme
from hookmill.providers.schemes.template import pointed
from hookmill.providers.terms import SignedRequest, Signing, Terms

_FROM_URL = bytes.maketrans(b"-_", b"+/")
_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


class Jwt(Scheme, frozen=True, kw_only=True, tag="jwt"):
    """A token at a pointer in the body's JSON; its claims are the event.

    Any other algorithm than the pinned one is refused before anything else is looked at. Of the
    registered claims only `exp` is honoured, against the time that is handed in.
    """

    algorithm: Literal["HS256", "HS384", "HS512"]
    field: str = "/token"

    def key(self, text: str) -> bytes:
        """The secret's bytes; raises ValueError for a public key or a JWK in its place."""
        key = signing_key(text)
        try:
            return _HMACS[self.algorithm].prepare_key(key)
        except jwt.InvalidKeyError as error:
            raise ValueError(str(error)) from None

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that signed the token; raise Refused if none did.

        The MAC comes first, so that a forged megabyte costs one hash a secret. PyJWT then holds
        what fits to the rules of a JWS: `crit`, `b64`, `kid`, strict base64url.
        """
        try:
            token = self.token(delivery.body)
        except UnparseableBody:
            raise Refused(Reason.MALFORMED_ENVELOPE) from None
        if _algorithm(token) != self.algorithm:
            raise Refused(Reason.TOKEN_ALGORITHM)
        signed, _, signature = token.rpartition(".")
        try:
            secret = verify_hmac(signed.encode(), candidates=[_base64url(signature)],
                                 secrets=terms.secrets,
                                 algorithm=_HASHES[self.algorithm])  # fmt: skip
            claims = _JWS.decode(token, secret.key, algorithms=[self.algorithm])
        except (jwt.PyJWTError, UnparseableBody, Refused):
            raise Refused(Reason.TOKEN_INVALID) from None
        if _expired(claims, delivery.received_at_us):
            raise Refused(Reason.TOKEN_INVALID)
        return secret

    def sign(self, body: bytes, signing: Signing) -> SignedRequest:
        """The request that carries `body`, the claims, as a token. It holds no time and no id."""
        key = self.key(signing.secret)
        token = _JWS.encode(body, key, self.algorithm, headers={"typ": None})
        envelope: dict[str, Any] = {}
        set_at(envelope, self.field, token)
        headers = {"content-type": "application/json", **signing.headers}
        return SignedRequest(headers, msgspec.json.encode(envelope))

    def token(self, body: bytes) -> str:
        """The token in a body; raises UnparseableBody where there is none."""
        token = pointed(parse_object(body), self.field)
        if not isinstance(token, str):
            raise UnparseableBody(f"no text in `{self.field.lstrip('/')}`")
        return token

    def claims(self, body: bytes) -> bytes:
        """The claims of a body that was verified before; nothing is verified again."""
        parts = self.token(body).split(".")
        if len(parts) != 3:
            raise UnparseableBody(f"no token in `{self.field.lstrip('/')}`")
        return _base64url(parts[1])


class _AnyLength(HMACAlgorithm):
    """HMAC that says nothing of short keys: the provider chooses the secret."""

    def check_key_length(self, key: bytes) -> str | None:
        return None


_HMACS = {
    "HS256": _AnyLength(hashlib.sha256),
    "HS384": _AnyLength(hashlib.sha384),
    "HS512": _AnyLength(hashlib.sha512),
}
_JWS = PyJWS(algorithms=[])  # knows no algorithm but those registered next
for _name, _hmac in _HMACS.items():
    _JWS.register_algorithm(_name, _hmac)


def _algorithm(token: str) -> object:
    """What the token's header names; raises Refused for a string that is no JWT."""
    header, *rest = token.split(".", 2)
    try:
        return parse_object(_base64url(header if len(rest) == 2 else "")).get("alg")
    except UnparseableBody:
        raise Refused(Reason.TOKEN_INVALID) from None


def _base64url(text: str) -> bytes:
    """As `base64.urlsafe_b64decode` with any padding, without its two copies on the way."""
    try:
        bare = text.rstrip("=").encode("ascii").translate(_FROM_URL)
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))
    except ValueError:
        raise UnparseableBody("not base64url") from None


def _expired(claims: bytes, now_us: int) -> bool:
    """Whether the claims carry a time of expiry that has come (RFC 7519, 4.1.4)."""
    try:
        expiry = parse_object(claims).get("exp")
    except UnparseableBody:
        return False
    if isinstance(expiry, bool) or not isinstance(expiry, int | Number):
        return False
    try:
        return Decimal(figure_text(expiry) or 0) <= Decimal(now_us).scaleb(-6)
    except InvalidOperation:  # an exponent beyond any calendar
        return True
