"""Which addresses may be connected to: public ones, and networks that the configuration allows.

What is judged is the very address that a socket is made for, not the name it came from: a name
that answers otherwise when it is asked again (DNS rebinding) gains nothing.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 gives Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service, in a range that is public otherwise
        "169.254.0.0/16",  # link-local; 169.254.169.254 gives the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 gives Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and 255.255.255.255, broadcast
    )
)
"""Source: IANA, "IPv4 Special-Purpose Address Registry"."""

_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
"""Source: IANA, "IPv6 Global Unicast Address Assignments" (only 2000::/3 is assigned) and
"IPv6 Special-Purpose Address Registry"."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """None of a service's addresses may be connected to; the message names them."""

    def __init__(self, addresses: Iterable[str]) -> None:
        super().__init__(", ".join(addresses))


class Guard:
    """Says of an address whether it may be connected to. `allowed`: networks beside public ones."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = [ipaddress.ip_network(each, strict=False) for each in allowed]

    def admits(self, text: str) -> bool:
        """Judge an address as the resolver gives it; what is no address is refused."""
        try:
            return self._admits(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            return False

    def socket(self, info: AddrInfoType) -> socket.socket:
        """A socket to connect to that address and no other; raises AddressRefused."""
        family, kind, protocol, _, address = info
        if not self.admits(str(address[0])):
            raise AddressRefused([str(address[0])])
        return socket.socket(family, kind, protocol)

    def _admits(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return self._admits(address.ipv4_mapped)  # an IPv4 connection, spelt otherwise
        carried = _carried(address)
        if carried is not None and not self._admits(carried):
            return False
        return _is_public(address) or any(address in network for network in self._allowed)


class GuardedResolver(AbstractResolver):
    """Gives of a name's addresses those that may be connected to."""

    def __init__(self, resolver: AbstractResolver, guard: Guard) -> None:
        self._resolver = resolver
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses; raises AddressRefused if there are some and none may be used."""
        found = await self._resolver.resolve(host, port, family)
        admitted = [each for each in found if self._guard.admits(each["host"])]
        if found and not admitted:
            raise AddressRefused(each["host"] for each in found)
        return admitted

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a gateway would go on to (RFC 6052, RFC 3056), None for none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour
