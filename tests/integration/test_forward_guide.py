"""docs/guides/forward-by-http.md does what it says: its blocks are run as they stand."""

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hookmill.config.load import load
from hookmill.core.money import Money
from hookmill.core.outcome import Retry
from hookmill.handlers import breaker, http, http_answer, signing
from hookmill.handlers.registry import make
from support.brokers import until
from support.ports import free_port
from support.receivers import SECRET, context, event, now_us

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/forward-by-http.md").read_text()
ENVIRON = {"SHOP_SECRET": SECRET, "SHOP_SECRET_NEW": SECRET}


def blocks(language: str) -> list[str]:
    """The guide's blocks of that language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found
    return found


def made(text: str, folder: Path) -> Any:
    """The handler `shop` of a configuration."""
    file = folder / "hookmill.toml"
    file.write_text(text)
    options = load(file, {}).handlers["shop"]
    return make(options, name="shop", local_dir=folder, environ=ENVIRON, now_us=now_us)


class Receiver:
    """The guide's receiver as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self.db = free_port(), folder / "shop.db"
        script = folder / "receiver.py"
        script.write_text(blocks("python")[0])
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.port), str(self.db)],
            env={**os.environ, **ENVIRON},
            stderr=subprocess.DEVNULL,
        )

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        """Post by hand; returns the status."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def answers(self) -> bool:
        """Whether it serves yet."""
        try:
            self.post(b"{}", {})
        except OSError:
            return False
        return True

    def paid(self) -> list[Any]:
        """What it has booked."""
        db = sqlite3.connect(self.db)
        try:
            return db.execute("SELECT * FROM paid").fetchall()
        finally:
            db.close()


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    """The guide's receiver, serving."""
    running = Receiver(tmp_path)
    try:
        await until(lambda: asyncio.to_thread(running.answers), timeout_secs=20)
        yield running
    finally:
        running.process.kill()
        running.process.wait()


async def test_the_guides_configuration_and_receiver_work_together(
    receiver: Receiver, tmp_path: Path
) -> None:
    """An event that comes twice is booked once."""
    handler = made(blocks("toml")[1].replace(":8000", f":{receiver.port}"), tmp_path)
    await handler.start()
    paid = event(amount=Money("900", "ZAR", 2))
    answers = [await handler.handle(paid, context()) for _ in range(2)]
    others = [event(number, type="payment.failed") for number in range(2, 30)]
    answers += await asyncio.gather(*(handler.handle(each, context()) for each in others))
    await handler.close()

    assert answers == [None] * 30
    assert receiver.paid() == [("p_1", "900", "ZAR")]


async def test_the_guides_receiver_refuses_what_is_not_signed(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Whoever posts to it must know the secret; what is too large is not read."""
    headers = {"webhook-id": "hm_1", "webhook-timestamp": "1", "webhook-signature": "v1,AA=="}
    body = json.dumps({"id": "hm_1"}).encode()

    assert await asyncio.to_thread(receiver.post, body, headers) == 401
    other = made(blocks("toml")[1].replace(":8000", f":{receiver.port}"), tmp_path)
    other._to = msgspec.structs.replace(other._to, keys=lambda: [b"o" * 32])
    await other.start()
    assert await other.handle(event(), context()) == Retry("http_401")
    await other.close()
    assert receiver.paid() == []


def test_the_guides_production_configuration_is_good(tmp_path: Path) -> None:
    """As it stands, secret and all; so is the line with two secrets, and each line of networks."""
    first = blocks("toml")[0]
    made(first, tmp_path)
    (rotated,) = re.findall(r"`(secrets = \[.*?\])`", GUIDE)
    made(re.sub(r"^secrets = .*$", rotated, first, flags=re.MULTILINE), tmp_path)
    for line in re.findall(r"allow_networks = \[.*?\]", blocks("toml")[2]):
        made(first.replace('type = "http"', f'type = "http"\n{line}'), tmp_path)


def test_the_guides_limits_are_the_codes() -> None:
    """Figures in prose go stale."""
    said = {
        f"at most {http.ANSWER_BYTES_MAX // 1024} KiB",
        f"at most {http.DEADLINE_SHARE:.0%} of `timeout_secs`",
        f"at most {http.CONNECT_SECS_MAX:.0f} s of it",
        f"After {breaker.FAILURES_TO_OPEN} requests in a row",
        f"at most {breaker.PAUSE_SECS_MAX:.0f} s, or",
        f"base64 of {signing.KEY_BYTES_MIN} to {signing.KEY_BYTES_MAX} bytes",
    }
    text = " ".join(GUIDE.split())

    assert [each for each in said if each not in text] == []
    assert (breaker.PAUSE_SECS_FIRST, http.ANSWER_SECS_MAX) == (1, 1)
    assert http_answer.RETRY_AFTER_SECS_MAX == 3600
