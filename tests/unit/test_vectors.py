"""Signature vectors, most of them published by providers' own libraries, pass through our code."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Refused
from hookmill.providers.keys import signing_key, verify_hmac
from hookmill.providers.pack import Terms
from hookmill.providers.pay3 import Pay3
from hookmill.providers.registry import PACKS

VECTORS: dict[str, dict[str, Any]] = {
    each["name"]: each
    for each in json.loads((Path(__file__).parents[1] / "fixtures" / "vectors.json").read_bytes())
}


def keyed(vector: dict[str, Any]) -> bytes:
    """The key as that provider derives it from what it hands out."""
    if "key_hex" in vector:
        return bytes.fromhex(vector["key_hex"])
    text = vector["key_text"]
    if vector["name"] == "braintree-challenge":
        return hashlib.sha1(text.encode()).digest()
    return text.encode() if vector["name"].startswith("stripe") else signing_key(text)


def message(vector: dict[str, Any]) -> bytes:
    """The signed bytes."""
    match vector["name"]:
        case "square-test-notification":
            return (vector["notification_url"] + vector["body"]).encode()
        case "razorpay-payment-authorized":
            return base64.b64decode(vector["body_b64"])
        case "stripe-sdk-inputs":
            return b"12345." + vector["body"].encode()
        case "yoco-payment-succeeded-computed":
            headers = vector["headers"]
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{vector['body']}"
            return signed.encode()
        case _:
            return str(vector["signed"]).encode()


def digest(vector: dict[str, Any]) -> bytes:
    """The published signature, decoded."""
    text = vector["expect"].rpartition("|")[2]
    return base64.b64decode(text) if "base64" in vector["alg"] else bytes.fromhex(text)


@pytest.mark.parametrize(
    "name", sorted(name for name, each in VECTORS.items() if each["alg"].startswith("hmac"))
)
def test_an_hmac_vector_verifies_and_its_neighbour_does_not(name: str) -> None:
    """The right key takes it; one altered byte of the message is refused."""
    vector = VECTORS[name]
    algorithm = vector["alg"].split("-")[1]
    secret = Secret("vector", keyed(vector))
    signed, signature = message(vector), digest(vector)

    assert secret == verify_hmac(
        signed, candidates=[signature], secrets=[secret], algorithm=algorithm
    )
    with pytest.raises(Refused):
        verify_hmac(signed + b" ", candidates=[signature], secrets=[secret], algorithm=algorithm)


@pytest.mark.parametrize("name", ["standard-webhooks-sign", "yoco-payment-succeeded-computed"])
def test_a_standard_webhooks_vector_passes_the_pack(name: str) -> None:
    """As a delivery, at the time when it was signed."""
    vector = VECTORS[name]
    at_us = int(vector["headers"]["webhook-timestamp"]) * 1_000_000
    secret = Secret("vector", signing_key(vector["key_text"]))
    delivery = Delivery(tuple(vector["headers"].items()), vector["body"].encode(), at_us)

    assert PACKS["yoco"].verify(delivery, Terms(secrets=[secret], tolerance_secs=180)) == secret


@pytest.mark.parametrize("name", ["jwt.io-hs384", "pay3-flat-computed"])
def test_a_token_vector_passes_the_pack(name: str) -> None:
    """In Pay3's envelope."""
    vector = VECTORS[name]
    body = json.dumps({"payload": vector["jwt"]}).encode()
    secret = Secret("vector", vector["key_text"].encode())

    assert Pay3().verify(Delivery((), body, 0), Terms(secrets=[secret])) == secret
