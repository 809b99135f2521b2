"""`NO_PROXY` means what it means to kubectl: cases of golang.org/x/net/http/httpproxy, `proxy_test.go`."""

from __future__ import annotations

import pytest

from libbucket._kube.no_proxy import is_exempt

NO_PROXY = (
    "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, "
    "2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, bar.com:80"
)


@pytest.mark.parametrize(
    ("host", "is_expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("[::1]", True),
        ("[::2]", False),
        ("192.168.1.1", True),
        ("192.168.1.2", False),
        ("192.168.1.3", True),
        ("192.168.1.4", False),
        ("10.0.0.2", True),
        ("[2001:db8::52:0:1]", True),
        ("[2001:db8::52:0:2]", False),
        ("[2001:db8::52:0:3]", True),
        ("[2002:db8:a::123]", True),
        ("[fe80::424b:c8be:1643:a1b6]", False),
        ("barbaz.net", False),
        ("www.barbaz.net", True),
        ("foobar.com", True),
        ("www.foobar.com", True),
        ("foofoobar.com", False),
        ("baz.com", False),
        ("localhost.net", False),
        ("local.localhost", False),
        ("barbarbaz.net", False),
        ("wildcard.io", False),
        ("nested.wildcard.io", True),
        ("awildcard.io", False),
        ("bar.com", True),
        ("www.bar.com", True),
    ],
)
def test_a_host_is_exempt_as_in_go(host: str, *, is_expected: bool) -> None:
    assert is_exempt(f"http://{host}", NO_PROXY) is is_expected
    assert is_exempt(f"http://{host}:80/", NO_PROXY) is is_expected


@pytest.mark.parametrize("no_proxy", ["*", "a.example, *", "EXAMPLE.com", "*.example.com", "api.example.com:6443"])
def test_every_way_to_exempt_an_api_server(no_proxy: str) -> None:
    assert is_exempt("https://api.example.com:6443", no_proxy)


@pytest.mark.parametrize("no_proxy", ["", " , ", "example.org", "api.example.com:443", "10.0.0.0/8", "::1/129"])
def test_a_server_that_is_not_listed_is_reached_through_the_proxy(no_proxy: str) -> None:
    assert not is_exempt("https://api.example.com:6443", no_proxy)


def test_the_port_of_a_url_without_one_is_that_of_its_scheme() -> None:
    assert is_exempt("https://api.example.com", "api.example.com:443")
    assert not is_exempt("http://api.example.com", "api.example.com:443")
