"""The peer's address: the socket's, or what a trusted proxy says, read from the right."""

from collections.abc import Sequence

import pytest

from hookmill.ingress.peer import networks, peer_address

TRUSTED = networks(["10.0.0.0/8", "2001:db8::/32"])
PROXY, CLIENT = "10.0.0.1", "203.0.113.7"


@pytest.mark.parametrize(
    ("socket", "forwarded_for", "peer"),
    [
        pytest.param(CLIENT, [], CLIENT, id="no proxy"),
        pytest.param(CLIENT, ["198.51.100.1"], CLIENT, id="a client that invents a hop"),
        pytest.param(PROXY, [], PROXY, id="a proxy that says nothing"),
        pytest.param(PROXY, [CLIENT], CLIENT, id="one proxy"),
        pytest.param(PROXY, [f"{CLIENT}, 10.0.0.2"], CLIENT, id="two proxies"),
        pytest.param(PROXY, [CLIENT, "10.0.0.2"], CLIENT, id="two headers"),
        pytest.param(PROXY, [f"1.1.1.1, {CLIENT}"], CLIENT, id="an invented hop on the left"),
        pytest.param(PROXY, [f"10.0.0.9, {CLIENT}"], CLIENT, id="an invented proxy on the left"),
        pytest.param(PROXY, ["1.1.1.1", f"10.0.0.9 , {CLIENT} "], CLIENT, id="spaces"),
        pytest.param(PROXY, ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="a client among the proxies"),
        pytest.param(PROXY, ["unknown"], PROXY, id="no address"),
        pytest.param(PROXY, [""], PROXY, id="an empty header"),
        pytest.param(PROXY, [f"{CLIENT}, , 10.0.0.2"], "10.0.0.2", id="an empty hop"),
        pytest.param(PROXY, [f"1.1.1.1, {CLIENT}:4711"], PROXY, id="a port"),
        pytest.param("2001:db8::1", ["2a00::7"], "2a00::7", id="IPv6"),
        pytest.param("unknown", [CLIENT], "unknown", id="no socket"),
    ],
)
def test_the_peer_is_the_right_most_hop_that_is_not_ours(
    socket: str, forwarded_for: Sequence[str], peer: str
) -> None:
    """The left part of the header is the client's to invent."""
    assert peer == peer_address(socket, forwarded_for, TRUSTED)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    """Not even the machine itself."""
    assert peer_address("127.0.0.1", [CLIENT], networks([])) == "127.0.0.1"


def test_the_peer_is_always_an_address() -> None:
    """No text of a client's ends in a log or a record."""
    invented = ["<script>", "127.0.0.1; rm -rf", "1.1.1", "\udcff", "a" * 10_000, "fe80::1%secret"]

    assert {peer_address(PROXY, [each], TRUSTED) for each in invented} == {PROXY}


def test_a_trusted_proxy_may_be_a_network_or_one_address() -> None:
    """Host bits are passed over, as operators write them."""
    trusted = networks(["10.1.2.3/8", "192.0.2.1"])

    assert peer_address("10.200.0.1", [CLIENT], trusted) == CLIENT
    assert peer_address("192.0.2.1", [CLIENT], trusted) == CLIENT
    assert peer_address("192.0.2.2", [CLIENT], trusted) == "192.0.2.2"


@pytest.mark.parametrize("text", ["", "proxy.internal", "10.0.0.0/33", "10.0.0"])
def test_a_network_that_is_none_is_an_error(text: str) -> None:
    """It is found when starting."""
    with pytest.raises(ValueError):
        networks([text])
