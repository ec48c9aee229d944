"""Who is on the other end: the socket's address, or the right-most hop that is not ours."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The trusted proxies' networks; raises ValueError for text that is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def peer_address(socket: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address. `forwarded_for` are all X-Forwarded-For values, in order.

    The left part of that header is the client's to invent, so it is read from the right and only
    through proxies that are trusted.
    """
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    address = socket
    while hops and _is_trusted(address, trusted):
        hop = hops.pop()
        if _parsed(hop) is None:
            break
        address = hop
    return address


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # The zone of an IPv6 address (`fe80::1%…`) is any text at all.
    return None if getattr(parsed, "scope_id", None) else parsed
