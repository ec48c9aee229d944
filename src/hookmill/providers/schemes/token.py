"""Static credentials: they prove who sent, and nothing of what was sent or when."""

import base64
import binascii
import hashlib
from collections.abc import Iterator

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.keys import verify_static
from hookmill.providers.schemes.scheme import HEADER_NAME, Scheme
from hookmill.providers.schemes.template import Source, expression_part
from hookmill.providers.terms import SignedRequest, Signing, Terms


class Token(Scheme, frozen=True, kw_only=True, tag="token"):
    """The secret itself in a header, perhaps behind a word: `Authorization: Secret …`.

    The word is matched without regard to case (RFC 9110, 11.1).
    """

    header: str
    word: str = ""

    @property
    def signs_body(self) -> bool:
        """Never."""
        return False

    @property
    def static(self) -> bool:
        """Always."""
        return True

    def problems(self) -> Iterator[str]:
        """A header's name, and a word that is one."""
        if not HEADER_NAME.fullmatch(self.header):
            yield f"header: '{self.header}' is no name of a header"
        if any(each in " \t" for each in self.word):
            yield "word: a single word"

    def key(self, text: str) -> bytes:
        """The secret's bytes as they are sent, `whsec_` or not; raises ValueError if it can't be.

        It travels as one word, so it has no space in it.
        """
        if not text:
            raise ValueError("the secret is empty")
        if any(each in " \t\r\n" for each in text):
            shown = f"{self.header}: {self.word}".rstrip()
            raise ValueError(
                f"a space in the secret can't be told from the end of it in `{shown} …`; "
                "choose one without, such as 32 random characters"
            )
        return text.encode()

    def example_secret(self, name: str) -> str:
        """Random-looking text."""
        return "trial-" + hashlib.sha256(name.encode()).hexdigest()

    def verify(self, delivery: Delivery, terms: Terms) -> Secret:
        """Return the secret that was sent; raise Refused if it is none of ours."""
        value = delivery.header(self.header.lower())
        if not value:
            raise Refused(Reason.SIGNATURE_MISSING)
        words = [each for each in value.split(" ") if each]
        if self.word:
            if len(words) != 2 or words[0].lower() != self.word.lower():
                raise Refused(Reason.SECRET_INVALID)
            words = words[1:]
        if len(words) != 1:
            raise Refused(Reason.SECRET_INVALID)
        return self._same(words[0], terms)

    def sign(self, body: bytes, signing: Signing) -> SignedRequest:
        """The request with the secret in its header; it carries neither a time nor an id."""
        return _request(body, signing, self.header, f"{self.word} {signing.secret}".lstrip())

    def _same(self, text: str, terms: Terms) -> Secret:
        try:
            offered = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # a surrogate that stands for no byte
            raise Refused(Reason.SECRET_INVALID) from None
        return verify_static(offered, secrets=terms.secrets)


class Basic(Token, frozen=True, kw_only=True, tag="basic"):
    """HTTP's basic authentication (RFC 7617); the secret is `user:password`."""

    header: str = "authorization"
    word: str = "Basic"

    def key(self, text: str) -> bytes:
        """Both parts as they are; raises ValueError unless it is `user:password`."""
        user, colon, password = text.partition(":")
        if not (user and colon and password):
            raise ValueError("the secret must be `user:password`")
        return text.encode()

    def example_secret(self, name: str) -> str:
        """A user and a password."""
        return "trial:" + hashlib.sha256(name.encode()).hexdigest()

    def sign(self, body: bytes, signing: Signing) -> SignedRequest:
        """The request with both in its header."""
        credentials = base64.b64encode(signing.secret.encode()).decode()
        return _request(body, signing, self.header, f"Basic {credentials}")

    def _same(self, text: str, terms: Terms) -> Secret:
        try:
            offered = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(Reason.SECRET_INVALID) from None
        if base64.b64encode(offered).decode() != text:
            raise Refused(Reason.SECRET_INVALID)
        return verify_static(offered, secrets=terms.secrets)


def _request(body: bytes, signing: Signing, header: str, value: str) -> SignedRequest:
    headers = {"content-type": "application/json", **signing.headers}
    source = Source(body, options=signing.options, values={"message_id": signing.message_id})
    for target, template in signing.sends.items():
        place, text = expression_part(target), source.text(template)
        if place.kind == "header" and text is not None:
            headers.setdefault(place.name, text)
    headers[header] = value
    return SignedRequest({name.lower(): text for name, text in headers.items()}, body)
