"""The front door in a provider's own words: answers, handshakes, several items in one request."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from hookmill import pipeline
from hookmill.config import options
from hookmill.core.delivery import Delivery
from hookmill.core.errors import Reason, Refused
from hookmill.local.simulator import addressed
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.loading import declared
from hookmill.providers.pack import Answer, Pack, SignedRequest, Terms
from hookmill.providers.registry import PACKS
from hookmill.providers.schemes.template import form_values
from hookmill.stages import headers
from support.brokers import BrokerLog
from support.front import PARTITIONS, TOPICS, Front, now_us

pytestmark = pytest.mark.broker

FIXTURES = Path(__file__).parents[1] / "fixtures"

PACK = """
name = "particular"
title = "Particular"
verifies = "An HMAC of the body and of a parameter of the address."
sources = []
word = "/kind"
items = { path = "/batch/*", keep = ["/live"] }
accepted_answer = { body = "[accepted]" }
refusal_statuses = { signature_invalid = 498, signature_missing = 498 }
events = [{ word = "paid", becomes = "payment.succeeded" }]
sends = { "query:n" = "{=7 + 1}" }

[verification]
scheme = "hmac"
signed = "{query:n}.{body}"
signature = { header = "x-signature" }

[default]
event_id = "/id"
resource = "/id"
"""
BODY = b'{"live":"false","batch":[{"id":"a","kind":"paid"}, {"id":"b", "kind":"odd"}]}'


class Particular(DeclaredPack):
    """With a handshake: `?challenge=…` is answered, `?challenge=` is refused."""

    handshake_methods = frozenset({"GET"})

    def handshake(self, delivery: Delivery, method: str, terms: Terms) -> Answer | None:
        match form_values(delivery.query, "challenge"):
            case [""]:
                raise Refused(Reason.SIGNATURE_INVALID)
            case [text]:
                return Answer(body=f"{text}|{len(terms.secrets)}")
            case _:
                return None


@pytest.fixture
def pack() -> Pack:
    return Particular(declared(PACK, "particular.toml"))


@pytest.fixture
async def particular(broker_servers: list[str], namespace: str, pack: Pack) -> AsyncIterator[Front]:
    """An ingress with an endpoint of that provider."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS, partitions=PARTITIONS)
    front = Front(log, options.Ingress(body_timeout_secs=2.0), [pack])
    await front.start()
    yield front
    await front.stop()
    await log.stop()


def request(pack: Pack, body: bytes = BODY) -> SignedRequest:
    return pack.sign(
        body,
        secret=pack.example_secret("main"),
        message_id="m",
        at_us=now_us(),
        options=msgspec.convert(dict(pack.example_options), pack.options),
    )


async def test_the_answer_is_the_one_that_the_provider_demands(
    particular: Front, client: aiohttp.ClientSession, pack: Pack
) -> None:
    """Taken and refused alike; hookmill's own header comes along."""
    signed = request(pack)
    url = addressed(particular.url + "particular", signed)
    async with client.post(url, data=signed.body, headers=signed.headers) as good:
        assert (good.status, await good.read()) == (200, b"[accepted]")
        assert good.headers["content-type"] == "text/plain"
        assert good.headers["x-hookmill-delivery"]
    async with client.post(url, data=signed.body + b" ", headers=signed.headers) as bad:
        assert (bad.status, await bad.json()) == (498, {"error": "signature_invalid"})
    async with client.post(url, data=signed.body) as unsigned:
        assert unsigned.status == 498


async def test_the_address_is_verified_as_it_was_sent(
    particular: Front, client: aiohttp.ClientSession, pack: Pack
) -> None:
    """A parameter that is signed cannot be changed, and is decoded once."""
    signed = request(pack)

    assert signed.query == "n=7+%2B+1"
    for query, status in ((signed.query, 200), ("n=7%20%2B%201", 200), ("n=8", 498), ("", 498)):
        url = addressed(
            particular.url + "particular", SignedRequest(signed.headers, signed.body, query)
        )
        async with client.post(url, data=signed.body, headers=signed.headers) as answer:
            await answer.read()
            assert answer.status == status, query


async def test_several_items_are_kept_one_by_one(
    particular: Front, client: aiohttp.ClientSession, pack: Pack
) -> None:
    """Each with its own bytes and what it takes along of the envelope; the whole for audit."""
    signed = request(pack)
    url = addressed(particular.url + "particular", signed)
    async with client.post(url, data=signed.body, headers=signed.headers) as answer:
        await answer.read()
    records = {record.header(headers.EVENT_ID): record for record in await particular.kept()}
    [whole] = await particular.kept(pipeline.DELIVERIES)

    assert whole.value == BODY
    assert records["a"].value == b'{"batch":[{"id":"a","kind":"paid"}],"live":"false"}'
    assert records["b"].value == b'{"batch":[{"id":"b", "kind":"odd"}],"live":"false"}'
    assert records["b"].header(headers.ITEM) == "2/2"
    kept = json.loads(records["a"].header(headers.SIGNED) or "")
    assert set(kept) == {"x-signature", "?"}


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("?challenge=abc", 200, "abc|1"),
        ("?challenge=", 498, '{"error":"signature_invalid"}'),
        ("?other=1", 405, '{"error":"method_not_allowed"}'),
    ],
)
async def test_a_handshake_is_answered(
    particular: Front, client: aiohttp.ClientSession, query: str, status: int, body: str
) -> None:
    """Decided by the pack; nothing is kept of it."""
    async with client.get(f"{particular.url}particular{query}") as answer:
        assert (answer.status, await answer.text()) == (status, body)
        if status == 405:
            assert answer.headers["allow"] == "GET, POST"

    assert await particular.kept() == []


@pytest.mark.parametrize("pack", [PACKS["braintree"]], ids=["braintree"])
async def test_a_webhook_of_braintree_is_opened_and_then_delivers(
    particular: Front, client: aiohttp.ClientSession, pack: Pack
) -> None:
    """The address is tried with a challenge; a form with a notification comes to the same."""
    url = particular.url + "braintree"
    async with client.get(f"{url}?bt_challenge={'0a' * 10}") as answer:
        public_key, _, mac = (await answer.text()).partition("|")
        assert (answer.status, public_key) == (200, pack.example_options["public_key"])
        assert len(bytes.fromhex(mac)) == 20
    body = (FIXTURES / "braintree" / "sdk_check.txt").read_bytes()
    taken = request(pack, body)
    async with client.post(url, data=taken.body, headers=taken.headers) as answer:
        await answer.read()
        assert answer.status == 200
    [record] = await particular.kept()

    assert record.value == taken.body


async def test_another_method_is_no_handshake(
    particular: Front, client: aiohttp.ClientSession
) -> None:
    """Only those that the pack names, and none where it names none."""
    async with client.put(f"{particular.url}particular?challenge=abc") as answer:
        await answer.read()
        assert answer.status == 405
    async with client.get(f"{particular.url}shop?challenge=abc") as answer:
        await answer.read()
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
