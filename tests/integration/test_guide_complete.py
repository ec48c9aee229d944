"""docs/guides/complete-a-notification.md, run: its handler, its pack and its configuration."""

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from hookmill.config import options
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import Refused
from hookmill.core.event import Event, Links, ProviderEvent, Raw
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.providers.endpoint import build
from hookmill.providers.pack import Draft
from hookmill.providers.registry import PACKS, own_pack

GUIDE = (Path(__file__).parents[2] / "docs/guides/complete-a-notification.md").read_text()
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ hookmill (.+)$", re.MULTILINE)
PAYMENT = {
    "resource": "payment", "id": "tr_5B8cwPMGnU", "mode": "test", "status": "paid",
    "amount": {"value": "10.00", "currency": "EUR"}, "metadata": {"order": "77"},
}  # fmt: skip
SECRET = "a secret between our handler and our endpoint"
KEY = "live_key"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Everything that the guide writes."""
    for name, text in BLOCK.findall(GUIDE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


class Sides:
    """Mollie's API and hookmill's endpoint on this machine, the endpoint with the guide's pack."""

    def __init__(self, folder: Path) -> None:
        packs = {"completed": own_pack(folder / "packs" / "completed.toml")}
        self.endpoint = build("completed", options.Endpoint(provider="completed"), packs)
        self.status = 200
        self.endpoint_status = 200
        self.payment: dict[str, Any] = PAYMENT
        self.slow_secs = 0.0
        self.asked: list[tuple[str, str]] = []
        self.events: list[tuple[str, Draft]] = []

    async def tell(self, request: web.Request) -> web.Response:
        """GET /v2/payments/{id}."""
        self.asked.append((request.path, request.headers["authorization"]))
        await asyncio.sleep(self.slow_secs)
        return web.json_response(self.payment, status=self.status)

    async def take(self, request: web.Request) -> web.Response:
        """POST /webhooks/mollie-completed, verified and read as the chain does."""
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        delivery = Delivery(headers, await request.read(), 0)
        pack = self.endpoint.pack
        try:
            pack.verify(delivery, self.endpoint.terms([Secret("main", pack.key(SECRET))]))
        except Refused:
            return web.Response(status=401)
        for item in pack.identify(delivery):
            self.events.append((item.event_id, pack.normalize(item.body, None)))
        return web.Response(status=self.endpoint_status)


