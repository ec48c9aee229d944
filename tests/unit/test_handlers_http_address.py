"""Which addresses the forwarder may reach: public ones, unless more is allowed."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.handlers.http_address import AddressRefused, Guard, GuardedResolver
from support.receivers import Names

INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fe80::1%1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
    "192.0.1.1", "168.63.129.17", "223.255.255.255", "::ffff:8.8.8.8", "2606:4700:4700::1111",
    "2a00:1450:4001::1", "2001:4860:4860::8888", "2000::1",
]  # fmt: skip
NO_ADDRESS = ["", "localhost", "0x7f.1", "2130706433", "127.1", "8.8.8.8 ", "8.8.8.8/32", "a" * 99]

addresses = st.ip_addresses()
networks = st.builds(
    lambda address, bits: ipaddress.ip_network(
        f"{address}/{min(bits, address.max_prefixlen)}", strict=False
    ),
    addresses,
    st.integers(0, 128),
)


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_refused(address: str) -> None:
    """However it is spelt or wrapped."""
    assert not Guard(()).admits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_reached(address: str) -> None:
    """Close to the edges of what is refused too."""
    assert Guard(()).admits(address)


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Even where everything is allowed."""
    assert not Guard(("0.0.0.0/0", "::/0")).admits(text)


def test_an_allowed_network_is_reached_and_no_other() -> None:
    """By its own bounds; a mapped address is the IPv4 address that it is."""
    guard = Guard(("10.1.0.0/16", "fd00::/8", "127.0.0.1"))

    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "127.0.0.1", "8.8.8.8"):
        assert guard.admits(address)
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "fe80::1", "127.0.0.2"):
        assert not guard.admits(address)


@pytest.mark.parametrize(
    ("network", "outside", "inside"),
    [
        ("64:ff9b::/96", "64:ff9b::808:808", "64:ff9b::a00:1"),
        ("2002::/16", "2002:808:808::1", "2002:a00:1::1"),
    ],
)
def test_a_gateway_that_is_allowed_leads_to_public_addresses_only(
    network: str, outside: str, inside: str
) -> None:
    """An IPv6-only cluster reaches the world by NAT64, and its own insides no more for that."""
    assert Guard((network,)).admits(outside)
    assert not Guard((network,)).admits(inside)
    assert Guard((network, "10.0.0.0/8")).admits(inside)


@given(addresses)
def test_what_is_admitted_is_what_the_registries_call_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The standard library's own reading of them refuses nothing that is admitted here."""
    if Guard(()).admits(str(address)):
        judged = getattr(address, "ipv4_mapped", None) or address

        assert judged.is_global
        assert not judged.is_multicast


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_is(address: ipaddress.IPv4Address) -> None:
    """No spelling of it gets further than another."""
    guard = Guard(())

    assert guard.admits(str(address)) == guard.admits(f"::ffff:{address}")


@given(addresses, st.lists(networks, max_size=3), st.lists(networks, max_size=3))
def test_allowing_more_never_refuses_more(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    some: list[ipaddress.IPv4Network],
    more: list[ipaddress.IPv4Network],
) -> None:
    """And an address of an allowed network that carries no other is always reached."""
    fewer = Guard([str(each) for each in some])
    all_ = Guard([str(each) for each in some + more])

    assert all_.admits(str(address)) >= fewer.admits(str(address))
    if address.version == 4 and any(address in network for network in some):
        assert fewer.admits(str(address))


def test_a_socket_is_made_for_an_admitted_address() -> None:
    """Of the family and kind that was asked for."""
    guard = Guard(("127.0.0.0/8",))
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with guard.socket(info) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


def test_no_socket_is_made_for_another() -> None:
    """The error names it."""
    info = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2))
    with pytest.raises(AddressRefused, match=r"^fe80::1$"):
        Guard(()).socket(info)


async def test_a_resolver_gives_the_admitted_ones() -> None:
    """In the order they came in."""
    resolver = GuardedResolver(Names(["10.0.0.1", "8.8.8.8", "::1", "1.1.1.1"]), Guard(()))
    found = await resolver.resolve("shop.test", 443)

    assert [each["host"] for each in found] == ["8.8.8.8", "1.1.1.1"]
    assert {each["hostname"] for each in found} == {"shop.test"}


async def test_a_name_with_none_is_refused() -> None:
    """All of them are named: whoever reads it knows what to allow, or what to mend."""
    resolver = GuardedResolver(Names(["10.0.0.1", "::1"]), Guard(()))
    with pytest.raises(AddressRefused, match=r"^10\.0\.0\.1, ::1$"):
        await resolver.resolve("shop.test", 443)
