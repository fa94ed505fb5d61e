"""Which requests go straight to their address, and which through a proxy."""

from __future__ import annotations

import pytest

from meeting_assistant.net.routes import route_to

PROXIES = {"http": "http://proxy.example:3128", "https": "http://user:secret@proxy.example:3128"}


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8001/v1",
        "http://LOCALHOST.:8001",
        "http://models.localhost",
        "http://127.0.0.1:8001",
        "http://127.8.4.2",
        "http://127.1:8001",
        "http://2130706433",
        "http://[::1]:8001",
        "http://[::ffff:127.0.0.1]",
        "http://0.0.0.0:8001",
        "http://10.1.2.3",
        "https://192.168.0.7:8443",
        "http://[fd00::7]",
        "http://[fe80::1%25eth0]",
        "http://vllm:8000",
        "http://gpu.local",
        "https://jira.corp.internal",
    ],
)
def test_this_machine_and_private_networks_are_reached_directly(url: str) -> None:
    assert route_to(url, PROXIES).proxy is None


@pytest.mark.parametrize("url", ["http://api.example", "https://8.8.8.8", "https://localhost.example.com"])
def test_other_addresses_use_the_proxy_of_their_scheme(url: str) -> None:
    assert route_to(url, PROXIES).proxy == PROXIES[url.partition(":")[0]]
    assert route_to(url, {"all": "socks5h://proxy:1080"}).proxy == "socks5h://proxy:1080"
    assert route_to(url, {}).proxy is None


@pytest.mark.parametrize(
    ("no_proxy", "is_excepted"),
    [
        ("*", True),
        ("api.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("EXAMPLE.COM", True),
        ("other.org, example.com", True),
        ("other.org example.com", True),
        ("api.example.com:8443", True),
        ("https://api.example.com", True),
        ("ample.com", False),
        ("api.example.com:443", False),
        ("api.example.com.org", False),
        ("", False),
    ],
)
def test_hosts_in_no_proxy_are_reached_directly(no_proxy: str, is_excepted: bool) -> None:
    route = route_to("https://api.example.com:8443/v1", {**PROXIES, "no": no_proxy})
    assert (route.proxy is None) is is_excepted


@pytest.mark.parametrize(
    ("no_proxy", "is_excepted"),
    [("100.64.0.0/10", True), ("100.100.1.2", True), ("100.100.1.2:80", True), ("100.1.0.0/16", False)],
)
def test_no_proxy_accepts_addresses_and_networks(no_proxy: str, is_excepted: bool) -> None:
    route = route_to("http://100.100.1.2", {**PROXIES, "no": no_proxy})
    assert (route.proxy is None) is is_excepted


def test_a_route_is_shown_without_its_password() -> None:
    route = route_to("https://api.example", PROXIES)
    assert str(route) == "by http://proxy.example:3128: HTTPS_PROXY names it"


@pytest.mark.parametrize("proxy", ["socks4://proxy:1080", "socks://proxy:1080", "http://[proxy", "http://"])
def test_an_unusable_proxy_is_recognised(proxy: str) -> None:
    route = route_to("https://api.example", {"https": proxy})
    assert not route.is_usable
    assert "secret" not in str(route)


def test_a_proxy_can_be_configured_without_its_protocol() -> None:
    assert route_to("https://api.example", {"https": "proxy:3128"}).proxy == "http://proxy:3128"
