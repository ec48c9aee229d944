"""Connections are taken in by uvloop, as in the process, a few at each turn of its loop."""

import asyncio
import socket
from contextlib import ExitStack
from unittest.mock import Mock

import uvloop

from hookmill.config.options import Ingress as Options
from hookmill.ingress.protocol import Server
from hookmill.ingress.server import Ingress
from hookmill.pipeline import Names

CROWD = 200


async def turns_for(crowd: int) -> int:
    """How many turns of the loop it takes until all of them are in."""
    ingress = Ingress(Options(), {}, Mock(), names=Names(""), now_us=lambda: 0)
    server = Server(ingress, Options())
    listening = await server.listen("127.0.0.1", 0)
    address = listening[0].sockets[0].getsockname()
    turns = 0
    with ExitStack() as connected:
        for _ in range(crowd):
            connected.enter_context(socket.create_connection(address))
        async with asyncio.timeout(10):
            while len(server.connections) < crowd:
                turns += 1
                await asyncio.sleep(0)
    assert {each.sockets[0].getsockname() for each in listening} == {address}
    for each in listening:
        each.close()
    async with asyncio.timeout(10):
        while server.connections:
            await asyncio.sleep(0)
    return turns


def test_a_crowd_that_connects_at_once_is_taken_in_in_few_turns() -> None:
    """Each turn of a loaded loop is long: one connection a turn would make the last wait."""
    assert uvloop.run(turns_for(CROWD)) < CROWD / 2
