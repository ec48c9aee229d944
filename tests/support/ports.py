"""Ports for the servers of tests."""

import itertools
import random
import socket

STEP = 8
"""So far apart that a local broker of three nodes, which takes the next five too, fits between."""
BLOCKS = range(10_000, 32_768, STEP)
"""Below the ports of outgoing connections: one of those would keep a server from its port."""

_start = random.randrange(len(BLOCKS))
_blocks = itertools.cycle([*BLOCKS[_start:], *BLOCKS[:_start]])


def free_port() -> int:
    """A port on which nothing listens, and which this process has not been given before."""
    return next(port for port in itertools.islice(_blocks, len(BLOCKS)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
