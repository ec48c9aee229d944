"""Signing by the Standard Webhooks rules, held against their own library."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from hookmill.handlers.signing import KEY_BYTES_MAX, KEY_BYTES_MIN, key_of, signed_headers

keys = st.binary(min_size=KEY_BYTES_MIN, max_size=KEY_BYTES_MAX)
values = st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5)


def secret(key: bytes) -> str:
    """The key as it is handed over."""
    return "whsec_" + base64.b64encode(key).decode()


@given(st.lists(keys, min_size=1, max_size=4, unique=True), keys, values)
def test_the_receivers_library_verifies_with_each_live_secret(
    live: list[bytes], stranger: bytes, value: object
) -> None:
    """And with no other."""
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = signed_headers(
        body, id="hm_1", at_secs=int(time.time()), keys=[key_of(secret(each)) for each in live]
    )

    for each in live:
        assert Webhook(secret(each)).verify(body, headers) == value
    if stranger not in live:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(stranger)).verify(body, headers)


def test_the_example_of_the_standards_authors_comes_out() -> None:
    """Source: https://docs.svix.com/receiving/verifying-payloads/how-manual, its id and time."""
    headers = signed_headers(
        b'{"test": 2432232314}',
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at_secs=1614265330,
        keys=[key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a-plain-text-of-more-than-24-characters", "it must be whsec_ and base64"),
        ("WHSEC_" + "A" * 44, "it must be whsec_ and base64"),
        ("whsec_not base64", "must be base64"),
        ("whsec_", "is empty"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "it holds 23 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "wants 24 to 64"),
        ("whpk_" + "A" * 44, "it must be whsec_ and base64"),
    ],
)
def test_what_a_receiver_could_not_use_is_refused(text: str, words: str) -> None:
    """Its library takes every secret for base64; the message never quotes the secret."""
    with pytest.raises(ValueError, match=words) as caught:
        key_of(text)

    assert text not in str(caught.value) or text == "whsec_"


def test_padding_may_be_left_out() -> None:
    """As everywhere else with whsec_ secrets."""
    assert key_of(secret(b"k" * 32).rstrip("=")) == b"k" * 32
