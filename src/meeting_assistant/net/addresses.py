"""Properties of the place that an address leads to. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet")


def origin_of(url: str) -> str:
    """Return scheme, host and port: safe to show, with neither a path nor credentials."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def is_private(url: str) -> bool:
    """Return True when the address is this machine or one of a private network.

    That is an address of such a network, or a name that only such a network resolves: one without a dot, or with one
    of the endings that are reserved for it.
    """
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_NAMES))
    return not address.is_unspecified and (address.is_private or address.is_link_local)


def is_loopback(url: str) -> bool:
    """Return True when the address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
