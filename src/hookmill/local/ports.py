"""Ports of this machine's loopback address that a server may listen on."""

import random
import socket

HOST = "127.0.0.1"
PORT_MAX = 65535
FREE_PORTS = range(10_000, 32_768)
"""Where `free_ports` looks: above what services are known by, below what systems give to
outgoing connections (Linux from 32768 up, net.ipv4.ip_local_port_range; macOS from 49152), so
that no connection sits on a port between its choice and its server's start, or while a server
that was killed is away."""


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
            candidate.listen()
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return that many ports on which nothing listens, all different, for servers to come.

    Raises OSError when there are no more.
    """
    found: list[int] = []
    for candidate in random.sample(FREE_PORTS, len(FREE_PORTS)):
        if len(found) == count:
            break
        if port_is_free(candidate):
            found.append(candidate)
    if len(found) < count:
        raise OSError(f"no {count} ports of {HOST} are free")
    return found
