"""Ports for the servers of this machine: free, and not among those of outgoing connections."""

import socket
from pathlib import Path

import pytest

from hookmill.local import ports
from hookmill.local.ports import HOST, free_ports, port_is_free
from support.ports import free_port

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_a_port_with_a_listener_is_not_free() -> None:
    """A listening socket is seen, and no longer once it is closed."""
    with socket.create_server((HOST, free_port())) as listener:
        port = listener.getsockname()[1]

        assert not port_is_free(port)

    assert port_is_free(port)


@pytest.mark.skipif(not OUTGOING.exists(), reason="Linux says there what it gives away")
def test_no_outgoing_connection_takes_a_port_before_its_server_does() -> None:
    """The third broker's port was once that of the first one's connection to the second."""
    first, last = map(int, OUTGOING.read_text().split())

    found = free_ports(50)

    assert len(set(found)) == 50
    assert not [port for port in found if first <= port <= last]


def test_busy_ports_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What something listens on is not given away; that there are too few is said."""
    first = free_port()
    monkeypatch.setattr(ports, "FREE_PORTS", range(first, first + 3))
    with socket.create_server((HOST, first + 1)):
        assert sorted(free_ports(2)) == [first, first + 2]
        with pytest.raises(OSError, match=rf"no 3 ports of {HOST} are free"):
            free_ports(3)
