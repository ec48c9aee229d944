"""What every scheme can do: say who signed, sign as the provider does, and describe itself."""

import base64
import hashlib
import re
from collections.abc import Iterator

import msgspec

from hookmill.core.delivery import Delivery, Secret
from hookmill.providers.keys import signing_key
from hookmill.providers.schemes.encoding import Encoding
from hookmill.providers.terms import SignedRequest, Signing, Terms

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a signature stands and how it is written: exactly one of `header`, `field`, `form`.

    `field` is a pointer into the body's JSON. A header of several entries (`t=1,v1=ab,v1=cd`)
    has a `separator`, and `joint` between an entry's label and its value; only entries of `label`
    are signatures, the others are read as `param:LABEL`. `label` may be a template
    (`{option:public_key}`).
    """

    header: str | None = None
    field: str | None = None
    form: str | None = None
    encoding: Encoding = "hex"
    prefix: str = ""
    """What stands before the signature, such as `sha256=`."""
    prefix_optional: bool = False
    repeats: bool = False
    """Whether the header may come several times, each with signatures."""
    separator: str = ""
    joint: str = ""
    label: str = ""

    def problems(self) -> Iterator[str]:
        """One line for each thing that cannot be."""
        said = [each for each in (self.header, self.field, self.form) if each is not None]
        if len(said) != 1:
            yield "signature: exactly one of header, field, form"
        if self.header is not None and not HEADER_NAME.fullmatch(self.header):
            yield f"signature.header: '{self.header}' is no name of a header"
        if self.field is not None and not self.field.startswith("/"):
            yield f"signature.field: '{self.field}' is no JSON pointer such as /data/signature"
        if self.repeats and self.header is None:
            yield "signature.repeats: only a header can come several times"
        if bool(self.label) != bool(self.joint):
            yield "signature: label and joint go together"


class Scheme(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True,
             tag_field="scheme"):  # fmt: skip
    """One way of proving a sender. A subclass is a struct of data with this behaviour."""

    @property
    def signs_body(self) -> bool:
        """False where a changed body is not noticed."""
        return True

    @property
    def signs_time(self) -> bool:
        """Whether a time is signed, so that a tolerance means something."""
        return False

    @property
    def default_tolerance_secs(self) -> int | None:
        """How far a signed time may be off unless the endpoint says otherwise."""
        return None

    @property
    def evidence_headers(self) -> tuple[str, ...]:
        """Request headers that the signature covers or carries, lower case; no credential."""
        return ()

    @property
    def evidence_query(self) -> tuple[str, ...]:
        """Parameters of the address that the signature covers."""
        return ()

    @property
    def static(self) -> bool:
        """Whether the proof is a credential, which is never kept."""
        return False

    def key(self, text: str) -> bytes:
        """The key that a secret's text stands for; raises ValueError if it is none."""
        return signing_key(text)

    def example_secret(self, name: str) -> str:
        """A secret of the form that this scheme takes, for trials: another for each name."""
        digest = hashlib.sha256(name.encode()).digest()
        return "whsec_" + base64.b64encode(digest).decode()

    def problems(self) -> Iterator[str]:
        """One line for each thing in the description that cannot be."""
        yield from ()

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the live secret that proves the sender; raise Refused if none does."""
        raise NotImplementedError

    def sign(self, body: bytes, signing: Signing) -> SignedRequest:
        """The request with which the provider would deliver `body`; ValueError if it can't be."""
        raise NotImplementedError

    def evidence(self, delivery: Delivery) -> dict[str, list[str] | str]:
        """What lets anyone verify again; a credential is not among it."""
        if self.static:
            return {"scheme": "static"}
        sent = delivery.headers_by_name()
        found: dict[str, list[str] | str] = {
            name: sent[name] for name in self.evidence_headers if name in sent
        }
        if self.evidence_query and delivery.query:
            found["?"] = delivery.query
        return found or {"scheme": "body"}
