"""RSA and ECDSA signatures, checked with a key or a certificate that the endpoint pins.

The endpoint's "secret" is then the provider's public key or certificate as PEM, from a file as
any other secret, so that several may live at once while a provider changes its own. Nothing is
fetched: an address in a header cannot lead us anywhere. For trials a private key may stand in
its place; what it signs is then what its public half checks.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from hookmill.core.delivery import Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.schemes.signed import Signed
from hookmill.providers.schemes.template import Source

RSA_BITS_MIN = 2048
SIGNATURES_MAX = 8
"""How many signatures of one request are tried: each costs far more than an HMAC."""
_DIGESTS: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Pinned(NamedTuple):
    """A public key, and of a certificate the times between which it holds."""

    public: PublicKey
    not_before: datetime | None = None
    not_after: datetime | None = None

    def holds(self, at_us: int) -> bool:
        """Whether the certificate is valid then; a bare key always is."""
        if self.not_before is None or self.not_after is None:
            return True
        now = datetime.fromtimestamp(at_us // 1_000_000, UTC)
        return self.not_before <= now <= self.not_after


class Asymmetric(Signed, frozen=True, kw_only=True):
    """A signature by the provider's private key. `names`: what a certificate must be for.

    A name such as `*.example.com` stands for any one label before the rest. Where there are
    names, only a certificate will do, not a bare key.
    """

    digest: Literal["sha256", "sha384", "sha512"] = "sha256"
    names: tuple[str, ...] = ()

    def key(self, text: str) -> bytes:
        """The public key (or certificate) in DER; raises ValueError unless it is of our kind."""
        raw = _der(text)
        pinned = _pinned(raw)
        if not isinstance(pinned.public, self._kind()):
            raise ValueError(f"the key is no {self._kind_name()} key")
        if isinstance(pinned.public, rsa.RSAPublicKey) and pinned.public.key_size < RSA_BITS_MIN:
            raise ValueError(f"an RSA key below {RSA_BITS_MIN} bits proves nothing")
        if self.names:
            _check_names(raw, self.names)
        return raw

    def fitting(
        self, source: Source, candidates: Sequence[bytes], secrets: Sequence[Secret], at_us: int
    ) -> Secret:
        """Every key is tried against every signature; a certificate must be valid now."""
        message = self.message(source)
        for secret in secrets:
            pinned = _pinned(secret.key)
            for candidate in candidates[:SIGNATURES_MAX]:
                if pinned.holds(at_us) and self._fits(pinned.public, message, candidate):
                    return secret
        raise Refused(Reason.SIGNATURE_INVALID)

    def fits(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the private half of that key signed the message."""
        return self._fits(_pinned(key).public, message, signature)

    def problems(self) -> Iterator[str]:
        """A name can have a star for its first label only."""
        yield from super().problems()
        for name in self.names:
            if "*" in name.removeprefix("*."):
                yield f"names: '{name}': a star can only stand for the first label"

    def _kind(self) -> type[rsa.RSAPublicKey] | type[ec.EllipticCurvePublicKey]:
        raise NotImplementedError

    def _kind_name(self) -> str:
        return "RSA" if self._kind() is rsa.RSAPublicKey else "elliptic curve"

    def _fits(self, public: PublicKey, message: bytes, signature: bytes) -> bool:
        raise NotImplementedError


class Rsa(Asymmetric, frozen=True, kw_only=True, tag="rsa"):
    """RSASSA-PKCS1-v1_5."""

    def made(self, source: Source, secret: str) -> bytes:
        """Raises ValueError where the secret is the provider's public key: it alone can sign."""
        private = _private(secret)
        assert isinstance(private, rsa.RSAPrivateKey)
        return private.sign(self.message(source), padding.PKCS1v15(), _DIGESTS[self.digest]())

    def example_secret(self, name: str) -> str:
        """A private key made for the name, kept while the process lives."""
        return _example("rsa", name)

    def _kind(self) -> type[rsa.RSAPublicKey]:
        return rsa.RSAPublicKey

    def _fits(self, public: PublicKey, message: bytes, signature: bytes) -> bool:
        assert isinstance(public, rsa.RSAPublicKey)
        try:
            public.verify(signature, message, padding.PKCS1v15(), _DIGESTS[self.digest]())
        except InvalidSignature:
            return False
        return True


class Ecdsa(Asymmetric, frozen=True, kw_only=True, tag="ecdsa"):
    """ECDSA with the signature in DER, of which one form is taken: the canonical one."""

    def made(self, source: Source, secret: str) -> bytes:
        """Raises ValueError where the secret is the provider's public key: it alone can sign."""
        private = _private(secret)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return private.sign(self.message(source), ec.ECDSA(_DIGESTS[self.digest]()))

    def example_secret(self, name: str) -> str:
        """A private key made for the name, kept while the process lives."""
        return _example("ecdsa", name)

    def _kind(self) -> type[ec.EllipticCurvePublicKey]:
        return ec.EllipticCurvePublicKey

    def _fits(self, public: PublicKey, message: bytes, signature: bytes) -> bool:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        try:
            if encode_dss_signature(*decode_dss_signature(signature)) != signature:
                return False
            public.verify(signature, message, ec.ECDSA(_DIGESTS[self.digest]()))
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=64)
def _der(text: str) -> bytes:
    raw = text.strip().encode()
    try:
        if b"BEGIN CERTIFICATE" in raw:
            return x509.load_pem_x509_certificate(raw).public_bytes(serialization.Encoding.DER)
        if b"PRIVATE KEY" in raw:
            public = serialization.load_pem_private_key(raw, None).public_key()
        else:
            public = serialization.load_pem_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            "the secret must be the provider's public key or certificate as PEM "
            "(-----BEGIN PUBLIC KEY----- …), best from a file"
        ) from None
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@lru_cache(maxsize=64)
def _pinned(raw: bytes) -> Pinned:
    try:
        certificate = x509.load_der_x509_certificate(raw)
    except ValueError:
        public = serialization.load_der_public_key(raw)
        bounds: tuple[datetime | None, datetime | None] = (None, None)
    else:
        public = certificate.public_key()
        bounds = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    if not isinstance(public, PublicKey):
        raise ValueError("the key is neither RSA nor of an elliptic curve")
    return Pinned(public, *bounds)


def _check_names(raw: bytes, names: tuple[str, ...]) -> None:
    wanted = " or ".join(names)
    try:
        certificate = x509.load_der_x509_certificate(raw)
    except ValueError:
        raise ValueError(f"a certificate for {wanted} is needed, not a bare key") from None
    common = [
        str(each.value)
        for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    if not any(_named(found, name) for found in common for name in names):
        raise ValueError(f"the certificate is for {', '.join(common) or 'nobody'}, not {wanted}")


def _named(found: str, name: str) -> bool:
    if not name.startswith("*."):
        return found.lower() == name.lower()
    label, _, rest = found.lower().partition(".")
    return bool(label) and rest == name.removeprefix("*.").lower()


@lru_cache(maxsize=16)  # loading checks the key, which takes a tenth of a second
def _private(text: str) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(text.strip().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            "only the provider has the private key to sign with; for a trial configure a private "
            "key of your own as the secret"
        ) from None
    if not isinstance(key, PrivateKey):
        raise ValueError("the private key is neither RSA nor of an elliptic curve")
    return key


@lru_cache(maxsize=16)
def _example(kind: str, name: str) -> str:
    del name  # another key for each name, which the cache remembers
    key: PrivateKey = (
        rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS_MIN)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
