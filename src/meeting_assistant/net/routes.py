"""Route of a request: straight to its address, or through a proxy that the environment names.

One rule for everything that leaves this process over HTTP. The environment is that of curl and of most programs:
`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`; on macOS and Windows also the system's own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from meeting_assistant.net.addresses import address_of, is_private, is_this_machine, origin_of

PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an address."""

    proxy: str | None
    """Address of the proxy, with the password that it may hold; None goes straight to the address."""
    reason: str
    """Why, for an operator: a phrase without secrets."""

    @property
    def shown_proxy(self) -> str | None:
        """Address of the proxy without a password; None without a proxy."""
        if self.proxy is None:
            return None
        try:
            return origin_of(self.proxy)
        except ValueError:
            return "whose address is malformed"

    @property
    def is_usable(self) -> bool:
        """False when the proxy's address is malformed, or of a protocol that no client here knows."""
        if self.proxy is None:
            return True
        try:
            parts = urlsplit(self.proxy)
            return parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return False

    def __str__(self) -> str:
        """Return the route for an operator."""
        return f"direct: {self.reason}" if self.proxy is None else f"by {self.shown_proxy}: {self.reason}"


def route_to(url: str, proxies: Mapping[str, str] | None = None) -> Route:
    """Return the way to an address.

    This machine and private networks are reached directly whatever the environment says: a proxy does not know them,
    and what is sent there must not pass another machine. `proxies` is what `urllib.request.getproxies` returns, and
    is read from the environment by default.
    """
    if is_this_machine(url):
        return Route(None, "it is this machine")
    if is_private(url):
        return Route(None, "it is in a private network")
    configured = getproxies() if proxies is None else proxies
    scheme = urlsplit(url).scheme
    name = next((name for name in (scheme, "all") if configured.get(name)), None)
    if name is None:
        return Route(None, "no proxy is configured")
    if _is_excepted(url, configured.get("no", "")) or (proxies is None and proxy_bypass(_host_of(url))):
        return Route(None, "NO_PROXY names it")
    proxy = configured[name]
    return Route(proxy if "://" in proxy else f"http://{proxy}", f"{name.upper()}_PROXY names it")


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".").lower()


def _is_excepted(url: str, no_proxy: str) -> bool:
    """Return True when an entry of `NO_PROXY` matches: `*`, a name with its subdomains, an address, a network.

    An entry may end in a port, and then matches that port only.
    """
    host, parts = _host_of(url), urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    return any(_matches(entry, host, port) for entry in no_proxy.replace(",", " ").split())


def _matches(entry: str, host: str, port: int | None) -> bool:
    entry = entry.lower().rpartition("://")[2]
    if entry == "*":
        return True
    address = address_of(host)
    try:
        network = ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, _, end = entry.rpartition(":")
    if name and end.isdecimal():
        if int(end) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").strip(".")
    if address is not None:
        try:
            return ip_address(entry) == address
        except ValueError:
            return False
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
