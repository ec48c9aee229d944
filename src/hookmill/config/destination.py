"""What the address of a service must look like, so that nothing about it is left to guess."""

import ipaddress
import re

from yarl import URL

_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
HOST_CHARS_MAX = 253


def url_problem(text: str | None, *, plain_http: bool) -> str | None:
    """What is wrong with the address of a service, None for a good one."""
    if not text:
        return 'the address of the service is needed: url = "https://…"'
    if not _PRINTABLE.fullmatch(text):
        return "write it in plain ASCII without spaces (a name as xn--…, the rest as %…)"
    try:
        url = URL(text)
    except ValueError:  # its words may quote a password that stands in the wrong place
        return "it is no address of a service, such as https://shop.example.com:8443/events"
    if url.scheme not in ("https", "http"):
        return f"it begins with '{text.partition(':')[0]}:'; a service is reached by https://"
    if url.scheme == "http" and not plain_http:
        return "events would travel readable; use https://, or set allow_plain_http = true"
    if url.raw_user is not None or url.raw_password is not None:
        return "no user or password in it: the signature says who sends"
    if url.raw_fragment:
        return "what follows # is never sent; remove it"
    if not url.port:
        return "port 0 is none"
    return host_problem(url.raw_host or "")


def host_problem(host: str) -> str | None:
    """What is wrong with a host, None for a DNS name or an address in its one usual spelling.

    0x7f.1, 2130706433, 0177.0.0.1 and 127.0.0.1. are all 127.0.0.1 to some parsers: refused here
    (source: WHATWG URL Standard, "ends in a number checker").
    """
    if is_address(host):
        return None
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return f"'{host}' is an odd spelling of an address; write it as 192.0.2.1"
    if len(host) > HOST_CHARS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return (
            f"'{host}' is neither a name nor an address (an IPv6 one has no zone and stands in [])"
        )
    return None


def is_address(host: str) -> bool:
    """Whether it is an IP address, without a zone, in its usual spelling."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
