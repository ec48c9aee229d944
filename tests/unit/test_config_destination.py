"""Addresses of services: one spelling each, and nothing that is sent by accident."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from hookmill.config.destination import host_problem, is_address, url_problem


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/payment-events",
        "https://shop.example.com.:8443/a/b?c=d",
        "https://SHOP.example",
        "https://xn--mnchen-3ya.de/",
        "https://shop_events.svc.cluster.local/",
        "https://203.0.113.7/",
        "https://[2606:4700::1111]:8443/",
        "https://localhost/",
        "https://1password.com/",
        "https://a.0xy/",
    ],
)
def test_a_good_address_is_taken(url: str) -> None:
    """By name or by number; where it leads is judged when it is resolved."""
    assert url_problem(url, plain_http=False) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, 'is needed: url = "https://…"'),
        ("", "is needed"),
        ("shop.example/events", "a service is reached by https://"),
        ("ftp://shop.example/", "begins with 'ftp:'"),
        ("file:///etc/passwd", "begins with 'file:'"),
        ("http://shop.example/", "set allow_plain_http = true"),
        ("https://me:hunter2@shop.example/", "no user or password"),
        ("https://me@shop.example/", "no user or password"),
        ("https://shop.example/#part", "what follows # is never sent"),
        ("https:///events", "neither a name nor an address"),
        ("https://shop.example:0/", "port 0"),
        ("https://shop.example:99999/", "it is no address of a service"),
        ("https://[::1/", "it is no address of a service"),
        ("https://shop .example/", "plain ASCII"),
        ("https://shop.example/\nx", "plain ASCII"),
        ("https://münchen.de/", "plain ASCII"),
        ("https://\uff11\uff12\uff17.0.0.1/", "plain ASCII"),
        ("https://a..b/", "neither a name nor an address"),
        ("https://-a.example/", "neither a name nor an address"),
        ("https://a%2eb/", "neither a name nor an address"),
        ("https://*.example/", "neither a name nor an address"),
        (f"https://{'a' * 64}.example/", "neither a name nor an address"),
        (f"https://{'a.' * 130}example/", "neither a name nor an address"),
        ("https://[fe80::1%25eth0]/", "has no zone"),
        ("https://me:hunter2/", "it is no address of a service"),
    ],
)
def test_what_leaves_something_open_is_refused(url: str | None, words: str) -> None:
    """In words that say what would be right; never with what may be a password."""
    problem = url_problem(url, plain_http=False)

    assert problem is not None
    assert words in problem
    assert "hunter2" not in problem


def test_plain_http_is_taken_where_it_is_allowed() -> None:
    """Everything else is judged all the same."""
    assert url_problem("http://shop.example/", plain_http=True) is None
    assert url_problem("http://me@shop.example/", plain_http=True) is not None


@pytest.mark.parametrize(
    "host",
    [
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.01",
        "127.0.0.1.1",
        "256.0.0.1",
        "0",
        "1.2.3.0x",
        "0X7F.0.0.1",
    ],
)
def test_an_odd_spelling_of_a_number_is_refused(host: str) -> None:
    """What one parser takes for a name, another takes for 127.0.0.1."""
    problem = host_problem(host)

    assert problem is not None
    assert "odd spelling" in problem


@given(st.ip_addresses())
def test_every_address_in_its_usual_spelling_is_one(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """And what the client would read in the url is that address."""
    host = str(address)
    url = URL(f"https://[{host}]/" if address.version == 6 else f"https://{host}/")

    assert host_problem(host) is None
    assert is_address(host)
    assert ipaddress.ip_address(url.host or "") == address
    assert url_problem(str(url), plain_http=False) is None


@given(st.text(max_size=80), st.booleans())
def test_any_text_gets_an_answer(text: str, plain_http: bool) -> None:
    """A message or none, and never an error of another kind."""
    for each in (text, f"https://{text}", f"https://{text}/x"):
        problem = url_problem(each, plain_http=plain_http)

        assert problem is None or problem
        if problem is None:
            assert URL(each).host