@pytest.fixture
async def sides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sides]:
    """Both, and the environment that leads the handler to them."""
    found = Sides(folder)
    application = web.Application()
    application.router.add_get("/v2/payments/{id}", found.tell)
    application.router.add_post("/webhooks/mollie-completed", found.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setenv("MOLLIE_API", base)
    monkeypatch.setenv("MOLLIE_API_KEY", KEY)
    monkeypatch.setenv("COMPLETED_SECRET", SECRET)
    monkeypatch.setenv("COMPLETED_URL", f"{base}/webhooks/mollie-completed")
    yield found
    await runner.cleanup()


@pytest.fixture
def complete(folder: Path) -> Callable[..., Any]:
    """The guide's function, called with a notification of that object and a deadline."""
    spec = importlib.util.spec_from_file_location("guide_mollie", folder / "shop" / "mollie.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def call(subject: str | None = "tr_5B8cwPMGnU", deadline_secs: float = 20.0) -> Any:
        context = type("Context", (), {"deadline_secs": deadline_secs})()
        return await module.complete(notified(subject), context)

    return call


def notified(subject: str | None) -> Event:
    """The event that a call without content becomes."""
    return Event(
        id="hm_1", type="other.notified", kind="other", status="notified", endpoint="mollie",
        provider="mollie", mode="unknown", occurred_at=None,
        received_at="2026-11-23T09:00:00.000000Z", subject=subject, resource=None, amount=None,
        amount_paid=None, amount_refunded=None, discrepancy=None, links=Links(), failure=None,
        metadata={}, provider_event=ProviderEvent(), late=False, raw=Raw("webhooks-raw", 0, 0, ""),
    )  # fmt: skip


async def test_a_notification_becomes_a_whole_event(
    sides: Sides, complete: Callable[..., Any]
) -> None:
    """Asked with the key, posted with our signature: a payment with its amount and mode."""
    assert await complete() is None
    [(_, draft)] = sides.events

    assert sides.asked == [("/v2/payments/tr_5B8cwPMGnU", f"Bearer {KEY}")]
    assert (draft.kind, draft.status, draft.mode) == ("payment", "succeeded", "test")
    assert draft.amount is not None
    assert (draft.amount.minor, draft.amount.currency) == ("1000", "EUR")
    assert (draft.subject, draft.metadata) == ("tr_5B8cwPMGnU", {"order": "77"})


async def test_asking_twice_is_one_event_and_news_are_another(
    sides: Sides, complete: Callable[..., Any]
) -> None:
    """So the handler may run as often as it likes."""
    sides.payment = {**PAYMENT, "status": "open"}
    await complete()
    await complete()
    sides.payment = PAYMENT
    await complete()
    ids = [event_id for event_id, _ in sides.events]

    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("status", "endpoint_status", "answer"),
    [
        (404, 200, DeadLetter), (500, 200, Retry), (401, 200, Retry), (302, 200, Retry),
        (200, 503, Retry), (200, 401, Retry),
    ],
)  # fmt: skip
async def test_what_fails_is_tried_again_and_what_is_not_ours_is_set_aside(
    status: int, endpoint_status: int, answer: type, sides: Sides, complete: Callable[..., Any]
) -> None:
    """No answer of either side is taken for done."""
    sides.status, sides.endpoint_status = status, endpoint_status

    assert isinstance(await complete(), answer)


async def test_an_api_that_hangs_is_left_in_time(
    sides: Sides, complete: Callable[..., Any]
) -> None:
    """Before hookmill ends the attempt."""
    sides.slow_secs = 5.0

    assert await complete(deadline_secs=0.2) == Retry("unreachable")


@pytest.mark.parametrize("subject", [None, "", "ord_1", "../tr_1"])
async def test_only_payments_are_asked_for(
    subject: str | None, sides: Sides, complete: Callable[..., Any]
) -> None:
    """Whatever id somebody names."""
    assert isinstance(await complete(subject), DeadLetter)
    assert sides.asked == []


async def test_an_id_cannot_lead_elsewhere(sides: Sides, complete: Callable[..., Any]) -> None:
    """It is one part of the path."""
    await complete("tr_1?x=/../../secrets")

    assert [path for path, _ in sides.asked] == ["/v2/payments/tr_1?x=/../../secrets"]


def hookmill(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The program in the guide's folder, with the guide's secrets alone."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HOOKMILL_")}
    secrets = {"MOLLIE_CALLER": "mollie:a-long-password", "COMPLETED_SECRET": SECRET}
    return subprocess.run(
        [sys.executable, "-m", "hookmill", *words], cwd=folder, env={**environ, **secrets},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_kit_has_nothing_against_the_pack(folder: Path) -> None:
    """The guide's own command."""
    [command] = COMMAND.findall(GUIDE)
    done = hookmill(folder, *command.split())

    assert (done.returncode, "0 problems" in done.stdout) == (0, True), done.stdout


@pytest.mark.skipif("mollie" not in PACKS, reason="the guide configures Mollie's own pack")
def test_the_configuration_is_good(folder: Path) -> None:
    """Endpoints, handlers (the guide's is imported) and routes."""
    done = hookmill(folder, "config", "check")

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("mollie" not in PACKS, reason="the guide configures Mollie's own pack")
def test_the_call_becomes_what_the_handler_is_routed_for() -> None:
    """`other.notified`, with the payment's id as its subject."""
    pack = PACKS["mollie"]
    chosen = build("m", options.Endpoint(provider="mollie", options={"variant": "classic"})).options
    [item] = pack.identify(Delivery((), b"id=tr_5B8cwPMGnU", 0), chosen)
    draft = pack.normalize(item.body, chosen)

    assert (draft.kind, draft.status, draft.subject) == ("other", "notified", "tr_5B8cwPMGnU")
    assert json.dumps(pack.fetch).startswith('"GET https://api.mollie.com/v2/payments/')
