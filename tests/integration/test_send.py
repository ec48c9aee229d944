"""`hookmill send` against a receiver here: it verifies what comes, and fails at times."""

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from hookmill.cli import send
from hookmill.cli.setup import load_setup
from hookmill.core.delivery import Delivery, Secret
from hookmill.core.errors import ConfigurationError, Refused
from hookmill.local.simulated import Plan
from hookmill.local.simulator import Target

FIRST = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="
SECOND = "whsec_bmV4dC1uZXh0LW5leHQtbmV4dC1uZXh0LW5leHQ="
CONFIG = """
[endpoints.shop]
provider = "yoco"
secrets = [{ name = "old", env = "T_OLD" }, { name = "new", file = "new" }]
"""


class Receiver:
    """Verifies as the ingress does; refuses the first `failures` requests with 503."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.failures = 0
        self.seen: list[tuple[str, str, float]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """204 to what one of two secrets signed."""
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        delivery = Delivery(headers, await request.read(), time.time_ns() // 1000)
        pack = self.target.pack
        secrets = [Secret(name, pack.key(text)) for name, text in (("old", FIRST), ("new", SECOND))]
        terms = load_setup(None).endpoints["shop"].terms(secrets)
        try:
            by = pack.verify(delivery, terms).name
        except Refused:
            by = "nobody"
        self.seen.append((by, request.headers["webhook-id"], time.monotonic()))
        if len(self.seen) <= self.failures:
            return web.Response(status=503)
        return web.Response(status=204 if by != "nobody" else 401)


@pytest.fixture
async def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """On this machine, with an endpoint of Yoco's that has two secrets."""
    for name in [each for each in os.environ if each.upper().startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T_OLD", FIRST)
    (tmp_path / "new").write_text(SECOND + "\n")
    (tmp_path / "hookmill.toml").write_text(CONFIG)
    found = Receiver(send.target(load_setup(None), "yoco", None, "http://127.0.0.1/"))
    application = web.Application()
    application.router.add_post("/hook", found.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    found.target = send.target(load_setup(None), "yoco", None, url)
    yield found
    await runner.cleanup()


async def test_a_failure_is_redelivered_by_the_schedule(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """5 s and 5 min in a ten-thousandth of the time, the same event, until it is taken."""
    receiver.failures = 2
    plan = Plan(count=1)
    good = await send.run(receiver.target, plan, None, time_scale=0.001, as_json=True)
    told = json.loads(capsys.readouterr().out)
    (_, first, at), (_, second, then), (_, third, last) = receiver.seen

    assert good
    assert first == second == third
    assert then - at >= 0.005
    assert last - then >= 0.3
    assert (told["attempts"], told["status"], told["kind"]) == (3, 204, "genuine")


async def test_rotation_in_the_middle(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second half is signed with the second secret; a receiver that has both takes all."""
    second = send.secret_text(load_setup(None), "shop", "new")
    plan = Plan(count=8, rotate_after=4, rate=1000.0)
    good = await send.run(receiver.target, plan, second, time_scale=0.001, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert good
    assert sorted(by for by, _, _ in receiver.seen) == ["new"] * 4 + ["old"] * 4
    assert sum(each["rotated"] for each in told) == 4


async def test_forgeries_are_expected_to_be_refused(receiver: Receiver) -> None:
    """They are no failure of the receiver's."""
    plan = Plan(count=20, forged=0.5, rate=1000.0, burst=20)

    assert await send.run(receiver.target, plan, None, time_scale=0.0001, as_json=False)
    assert {by for by, _, _ in receiver.seen} == {"old", "nobody"}


async def test_a_receiver_that_never_takes_it_fails_the_command(receiver: Receiver) -> None:
    """After as many attempts as the provider makes."""
    receiver.failures = 100
    done = await send.run(receiver.target, Plan(count=1), None, time_scale=0.0, as_json=False)

    assert not done
    assert len(receiver.seen) == 8


async def test_a_secret_that_cannot_sign_is_told_before_anything_is_sent(
    receiver: Receiver,
) -> None:
    """Such as a public key in a rotation."""
    with pytest.raises(ConfigurationError, match="Yoco cannot be simulated"):
        await send.run(receiver.target, Plan(count=2), "whsec_?", time_scale=1.0, as_json=False)
    assert receiver.seen == []


def test_a_secret_is_named_by_its_place(receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
                                        tmp_path: Path) -> None:  # fmt: skip
    """By the endpoint's name for it, by a variable, by a file; others are told."""
    setup = load_setup(None)
    monkeypatch.setenv("T_OTHER", "other")

    assert send.secret_text(setup, "shop", "old") == FIRST
    assert send.secret_text(setup, "shop", "new") == SECOND
    assert send.secret_text(setup, "shop", "env:T_OTHER") == "other"
    assert send.secret_text(setup, "shop", f"file:{tmp_path / 'new'}") == SECOND
    with pytest.raises(ConfigurationError, match="no secret 'nwe'; it has: old, new"):
        send.secret_text(setup, "shop", "nwe")
    with pytest.raises(ConfigurationError, match="T_GONE is not set"):
        send.secret_text(setup, "shop", "env:T_GONE")
