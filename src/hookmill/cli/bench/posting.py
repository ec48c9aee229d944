"""The traffic of benchmarks: signed deliveries of the seed providers, posted on a schedule."""

import asyncio
import sys

import msgspec

from hookmill.bench import open_loop
from hookmill.bench.open_loop import Posted
from hookmill.cli.bench.bed import Bed
from hookmill.cli.sample import CALLED, targets
from hookmill.cli.setup import now_us
from hookmill.core.errors import HookmillError
from hookmill.local.simulated import Plan, steps
from hookmill.local.simulator import Target, addressed, signed, stories_of
from hookmill.providers.pack import SignedRequest

LOAD_SECS_MORE = 60.0


def requests_of(ground: Bed, count: int, rate: float, seed: int) -> list[bytes]:
    """Deliveries of the seed providers in turn, no event twice, each signed for when it is due."""
    at_us = now_us()
    doors = {name: each for name, each in targets(ground.setup, ground.url).items()
             if name in CALLED.values()}  # fmt: skip
    each_count = -(-count // len(doors))
    told = [
        [(target, step) for step in
         steps(stories_of(target.pack), Plan(count=each_count, seed=seed), at_us)]
        for target in doors.values()
    ]  # fmt: skip
    in_turn = [pair for together in zip(*told, strict=True) for pair in together][:count]
    return [
        _request(target, signed(target, step, at_us=at_us + int(number / rate * 1e6)))
        for number, (target, step) in enumerate(in_turn)
    ]


def _request(target: Target, request: SignedRequest) -> bytes:
    url = addressed(target.url, request)
    return open_loop.request_bytes(
        f"{url.host}:{url.port}", url.raw_path_qs, list(request.headers.items()), request.body
    )


async def post(ground: Bed, rate: float, requests: list[bytes]) -> list[Posted]:
    """Let the loader do it, a process of its own."""
    work, answers = ground.folder / "work", ground.folder / "answers"
    port = ground.setup.config.ingress.port
    work.write_bytes(msgspec.msgpack.encode(open_loop.Work("127.0.0.1", port, rate, requests)))
    command = [sys.executable, "-m", "hookmill.bench.open_loop", str(work), str(answers)]
    loader = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        status = await asyncio.wait_for(loader.wait(), len(requests) / rate + LOAD_SECS_MORE)
    finally:
        if loader.returncode is None:
            loader.kill()
            await loader.wait()
    if status:
        raise HookmillError(f"the loader ended with status {status}")
    return msgspec.msgpack.decode(answers.read_bytes(), type=list[Posted])
