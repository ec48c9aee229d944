"""Secrets as keys: every live one is tried, none is ever guessed."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.delivery import Secret
from hookmill.core.errors import Reason, Refused
from hookmill.providers.keys import signing_key, verify_hmac, verify_static

NEW, OLD = Secret("2026-11", b"new key"), Secret("2026-05", b"old key")


def mac(key: bytes, message: bytes = b"message", algorithm: str = "sha256") -> bytes:
    """A signature as the provider makes it."""
    return hmac.new(key, message, algorithm).digest()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("plain", b"plain"),
        ("schlüssel", b"schl\xc3\xbcssel"),
        ("a2V5", b"a2V5"),
        (" padded ", b" padded "),
        ("whsec_a2V5IQ==", b"key!"),
        ("whsec_a2V5IQ", b"key!"),
        ("whsec_/+8=", b"\xff\xef"),
        ("WHSEC_a2V5IQ==", b"WHSEC_a2V5IQ=="),
    ],
)
def test_a_secret_is_its_text_unless_it_says_base64(text: str, key: bytes) -> None:
    """Only `whsec_` means base64; nothing is trimmed or guessed."""
    assert key == signing_key(text)


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_=", "whsec_a", "whsec_a2V5IQ-_", "whsec_a2 V5", "whsec_ä"]
)
def test_a_secret_that_is_no_key_is_refused(text: str) -> None:
    """No key is an error when starting, never an endpoint that takes everything."""
    with pytest.raises(ValueError, match=r"secret is empty|must be base64"):
        signing_key(text)


def test_the_error_does_not_show_the_secret() -> None:
    """It is printed when starting."""
    with pytest.raises(ValueError) as refused:
        signing_key("whsec_topsecret-")

    assert "topsecret" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.binary(min_size=1, max_size=40))
def test_every_key_has_its_whsec_text(key: bytes) -> None:
    """With or without padding."""
    text = "whsec_" + base64.b64encode(key).decode()

    assert key == signing_key(text)
    assert key == signing_key(text.rstrip("="))


@pytest.mark.parametrize(
    ("signer", "name"), [(NEW, "2026-11"), (OLD, "2026-05")], ids=["new", "old"]
)
def test_any_live_secret_may_have_signed(signer: Secret, name: str) -> None:
    """So a rotation needs no deploy; the name of the one that matched is the evidence."""
    found = verify_hmac(
        b"message", candidates=[mac(signer.key)], secrets=[NEW, OLD], algorithm="sha256"
    )

    assert name == found.name


def test_the_first_of_two_equal_secrets_is_named() -> None:
    """The evidence does not depend on how many fit."""
    twin = Secret("twin", NEW.key)

    assert verify_static(NEW.key, secrets=[NEW, twin]).name == "2026-11"
    found = verify_hmac(
        b"message", candidates=[mac(NEW.key)], secrets=[NEW, twin], algorithm="sha256"
    )
    assert found.name == "2026-11"


def test_one_good_signature_among_several_is_enough() -> None:
    """A provider that rotates signs with both of its keys."""
    candidates = [b"", b"short", mac(b"another"), mac(OLD.key)]

    assert (
        verify_hmac(b"message", candidates=candidates, secrets=[NEW, OLD], algorithm="sha256")
        == OLD
    )


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_the_algorithm_is_the_one_asked_for(algorithm: str) -> None:
    """A right MAC of another hash proves nothing."""
    good = mac(NEW.key, algorithm=algorithm)
    other = mac(NEW.key, algorithm="sha1")

    assert verify_hmac(b"message", candidates=[good], secrets=[NEW], algorithm=algorithm) == NEW
    with pytest.raises(Refused):
        verify_hmac(b"message", candidates=[other], secrets=[NEW], algorithm=algorithm)


@pytest.mark.parametrize(
    ("candidates", "secrets"),
    [
        pytest.param([], [NEW, OLD], id="no signature"),
        pytest.param([b""], [NEW, OLD], id="an empty signature"),
        pytest.param([mac(b"forger")], [NEW, OLD], id="another key"),
        pytest.param([mac(NEW.key, b"other")], [NEW, OLD], id="another message"),
        pytest.param([mac(NEW.key)[:-1]], [NEW, OLD], id="cut short"),
        pytest.param([mac(NEW.key).hex().encode()], [NEW, OLD], id="not decoded"),
        pytest.param([mac(NEW.key)], [OLD], id="retired secret"),
        pytest.param([mac(NEW.key)], [], id="no secret"),
    ],
)
def test_anything_else_is_signature_invalid(candidates: list[bytes], secrets: list[Secret]) -> None:
    """One word for all of it: it never says which part was wrong."""
    with pytest.raises(Refused) as refused:
        verify_hmac(b"message", candidates=candidates, secrets=secrets, algorithm="sha256")

    assert refused.value.reason is Reason.SIGNATURE_INVALID
    assert str(refused.value) == "signature_invalid"


def test_every_secret_is_tried_against_every_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time taken does not tell which of them fitted."""
    compared: list[int] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(1)
        return a == b

    monkeypatch.setattr("hookmill.providers.keys.hmac.compare_digest", compare)
    good = mac(NEW.key)
    verify_hmac(b"message", candidates=[good, b"x"], secrets=[NEW, OLD], algorithm="sha256")

    assert len(compared) == 4


@pytest.mark.parametrize("live", [NEW, OLD], ids=["new", "old"])
def test_a_static_secret_is_one_of_the_live_ones(live: Secret) -> None:
    """What is offered must be the secret itself, whole."""
    assert live == verify_static(live.key, secrets=[NEW, OLD])


@pytest.mark.parametrize(
    "offered",
    [b"", b"new", b"new key ", b"NEW KEY", hashlib.sha256(b"new key").digest(), b"forger"],
)
def test_any_other_static_secret_is_secret_invalid(offered: bytes) -> None:
    """No beginning of it, no hash of it, no other case."""
    with pytest.raises(Refused) as refused:
        verify_static(offered, secrets=[NEW, OLD])

    assert refused.value.reason is Reason.SECRET_INVALID


def test_no_static_secret_accepts_nothing() -> None:
    """An empty list is not a wildcard."""
    with pytest.raises(Refused):
        verify_static(b"", secrets=[])


def test_a_secret_does_not_show_its_key() -> None:
    """Not in a log, not in a traceback."""
    assert repr(NEW) == "Secret(name='2026-11', key=…)"
    assert "new key" not in f"{NEW} {[NEW]}"
